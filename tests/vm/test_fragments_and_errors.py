"""Fragments and ICMP errors as attackers make them: that overlap, that are tiny or empty, that quote what never was."""

import socket

import pytest

from tests.lab.packets import ICMP, IP, TCP, UDP, ICMPv6TimeExceeded, IPv6, UDPerror, fragments
from tests.vm import traffic
from tests.vm.test_forged import MARK, reached, sniff_guests
from tests.vm.test_limits import dropped
from tests.vm.test_limits_of_a_packet import errors
from tests.vm.test_nat import INTERNET, PUBLIC
from tests.vm.test_security_groups import APP, BOTH, DB, WEB, denied, with_groups

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]


def ip(version, source, destination):
    return (IP if version == 4 else IPv6)(src=source, dst=destination)


def datagram(version, port, text):
    """From blue-web to blue-app: 72 bytes behind the IP header."""
    return ip(version, WEB[version], APP[version]) / UDP(sport=41000, dport=port) / (text * 8)


def listen(lab, version, port):
    listener = lab.ns("blue-app").socket(traffic.family_of(APP[version]), socket.SOCK_DGRAM)
    listener.bind((APP[version], port))
    listener.settimeout(traffic.WAIT)
    return listener


@BOTH
@pytest.mark.parametrize("ranges", [[(0, 40), (24, 72)], [(24, 72), (0, 40)]],
                         ids=["the second over the first", "the first over the second"])
def test_fragments_that_overlap_are_never_put_together(lab, forge, version, ranges):
    with listen(lab, version, 5400) as listener, lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
        for fragment in fragments(datagram(version, 5400, b"overlaps"), ranges, 0x5E01):
            forge("blue-web", APP[version], fragment)
        for fragment in fragments(datagram(version, 5400, b"in order"), [(0, 40), (40, 72)], 0x5E02):
            forge("blue-web", APP[version], fragment)
        assert listener.recv(100) == b"in order" * 8, "the first that arrives"
    assert not any(b"overlaps" in frame for frame in sniffer.frames)


@BOTH
def test_a_fragment_within_another_changes_nothing(lab, forge, version):
    """The kernel takes it for a copy."""
    with listen(lab, version, 5403) as listener:
        first, last = fragments(datagram(version, 5403, b"original"), [(0, 40), (40, 72)], 0x5E03)
        [within] = fragments(datagram(version, 5403, b"forgery!"), [(8, 16)], 0x5E03)
        for fragment in (first, within, last):
            forge("blue-web", APP[version], fragment)
        assert listener.recv(100) == b"original" * 8


@BOTH
def test_a_tiny_first_fragment_is_judged_by_its_ports_like_any_packet(lab, reconfigure, counters, forge, version):
    """The first one holds a UDP header and no more."""
    with reconfigure("h1") as h1, listen(lab, version, 5401) as listener:
        with_groups(h1, {"app": {"ingress": [{"protocol": "udp", "ports": 5401, "from": "any"}]}}, app=["app"])
        before = denied(counters)
        with lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
            for port, text in ((5402, b"may not!"), (5401, b"may pass")):
                for fragment in fragments(datagram(version, port, text), [(0, 8), (8, 72)], port):
                    forge("blue-web", APP[version], fragment)
            assert listener.recv(100) == b"may pass" * 8
        assert not any(b"may not!" in frame for frame in sniffer.frames)
        assert denied(counters) > before


def test_tcp_flags_in_a_second_fragment_do_not_hide_a_connection(lab, reconfigure, counters, forge):
    """The first one holds the ports, but not the flags (RFC 1858)."""
    with reconfigure("h1") as h1:
        with_groups(h1, {"app": {"ingress": [{"protocol": "tcp", "ports": 8080, "from": "any"}]}}, app=["app"])
        before = denied(counters)
        with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer:
            for port in (22, 8080):
                syn = ip(4, WEB[4], APP[4]) / TCP(sport=41001, dport=port, flags="S", seq=1000)
                for fragment in fragments(syn, [(0, 8), (8, 20)], port):
                    forge("blue-web", APP[4], fragment)
            # Nobody listens, so app's kernel refuses, which shows that it was asked.
            sniffer.wait_for(lambda p: p.haslayer(TCP) and p[TCP].sport == 8080, what="an answer of the open port")
        assert [p for p in sniffer.packets() if p.haslayer(TCP) and p[TCP].sport == 22] == []
        assert denied(counters) > before


