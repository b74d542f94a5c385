"""Tenants across the tunnel and within a host: what must arrive, and as what."""

import pytest

from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

ACROSS = [("blue-web", "10.0.0.2"), ("blue-web", "fd00:100::2"), ("green-web", "10.0.0.2"), ("green-web", "fd00:100::2"),
          ("blue-db", "10.0.0.3"), ("blue-db", "fd00:100::3")]


@pytest.mark.smoke
@pytest.mark.parametrize("guest,target", ACROSS)
def test_guests_of_two_hypervisors_ping_each_other(lab, guest, target):
    assert lab.ns(guest).ping(target, count=3).received == 3


@pytest.mark.parametrize("target", ["10.0.0.3", "fd00:100::3"])
def test_guests_of_one_hypervisor_ping_each_other(lab, target):
    assert lab.ns("blue-web").ping(target, count=3).received == 3


@pytest.mark.smoke
@pytest.mark.parametrize("client,server,address", [
    ("blue-web", "blue-db", "10.0.0.2"), ("blue-web", "blue-db", "fd00:100::2"),
    ("blue-web", "blue-app", "10.0.0.3"), ("blue-app", "blue-web", "fd00:100::1"),
    ("green-db", "green-web", "10.0.0.1"), ("green-db", "green-web", "fd00:100::1")])
def test_a_tcp_transfer_arrives_whole_and_shows_its_sender(lab, client, server, address):
    transfer = traffic.tcp_transfer(lab.ns(client), lab.ns(server), address, 8080)
    assert transfer.digest_equal and transfer.received == 100_000
    own = [a.split("/")[0] for a in lab.description.guest(client).addresses]
    assert transfer.peer[0] in own, "between guests nothing is translated"


@pytest.mark.parametrize("client,server,address", [
    ("blue-web", "blue-db", "10.0.0.2"), ("blue-web", "blue-db", "fd00:100::2"), ("blue-app", "blue-web", "10.0.0.1")])
def test_udp_goes_and_comes_back(lab, client, server, address):
    exchange = traffic.udp_exchange(lab.ns(client), lab.ns(server), address, 5353)
    assert len(exchange.arrived) == exchange.answered == 5


def test_the_same_address_means_another_guest_for_each_tenant(lab):
    for tenant, server in (("blue", "blue-db"), ("green", "green-db")):
        for address in ("10.0.0.2", "fd00:100::2"):
            transfer = traffic.tcp_transfer(lab.ns(f"{tenant}-web"), lab.ns(server), address, 8081, size=1000,
                                            hello=server.encode())
            assert transfer.reply == server.encode()


def test_one_tenants_listener_is_not_there_for_the_other(lab):
    """Both tenants have 10.0.0.2; only green's listens. Blue's connection must be refused by blue's own guest."""
    listener = lab.ns("green-db").socket(traffic.family_of("10.0.0.2"), 1)
    with listener:
        listener.bind(("0.0.0.0", 8082))
        listener.listen(1)
        with lab.ns("blue-web").socket(traffic.family_of("10.0.0.2"), 1) as connection:
            connection.settimeout(5)
            with pytest.raises(ConnectionRefusedError):
                connection.connect(("10.0.0.2", 8082))


def test_an_absent_neighbour_is_dropped_and_counted(lab, counters):
    before = counters("h1")
    assert lab.ns("blue-web").ping("10.0.0.77", count=2, timeout=1).received == 0
    assert counters("h1").dropped(tenant="blue", reason="no-route") >= before.dropped(tenant="blue", reason="no-route") + 2


def test_nothing_of_a_guest_reaches_the_host(lab):
    """The hypervisor's own underlay address is no tenant's destination: NAT or not, its stack stays silent."""
    sniffer = lab.ns("h1").sniff("blue-web", direction="out")
    with sniffer:
        lab.ns("blue-web").ping("192.0.2.1", count=1, timeout=1)
    assert [p for p in sniffer.packets() if p.haslayer("ICMP")] == []
