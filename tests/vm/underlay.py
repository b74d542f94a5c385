"""What must hold over every kind of underlay; imported by a module for each."""

import pytest

from tests.vm import traffic


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2"])
def test_guests_ping_across_this_underlay(lab, agents, target):
    assert lab.ns("blue-web").ping(target, count=3).received == 3
    assert lab.ns("green-db").ping(target[:-1] + "1", count=3).received == 3


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2"])
def test_a_tcp_transfer_crosses_this_underlay(lab, agents, target):
    assert traffic.tcp_transfer(lab.ns("blue-web"), lab.ns("blue-db"), target, 7100).digest_equal


def test_full_size_packets_cross_this_underlay(lab, agents):
    assert lab.ns("blue-web").ping("10.0.0.2", count=2, size=1472, dont_fragment=True).received == 2
