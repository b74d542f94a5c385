"""Longest prefix first, /0 included, blackholes, prefixes behind a port, and routes into a peer's network."""

from contextlib import contextmanager

import pytest

from tests.vm import traffic

pytestmark = pytest.mark.both_ways


@contextmanager
def extra_addresses(lab, guest, addresses):
    """Addresses a guest has for a while, besides its description's."""
    for address in addresses:
        lab.ns(guest).run(["ip", "addr", "add", address, "dev", "eth0"])
    try:
        yield
    finally:
        for address in addresses:
            lab.ns(guest).run(["ip", "addr", "del", address, "dev", "eth0"])


@pytest.fixture(scope="module")
def routed(lab, agents, reconfigure):
    """h1 with routes that nest, h2 with prefixes behind blue-db, and blue and green peered on h1."""
    db = {"via": "192.0.2.2"}
    with reconfigure("h1") as h1, reconfigure("h2") as h2:
        h1.add("blue", "routes",
               {"to": "198.18.0.0/15", "via": "blackhole"},           # inside 0.0.0.0/0
               {"to": "198.18.0.1/32", "via": "public"},              # inside the blackhole
               {"to": "172.16.0.0/12", **db},                         # behind blue-db …
               {"to": "172.16.5.0/24", "via": "blackhole"},           # … but not this
               {"to": "fd00:172::/32", **db})
        h2.edit("blue", ports=[{"name": "blue-db", "device": "blue-db", "mac": "02:00:00:00:01:02",
                                "addresses": ["10.0.0.2", "fd00:100::2"],
                                "prefixes": ["172.16.0.0/12", "fd00:172::/32"]}])
        h1.edit("green", subnets=[{"cidr": "10.1.0.0/24", "gateway": "10.1.0.254"}],
                ports=[{"name": "green-web", "device": "green-web", "mac": "02:00:00:00:02:01", "addresses": ["10.1.0.1"]}],
                routes=[{"to": "10.0.0.1/32", "via": "blue-web", "vni": 100}], nat=None, peers=["blue"])
        h1.edit("blue", peers=["green"])
        h1.add("blue", "routes", {"to": "10.1.0.1/32", "via": "green-web", "vni": 200})
        h1.reload()
        h2.reload()
        # Peers need addresses that differ, so green's guest moves (for good: the lab is this module's own).
        for command in ("addr add 10.1.0.1/24 dev eth0", "addr del 10.0.0.1/24 dev eth0",
                        "route replace default via 169.254.1.1 dev eth0 onlink"):
            lab.ns("green-web").run(f"ip {command}")
        with extra_addresses(lab, "blue-db", ["172.16.0.1/32", "172.16.5.1/32", "fd00:172::1/128"]):
            yield


def test_a_more_specific_route_wins_over_the_default(lab, routed, counters):
    assert lab.ns("blue-web").ping("172.16.0.1", count=2).received == 2
    assert lab.ns("blue-web").ping("fd00:172::1", count=2).received == 2


def test_a_blackhole_inside_a_wider_route_drops_and_counts(lab, routed, counters):
    before = counters("h1").dropped(tenant="blue", reason="blackhole")
    assert lab.ns("blue-web").ping("172.16.5.1", count=2, timeout=1).received == 0
    assert lab.ns("blue-web").ping("198.18.0.2", count=1, timeout=1).received == 0
    assert counters("h1").dropped(tenant="blue", reason="blackhole") == before + 3


def test_a_host_route_inside_a_blackhole_is_open(lab, routed):
    assert lab.ns("blue-web").ping("198.18.0.1", count=2).received == 2


def test_a_guest_may_send_from_the_prefix_behind_it(lab, routed):
    assert lab.ns("blue-db").ping("10.0.0.1", count=2, source="172.16.0.1").received == 2


def test_peers_on_one_host_reach_each_other_in_both_directions(lab, routed):
    assert lab.ns("blue-web").ping("10.1.0.1", count=2, ttl=64).received == 2
    transfer = traffic.tcp_transfer(lab.ns("green-web"), lab.ns("blue-web"), "10.0.0.1", 8110, bind="10.0.0.1")
    assert transfer.digest_equal and transfer.peer[0] == "10.1.0.1"


def test_a_peering_reaches_only_what_a_route_names(lab, routed, counters):
    """Green has a route to blue-web alone; blue-app stays unreachable for it."""
    assert lab.ns("green-web").ping("10.0.0.3", count=1, timeout=1, source="10.1.0.1").received == 0
