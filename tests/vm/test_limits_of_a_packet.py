"""Expiring TTLs, fragments, large packets: what must leave the fast path and still be right."""

import socket
import time

import pytest

from tests.lab.packets import (
    ICMP,
    IP,
    UDP,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPerror,
    IPerror6,
    UDPerror,
    VXLAN,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    IPOption_Router_Alert,
    IPv6,
    IPv6ExtHdrHopByHop,
    Raw,
    RouterAlert,
)
from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2", "10.0.0.3", "198.18.0.1"])
def test_a_packet_with_ttl_1_is_dropped_and_counted_before_it_makes_a_connection(lab, counters, target):
    before = counters("h1").dropped(tenant="blue", reason="ttl-expired")
    assert lab.ns("blue-web").ping(target, count=2, ttl=1, timeout=1).received == 0
    assert counters("h1").dropped(tenant="blue", reason="ttl-expired") == before + 2


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2"])
def test_a_ttl_that_ends_at_the_second_hypervisor_is_counted_there(lab, counters, target):
    before = counters("h2").dropped(tenant="blue", reason="ttl-expired")
    assert lab.ns("blue-web").ping(target, count=1, ttl=2, timeout=1).received == 0
    assert counters("h2").dropped(tenant="blue", reason="ttl-expired") == before + 1


ROUTER = {4: "169.254.1.1", 6: "fe80::1"}


def errors(packets):
    """(who says it, what it quotes) of every "time exceeded"."""
    told = [(p[IP].src, p[IPerror]) for p in packets if p.haslayer(IPerror) and (p[ICMP].type, p[ICMP].code) == (11, 0)]
    return told + [(p[IPv6].src, p[IPerror6]) for p in packets if p.haslayer(ICMPv6TimeExceeded) and p.haslayer(IPerror6)]


@pytest.mark.smoke
@pytest.mark.parametrize("version, target", [(4, "10.0.0.2"), (6, "fd00:100::2")])
@pytest.mark.parametrize("hops", [1, 2], ids=["here", "behind the tunnel"])
def test_the_sender_of_an_expired_packet_is_told_and_by_whom(lab, forge, version, target, hops):
    web = lab.ns("blue-web")
    own = {4: "10.0.0.1", 6: "fd00:100::1"}[version]
    ip = IP(src=own, dst=target, ttl=hops) if version == 4 else IPv6(src=own, dst=target, hlim=hops)
    with web.sniff("eth0", direction="in") as sniffer:
        forge("blue-web", target, ip / UDP(sport=33000 + hops, dport=33434) / (b"where do you end?" * 10))
        lab.wait_until(lambda: errors(sniffer.packets()), 5, "an error")
    [(router, quoted)] = errors(sniffer.packets())
    assert router == ROUTER[version]
    assert (quoted.src, quoted.dst) == (own, target)
    quoted_udp = quoted[UDPerror]
    assert (quoted_udp.sport, quoted_udp.dport) == (33000 + hops, 33434)


def with_few_answers(h1):
    """blue-web is told of five packets a second; the caller reloads."""
    document = h1.read("blue")
    for port in document["ports"]:
        if port["name"] == "blue-web":
            port["limits"] = {"arp_nd_per_second": 5}
    h1.write("blue", document)


def test_errors_for_expired_packets_keep_to_the_ports_limit(lab, counters, reconfigure):
    web = lab.ns("blue-web")
    with reconfigure("h1") as h1:
        with_few_answers(h1)
        h1.reload()
        before = counters("h1").dropped(tenant="blue", reason="ttl-expired")
        with web.sniff("eth0", direction="in") as sniffer, web.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            began = time.monotonic()
            for _ in range(100):
                sender.sendto(b"again", ("10.0.0.2", 33435))
            seconds = time.monotonic() - began
        assert counters("h1").dropped(tenant="blue", reason="ttl-expired") == before + 100
    assert 0 < len(errors(sniffer.packets())) <= 5 * (1 + seconds) + 2