def test_fragments_without_content_reach_nobody_and_stop_nothing(lab, forge):
    with listen(lab, 4, 5403) as listener, lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
        for number, ranges in enumerate([[(0, 0)], [(40, 40)], [(72, 72)], [(0, 40), (40, 40)], [(0, 40), (72, 72)]]):
            for fragment in fragments(datagram(4, 5403, b"no size!"), ranges, 0x5E10 + number):
                forge("blue-web", APP[4], fragment)
        for fragment in fragments(datagram(4, 5403, b"in order"), [(0, 40), (40, 72)], 0x5E20):
            forge("blue-web", APP[4], fragment)
        assert listener.recv(100) == b"in order" * 8
    assert [p for p in sniffer.packets() if p.haslayer(IP) and 0x5E10 <= p[IP].id < 0x5E20 and p[IP].src == WEB[4]] == []


@pytest.mark.parametrize("target, size", [(APP[4], 65507), (DB[4], 65507), (APP[6], 65527)])
def test_the_largest_packet_there_is_goes_in_fragments_and_is_answered(lab, target, size):
    assert lab.ns("blue-web").ping(target, count=1, size=size, timeout=traffic.WAIT).received == 1


def exceeded(version, quoted):
    """What a router says of the quoted packet. ICMPv6's checksum is the sending socket's to write."""
    return (ICMP(type=11, code=0) if version == 4 else ICMPv6TimeExceeded(code=0, cksum=0)) / quoted


def quote(version, source, destination):
    """A datagram between two (address, port)."""
    return ip(version, source[0], destination[0]) / UDP(sport=source[1], dport=destination[1]) / MARK


def say_from_outside(lab, version, error):
    """A router on the public side to blue's public address."""
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    with lab.ns("wan").socket(traffic.family_of(PUBLIC[version]), socket.SOCK_RAW, protocol) as router:
        router.sendto(bytes(error), (PUBLIC[version], 0))


def unplaced(counters):
    """Packets that conntrack could not place."""
    now = counters("h1")
    return now.dropped(reason="invalid") + now.dropped(reason="untracked")


@BOTH
def test_an_error_about_a_connection_that_exists_comes_in_with_its_quote_translated_back(lab, version):
    web, wan = lab.ns("blue-web"), lab.ns("wan")
    with web.sniff("eth0", direction="in") as sniffer:
        exchange = traffic.udp_exchange(web, wan, INTERNET[version], 5363, count=1, source_port=41002)
        assert exchange.answered == 1 and exchange.peers[0][0] == PUBLIC[version]
        say_from_outside(lab, version, exceeded(version, quote(version, exchange.peers[0], (INTERNET[version], 5363))))
        lab.wait_until(lambda: errors(sniffer.packets()), 5, "the error")
    [(_, quoted)] = errors(sniffer.packets())
    assert (quoted.src, quoted.dst) == (WEB[version], INTERNET[version])
    assert (quoted[UDPerror].sport, quoted[UDPerror].dport) == (41002, 5363)


@BOTH
def test_an_error_about_a_connection_that_never_was_reaches_nobody(lab, counters, version):
    sniffers = sniff_guests(lab)
    before = unplaced(counters)
    say_from_outside(lab, version, exceeded(version, quote(version, (PUBLIC[version], 1999), (INTERNET[version], 5364))))
    lab.wait_until(lambda: unplaced(counters) > before, 5, "a drop of what conntrack cannot place")
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []


@BOTH
def test_an_error_that_quotes_what_did_not_leave_from_here_reaches_nobody(lab, configs, version):
    """The quoted packet is said to come from a guest's own address, which nobody outside has ever seen."""
    sniffers = sniff_guests(lab)

    def outside():
        return dropped(lab, configs["h1"], "uplink", "outside-slice")

    before = outside()
    say_from_outside(lab, version, exceeded(version, quote(version, (WEB[version], 1500), (INTERNET[version], 5365))))
    lab.wait_until(lambda: outside() > before, 5, "a drop for outside-slice")
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []


def test_a_guests_error_arrives_only_where_it_quotes_a_connection_of_whom_it_goes_to(lab, counters, forge):
    web, app, db = lab.ns("blue-web"), lab.ns("blue-app"), lab.ns("blue-db")
    assert traffic.udp_exchange(app, web, WEB[4], 5366, count=1, source_port=41003).answered == 1
    assert traffic.udp_exchange(web, db, DB[4], 5367, count=1, source_port=41004).answered == 1

    def say(source, destination):
        forge("blue-web", APP[4], ip(4, WEB[4], APP[4]) / exceeded(4, quote(4, source, destination)))

    with app.sniff("eth0", direction="in") as sniffer:
        before = unplaced(counters)
        say((APP[4], 41003), (WEB[4], 5399))  # which is none
        say((WEB[4], 41004), (DB[4], 5367))  # web's own
        lab.wait_until(lambda: unplaced(counters) >= before + 2, 5, "two drops of what conntrack cannot place")
        say((APP[4], 41003), (WEB[4], 5366))
        lab.wait_until(lambda: errors(sniffer.packets()), 5, "the error")
    [(_, quoted)] = errors(sniffer.packets())
    assert quoted[UDPerror].dport == 5366
