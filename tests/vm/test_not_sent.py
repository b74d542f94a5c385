"""A redirect drops what the device it leads to does not take; that, too, is told by tenant and by where it came in."""

import json
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.vm.test_limits import APP, begin

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

SENT = 10  # first packets of connections, so that they pass software on the NIC as well
FROM_PORT, FROM_TUNNEL = ("blue-web", "port blue-web"), ("blue-db", "tunnel")
# By then a NIC may have the connection: the other hypervisor of the lab runs on the same kernel, and up to Linux 6.9 a zone has one
# flow table, whatever the network namespace.
from_tunnel = pytest.mark.software_only("what comes out of the tunnel the NIC may carry by itself")


@pytest.fixture
def not_sent(lab, configs):
    """Packets so far by (tenant, where)."""

    def ask():
        told = json.loads(lab.ctl("h1", "drops", "--json", "--config", str(configs["h1"].path)).out)
        return Counter({(d.get("tenant"), d["where"]): d["packets"] for d in told["drops"] if d["reason"] == "not-sent"})

    return ask


@contextmanager
def down(h1, device):
    h1.run(f"ip link set {device} down")
    try:
        yield
    finally:
        h1.run(f"ip link set {device} up")


@contextmanager
def taking_nothing(h1, device):
    h1.run(f"tc qdisc replace dev {device} root pfifo limit 0")
    try:
        yield
    finally:
        h1.run(f"tc qdisc del dev {device} root")


@pytest.mark.smoke
def test_what_is_for_a_device_that_is_down_is_told_as_not_sent(lab, not_sent):
    not_sent_while_down(lab, not_sent, *FROM_PORT)


@from_tunnel
def test_what_comes_out_of_the_tunnel_for_a_device_that_is_down_is_told_as_not_sent(lab, not_sent):
    not_sent_while_down(lab, not_sent, *FROM_TUNNEL)


def test_what_a_device_that_is_up_does_not_take_is_told_as_not_sent(lab, not_sent):
    not_sent_while_taking_nothing(lab, not_sent, *FROM_PORT)


@from_tunnel
def test_what_comes_out_of_the_tunnel_and_a_device_does_not_take_is_told_as_not_sent(lab, not_sent):
    not_sent_while_taking_nothing(lab, not_sent, *FROM_TUNNEL)


def not_sent_while_down(lab, not_sent, sender, where):
    client, app = lab.ns(sender), lab.ns("blue-app")
    before = not_sent()
    with down(lab.ns("h1"), "blue-app"):
        assert begin(client, app, APP, 7641, SENT) == 0
        assert dict(not_sent() - before) == {("blue", where): SENT}
        assert lab.ns("blue-web").ping("10.0.0.2", count=2).ok, "others are reached"
        assert lab.ns("green-web").ping("10.0.0.2", count=2).ok
    # Its guest's device is without a carrier until the kernel has worked on that.
    lab.wait_until(lambda: client.ping(APP, timeout=1).ok, 10, "an answer of the port that is up again")
    before = not_sent()
    assert begin(client, app, APP, 7642, SENT) == SENT
    assert not_sent() == before


def not_sent_while_taking_nothing(lab, not_sent, sender, where):
    client, app = lab.ns(sender), lab.ns("blue-app")
    before = not_sent()
    with taking_nothing(lab.ns("h1"), "blue-app"):
        assert begin(client, app, APP, 7643, SENT) == 0
        assert dict(not_sent() - before) == {("blue", where): SENT}
    before = not_sent()
    assert begin(client, app, APP, 7644, SENT) == SENT
    assert not_sent() == before