@pytest.mark.parametrize("gateway", ["10.0.0.254", "169.254.1.1", "fe80::1%eth0"])
def test_the_gateway_answers_ping(lab, gateway):
    web = lab.ns("blue-web")
    if gateway == "169.254.1.1":
        web.run("ip route replace 169.254.1.1 dev eth0")
    assert web.ping(gateway, count=2).received == 2
    assert web.ping(gateway, count=1, ttl=1).received == 1
    assert web.ping(gateway, count=1, size=1400).received == 1


IGMP_REPORT = (IP(src="10.0.0.1", dst="224.0.0.251", ttl=1, proto=2, options=[IPOption_Router_Alert()])
               / Raw(b"\x16\x00\x09\x04\xe0\x00\x00\xfb"))
MLD_REPORT = (IPv6(src="fe80::1234", dst="ff02::16", hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
              / ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(rtype=4, dst="ff02::fb")]))


@pytest.mark.parametrize("report", [IGMP_REPORT, MLD_REPORT], ids=["IGMP", "MLD"])
def test_a_guests_report_of_its_groups_is_counted_as_multicast_and_not_as_an_expired_ttl(counters, forge, report):
    before = counters("h1")
    for _ in range(5):
        forge("blue-web", report.dst, report)
    after = counters("h1")
    # The guest's own kernel may report meanwhile, too.
    assert after.dropped(tenant="blue", reason="multicast") >= before.dropped(tenant="blue", reason="multicast") + 5
    assert after.dropped(reason="ttl-expired") == before.dropped(reason="ttl-expired")


@pytest.mark.smoke
@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2", "10.0.0.3", "fd00:100::3", "10.40.0.1"])
def test_fragments_arrive(lab, target):
    assert lab.ns("blue-web").ping(target, count=2, size=4000).received == 2


def test_fragments_cross_the_tunnel_as_fragments_of_the_inner_packet(lab):
    with lab.ns("h2").sniff("uplink") as sniffer:
        exchange = traffic.udp_exchange(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 5370, count=1, size=4000)
    assert exchange.answered == 1
    assert all(p[IP].frag == 0 and not p[IP].flags.MF for p in sniffer.packets() if p.haslayer(VXLAN))
    inner = [p[VXLAN].payload for p in sniffer.packets() if p.haslayer(VXLAN) and p[VXLAN].payload.haslayer(IP)]
    assert any(frame[IP].frag > 0 for frame in inner)
    assert all(len(frame) <= 14 + 1500 for frame in inner)


def test_a_forged_fragment_is_not_let_in_by_being_one(lab, counters, forge):
    before = counters("h1").dropped(tenant="blue", reason="bad-fragment")
    with lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
        forge("blue-web", "10.0.0.3", IP(src="10.0.0.99", dst="10.0.0.3", flags="MF") / UDP(sport=1, dport=2) / (b"x" * 64))
    assert [p for p in sniffer.packets() if p.haslayer(IP) and p[IP].src == "10.0.0.99"] == []
    assert counters("h1").dropped(tenant="blue", reason="bad-fragment") == before + 1


def test_the_largest_packet_a_guest_may_send_crosses_the_tunnel_whole(lab):
    assert lab.ns("blue-web").ping("10.0.0.2", count=2, size=1472, dont_fragment=True).received == 2
    assert lab.ns("blue-web").ping("fd00:100::2", count=2, size=1452, dont_fragment=True).received == 2


SMALL = 1400  # MTU of a tenant whose guests' devices take more
no_sizes = pytest.mark.software_only("a NIC looks at no packet's size")


def with_mtu(h1):
    document = h1.read("blue")
    document["mtu"] = SMALL
    h1.write("blue", document)
    h1.reload()


def too_big(packets):
    """(who says it, the MTU, what it quotes) of every "fragmentation needed" and "packet too big"."""
    told = [(p[IP].src, p[ICMP].nexthopmtu, p[IPerror]) for p in packets
            if p.haslayer(IPerror) and (p[ICMP].type, p[ICMP].code) == (3, 4)]
    return told + [(p[IPv6].src, p[ICMPv6PacketTooBig].mtu, p[IPerror6]) for p in packets if p.haslayer(ICMPv6PacketTooBig)]


