"""Expiring TTLs, fragments, large packets: what must leave the fast path and still be right."""

import socket

import pytest

from tests.lab.packets import (
    ICMP,
    IP,
    UDP,
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


def test_errors_for_expired_packets_keep_to_the_ports_limit(lab, counters, reconfigure):
    web = lab.ns("blue-web")
    with reconfigure("h1") as h1:
        document = h1.read("blue")
        for port in document["ports"]:
            if port["name"] == "blue-web":
                port["limits"] = {"arp_nd_per_second": 5}
        h1.write("blue", document)
        h1.reload()
        before = counters("h1").dropped(tenant="blue", reason="ttl-expired")
        with web.sniff("eth0", direction="in") as sniffer, web.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            for _ in range(100):
                sender.sendto(b"again", ("10.0.0.2", 33435))
        assert counters("h1").dropped(tenant="blue", reason="ttl-expired") == before + 100
    assert 0 < len(errors(sniffer.packets())) <= 50


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
