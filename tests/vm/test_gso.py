"""Guests with all their offloads on: segments of 64 KiB pass the rules as one packet."""

import pytest

from tests.vm import traffic

LAB = {"guest_offloads": True}
pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]


@pytest.mark.parametrize("client,server,address", [
    ("blue-web", "blue-db", "10.0.0.2"), ("blue-web", "blue-db", "fd00:100::2"), ("blue-web", "blue-app", "10.0.0.3"),
    ("blue-web", "wan", "198.18.0.1"), ("green-web", "wan", "2001:db8:18::1")])
def test_a_megabyte_arrives_whole(lab, client, server, address):
    assert traffic.tcp_transfer(lab.ns(client), lab.ns(server), address, 7200, size=1_000_000).digest_equal