@no_sizes
@pytest.mark.smoke
@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2", "10.0.0.3", "198.18.0.1"],
                         ids=["over the tunnel", "over the tunnel, IPv6", "within the host", "translated"])
def test_the_sender_of_a_packet_larger_than_its_tenants_mtu_is_told(lab, counters, reconfigure, forge, target):
    web, version = lab.ns("blue-web"), 6 if ":" in target else 4
    own = {4: "10.0.0.1", 6: "fd00:100::1"}[version]
    ip = IP(src=own, dst=target, flags="DF") if version == 4 else IPv6(src=own, dst=target)
    headers = 28 if version == 4 else 48
    with reconfigure("h1") as h1:
        with_mtu(h1)
        before = counters("h1").dropped(tenant="blue", reason="too-big")
        with web.sniff("eth0", direction="in") as sniffer:
            forge("blue-web", target, ip / UDP(sport=33001, dport=33440) / bytes(SMALL + 1 - headers))
            lab.wait_until(lambda: too_big(sniffer.packets()), 5, "an error")
            forge("blue-web", target, ip / UDP(sport=33002, dport=33440) / bytes(SMALL - headers))
        [(router, mtu, quoted)] = too_big(sniffer.packets())
        assert counters("h1").dropped(tenant="blue", reason="too-big") == before + 1
    assert (router, mtu) == (ROUTER[version], SMALL)
    assert (quoted.src, quoted.dst, quoted[UDPerror].sport) == (own, target, 33001)


@no_sizes
def test_a_connection_finds_the_size_that_fits(lab, counters, reconfigure):
    web, db = lab.ns("blue-web"), lab.ns("blue-db")
    with reconfigure("h1") as h1:
        with_mtu(h1)
        web.run("ip route flush cache")  # what it has learnt from other tests
        before = counters("h1").dropped(tenant="blue", reason="too-big")
        try:
            connection = traffic.Connection(web, db, "10.0.0.2", 7450)
            with lab.ns("h2").sniff("uplink") as sniffer:
                connection.pour(300_000)
            connection.close()
        finally:
            web.run("ip route flush cache")
        assert 1 <= counters("h1").dropped(tenant="blue", reason="too-big") - before < 100
    data = [p[VXLAN].payload for p in sniffer.packets() if p.haslayer(VXLAN) and p[VXLAN].payload.haslayer(IP)]
    assert max(len(frame) for frame in data) - 14 <= SMALL


@no_sizes
def test_what_may_be_fragmented_goes_on_whatever_its_size(lab, counters, reconfigure, forge):
    with reconfigure("h1") as h1:
        with_mtu(h1)
        before = counters("h1").dropped(tenant="blue", reason="too-big")
        with lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
            forge("blue-web", "10.0.0.3", IP(src="10.0.0.1", dst="10.0.0.3") / UDP(sport=33003, dport=33440) / bytes(SMALL))
            lab.wait_until(lambda: [p for p in sniffer.packets() if p.haslayer(UDP) and p[UDP].sport == 33003], 5, "the packet")
        assert counters("h1").dropped(tenant="blue", reason="too-big") == before


@no_sizes
def test_errors_for_packets_that_are_too_big_keep_to_the_ports_limit(lab, counters, reconfigure, forge):
    web = lab.ns("blue-web")
    with reconfigure("h1") as h1:
        with_few_answers(h1)
        with_mtu(h1)
        before = counters("h1").dropped(tenant="blue", reason="too-big")
        packet = IP(src="10.0.0.1", dst="10.0.0.2", flags="DF") / UDP(sport=33004, dport=33440) / bytes(SMALL)
        began = time.monotonic()
        with web.sniff("eth0", direction="in") as sniffer:
            for _ in range(40):
                forge("blue-web", "10.0.0.2", packet)
        seconds = time.monotonic() - began
        assert counters("h1").dropped(tenant="blue", reason="too-big") == before + 40
    assert 0 < len(too_big(sniffer.packets())) <= 5 * (1 + seconds) + 2
