"""To the outside and back: source NAT to slices of shared addresses."""

import socket

import pytest

from tests.lab.packets import IP, IPv6, TCP, UDP
from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

PUBLIC = {4: "203.0.113.10", 6: "2001:db8:113::10"}
INTERNET = {4: "198.18.0.1", 6: "2001:db8:18::1"}
NOBODY = {4: "198.18.0.99", 6: "2001:db8:18::99"}  # beyond wan, which has no route to it: no SYN is answered
SLICES = {"blue": range(1024, 2048), "green": range(2048, 3072)}
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.mark.smoke
@BOTH
@pytest.mark.parametrize("tenant", ["blue", "green"])
def test_a_connection_leaves_with_its_tenants_slice_and_its_answer_comes_back(lab, tenant, version):
    transfer = traffic.tcp_transfer(lab.ns(f"{tenant}-web"), lab.ns("wan"), INTERNET[version], 8090, size=50_000)
    assert transfer.digest_equal
    assert transfer.peer[0] == PUBLIC[version]
    assert transfer.peer[1] in SLICES[tenant]
    assert transfer.reply == b"sepal"


@BOTH
def test_two_tenants_with_one_address_and_one_source_port_share_the_public_address(lab, version):
    """Both guests send from the same private address and port at the same time; the slices keep them apart."""
    peers = {}
    for tenant in SLICES:
        exchange = traffic.udp_exchange(lab.ns(f"{tenant}-web"), lab.ns("wan"), INTERNET[version], 5360, count=2,
                                        source_port=40000)
        assert exchange.answered == 2
        peers[tenant] = exchange.peers[0]
        assert peers[tenant][0] == PUBLIC[version] and peers[tenant][1] in SLICES[tenant]
    assert peers["blue"] != peers["green"]


@BOTH
@pytest.mark.parametrize("tenant", ["blue", "green"])
def test_an_echo_through_nat_finds_its_way_back_by_its_id(lab, tenant, version):
    assert lab.ns(f"{tenant}-web").ping(INTERNET[version], count=3).received == 3


@BOTH
def test_one_way_udp_leaves_translated_from_its_first_to_its_last_packet(lab, version):
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        traffic.udp_exchange(lab.ns("blue-web"), lab.ns("wan"), INTERNET[version], 5361, count=4, answer=False)
    layer = IP if version == 4 else IPv6
    sent = [p for p in sniffer.packets() if p.haslayer(UDP) and p[UDP].dport == 5361]
    assert len(sent) == 4
    assert {p[layer].src for p in sent} == {PUBLIC[version]}
    assert len({p[UDP].sport for p in sent}) == 1 and sent[0][UDP].sport in SLICES["blue"]


@BOTH
def test_repeated_syns_leave_translated(lab, version, forge):
    """A server that does not answer: the second SYN of the same connection must be translated like the first."""
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        for _ in range(2):
            forge("blue-web", NOBODY[version], TCP(sport=40001, dport=8091, flags="S", seq=1000))
    layer = IP if version == 4 else IPv6
    syns = [p for p in sniffer.packets() if p.haslayer(TCP) and p[TCP].dport == 8091 and p[TCP].flags == "S"]
    assert len(syns) == 2
    assert {p[layer].src for p in syns} == {PUBLIC[version]}
    assert len({p[TCP].sport for p in syns}) == 1 and syns[0][TCP].sport in SLICES["blue"]


def test_tcp_that_does_not_begin_with_syn_makes_no_connection(lab, counters, forge):
    before = counters("h1").dropped(tenant="blue", reason="no-syn")
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        forge("blue-web", INTERNET[4], TCP(sport=40002, dport=8092, flags="A", seq=1, ack=1))
    assert [p for p in sniffer.packets() if p.haslayer(TCP) and p[TCP].dport == 8092] == []
    assert counters("h1").dropped(tenant="blue", reason="no-syn") == before + 1


@BOTH
def test_a_port_unreachable_from_outside_reaches_the_guest_that_asked(lab, version):
    """The error quotes the translated packet; the slice is chosen by the quoted port, the quote translated back."""
    with lab.ns("blue-web").socket(traffic.family_of(INTERNET[version]), socket.SOCK_DGRAM) as client:
        client.connect((INTERNET[version], 5999))
        client.settimeout(5)
        client.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


@BOTH
def test_new_connections_from_outside_are_dropped_and_counted(lab, counters, version):
    before = counters("h1").dropped(tenant="blue", reason="unpublished")
    assert traffic.tcp_refused(lab.ns("wan"), PUBLIC[version], 1500, timeout=1.5)
    assert counters("h1").dropped(tenant="blue", reason="unpublished") > before


@BOTH
def test_ports_outside_every_slice_are_dropped_and_counted(lab, counters, version):
    before = counters("h1").dropped(reason="outside-slice")
    assert traffic.tcp_refused(lab.ns("wan"), PUBLIC[version], 9999, timeout=1.5)
    assert counters("h1").dropped(reason="outside-slice") > before


@BOTH
def test_fragments_reach_a_guest_behind_a_shared_public_address(lab, version):
    exchange = traffic.udp_exchange(lab.ns("blue-web"), lab.ns("wan"), INTERNET[version], 5362, count=2, size=4000)
    assert len(exchange.arrived) == 2 and {len(d) for d in exchange.arrived} == {4000}
    assert exchange.answered == 2
