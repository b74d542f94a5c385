"""Frames no honest guest, host or router sends: all are dropped, counted by reason, and reach nobody."""

import pytest

from tests.lab.packets import (
    ARP,
    UDP,
    VXLAN,
    Dot1Q,
    Ether,
    ICMP,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IP,
    IPv6,
)
from tests.vm.test_limits import dropped

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

GATEWAY = "02:73:65:70:61:6c"
WEB = "02:00:00:00:01:01"
MARK = b"forged-by-the-test"


def echo(source="10.0.0.1", target="10.0.0.2"):
    return IP(src=source, dst=target) / ICMP() / MARK


FROM_A_GUEST = {
    "a forged source MAC": Ether(src="02:00:00:00:01:03", dst=GATEWAY) / echo(),
    "a forged source address": Ether(src=WEB, dst=GATEWAY) / echo(source="10.0.0.3"),
    "a forged IPv6 source": Ether(src=WEB, dst=GATEWAY) / IPv6(src="fd00:100::3", dst="fd00:100::2") / ICMPv6EchoRequest(data=MARK),
    "a tagged frame": Ether(src=WEB, dst=GATEWAY) / Dot1Q(vlan=40) / echo(),
    "a frame tagged with VLAN 0": Ether(src=WEB, dst=GATEWAY) / Dot1Q(vlan=0) / echo(),
    "a double-tagged frame": Ether(src=WEB, dst=GATEWAY) / Dot1Q(vlan=40) / Dot1Q(vlan=30) / echo(),
    "a service-tagged frame": Ether(src=WEB, dst=GATEWAY, type=0x88A8) / Dot1Q(vlan=40) / echo(),
    "a frame of an unknown protocol": Ether(src=WEB, dst=GATEWAY, type=0x88B5) / MARK,
}


OTHER = "02:00:00:00:01:03"
ALL = "ff:ff:ff:ff:ff:ff"
ASKED = ("10.0.0.77", "fd00:100::77")  # nobody's; questions for any address of the subnets are answered, and none else is asked for


def arp(source="10.0.0.1", mac=WEB, within=WEB, **fields):
    return Ether(src=mac, dst=ALL) / ARP(**{"op": 1, "hwsrc": within, "psrc": source, "hwdst": "00:00:00:00:00:00",
                                             "pdst": ASKED[0], **fields})


def solicitation(source="fd00:100::1", mac=WEB, within=WEB):
    asked = (Ether(src=mac, dst="33:33:ff:00:00:77") / IPv6(src=source, dst="ff02::1:ff00:77", hlim=255)
             / ICMPv6ND_NS(tgt=ASKED[1]))
    return asked / ICMPv6NDOptSrcLLAddr(lladdr=within) if within else asked


def advertisement(target="fd00:100::1", source="fd00:100::1", mac=WEB, within=WEB):
    return (Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=source, dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=target, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=within))


FORGED_NEIGHBOURS = {
    "a question in a neighbour's name": arp("10.0.0.3"),
    "a question in the gateway's name": arp("169.254.1.1"),
    "a question from another MAC": arp(mac=OTHER, within=OTHER),
    "a question with another MAC within": arp(within=OTHER),
    "a probe from another MAC": arp("0.0.0.0", mac=OTHER, within=OTHER),
    "an announcement of a neighbour's address": arp("10.0.0.3", pdst="10.0.0.3"),
    "an ARP reply for a neighbour": arp("10.0.0.3", op=2),
    "a solicitation in a neighbour's name": solicitation("fd00:100::3"),
    "a solicitation in the gateway's name": solicitation("fe80::1"),
    "a solicitation with another MAC within": solicitation(within=OTHER),
    "duplicate detection from another MAC": solicitation("::", mac=OTHER, within=None),
    "an advertisement of a neighbour's address": advertisement("fd00:100::2"),
    "an advertisement of the gateway's address": advertisement("fe80::1", "fe80::2"),
    "an advertisement with another MAC within": advertisement(within=OTHER),
}
HONEST_NEIGHBOURS = {
    "a question": arp(),
    "a probe": arp("0.0.0.0"),
    "an announcement": arp(pdst="10.0.0.1"),
    "an ARP reply": arp(op=2),
    "a solicitation": solicitation(),
    "a solicitation from a link-local address": solicitation("fe80::2"),
    "duplicate detection": solicitation("::", within=None),
    "an advertisement": advertisement(),
    "an advertisement of a link-local address": advertisement("fe80::2", "fe80::2"),
}
ANSWERED = ["a question", "a probe", "a solicitation", "a solicitation from a link-local address", "duplicate detection"]


def is_answer(packet):
    """To one of the questions above: what the guest's own kernel asks meanwhile is something else."""
    return (ARP in packet and packet[ARP].psrc == ASKED[0]) or (ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == ASKED[1])


def tunnelled(vni, inner, source="192.0.2.254", vlan=None):
    outer = Ether(src="02:00:00:00:fe:01", dst="02:00:00:00:f1:01")
    if vlan:
        outer = outer / Dot1Q(vlan=vlan)
    return outer / IP(src=source, dst="192.0.2.1") / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=8, vni=vni) / inner


def reached(lab, guests):
    return [guest for guest, sniffer in guests.items() if any(MARK in bytes(p) for p in sniffer.packets())]


def sniff_guests(lab):
    return {guest.name: lab.ns(guest.name).sniff("eth0", direction="in") for guest in lab.description.guests}


@pytest.mark.parametrize("what", FROM_A_GUEST)
def test_a_guest_cannot_send(lab, counters, what):
    sniffers = sniff_guests(lab)
    before = counters("h1").dropped(tenant="blue", reason="spoofed")
    with lab.ns("wan").sniff("eth0", direction="in") as wire:
        lab.ns("blue-web").send("eth0", FROM_A_GUEST[what])
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []
    assert [p for p in wire.packets() if MARK in bytes(p)] == []
    assert counters("h1").dropped(tenant="blue", reason="spoofed") == before + 1


def spoofed_by_web(lab, configs):
    return dropped(lab, configs["h1"], "port blue-web", "spoofed")


@pytest.mark.smoke
@pytest.mark.parametrize("what", FORGED_NEIGHBOURS)
def test_a_guest_cannot_say_that_it_is_somebody_else(lab, configs, what):
    before = spoofed_by_web(lab, configs)
    with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer:
        lab.ns("blue-web").send("eth0", FORGED_NEIGHBOURS[what])
        lab.wait_until(lambda: spoofed_by_web(lab, configs) > before, 5, "a drop for spoofed")
    assert spoofed_by_web(lab, configs) == before + 1
    assert [p for p in sniffer.packets() if is_answer(p)] == []


def test_what_a_guest_says_of_itself_is_no_forgery(lab, configs):
    before = spoofed_by_web(lab, configs)
    for what, frame in HONEST_NEIGHBOURS.items():
        with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer:
            lab.ns("blue-web").send("eth0", frame)
            if what in ANSWERED:
                sniffer.wait_for(is_answer, 5)
    assert lab.ns("blue-web").ping("10.0.0.2").ok, "something later was answered, so the frames had their time"
    assert spoofed_by_web(lab, configs) == before


@pytest.mark.parametrize("vni,inner,reason", [
    (300, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "10.0.0.1"), "unknown-vni"),
    (0, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "10.0.0.1"), "unknown-vni"),
    (100, Ether(src=GATEWAY, dst=GATEWAY) / Dot1Q(vlan=40) / echo("10.0.0.2", "10.0.0.1"), "unknown-vni"),
    (100, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "10.0.0.77"), "no-route"),
    (100, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "198.18.0.1"), "no-route"),
])
def test_the_overlay_cannot_send(lab, counters, vni, inner, reason):
    sniffers = sniff_guests(lab)
    before = counters("h1").dropped(reason=reason)
    lab.ns("wan").send("eth0", tunnelled(vni, inner))
    lab.wait_until(lambda: counters("h1").dropped(reason=reason) > before, 5, f"a drop for {reason}")
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []


def test_a_forged_vni_reaches_that_tenants_guest_only(lab):
    """The VNI alone decides: a frame forged into green's VNI is green's, and blue's guest with the address is silent."""
    sniffers = sniff_guests(lab)
    lab.ns("wan").send("eth0", tunnelled(200, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "10.0.0.1"), "192.0.2.2"))
    lab.wait_until(lambda: reached(lab, sniffers) == ["green-web"], 5, "the frame in green's guest")
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == ["green-web"]


@pytest.mark.parametrize("frame", [
    Ether(src="02:00:00:00:fe:01", dst="02:00:00:00:f1:01") / Dot1Q(vlan=99) / echo("10.40.0.1", "10.0.0.1"),
    Ether(src="02:00:00:00:fe:01", dst="02:00:00:00:f1:01") / Dot1Q(vlan=40) / Dot1Q(vlan=40) / echo("10.40.0.1", "10.0.0.1"),
], ids=["unknown VLAN", "doubly tagged"])
def test_the_wire_cannot_send(lab, counters, frame):
    sniffers = sniff_guests(lab)
    before = counters("h1").dropped(reason="unknown-vlan")
    lab.ns("wan").send("eth0", frame)
    lab.wait_until(lambda: counters("h1").dropped(reason="unknown-vlan") > before, 5, "a drop for unknown-vlan")
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []


def test_untagged_frames_for_a_guest_do_not_come_in_from_the_wire(lab):
    sniffers = sniff_guests(lab)
    lab.ns("wan").send("eth0", Ether(src="02:00:00:00:fe:01", dst="02:00:00:00:f1:01") / echo("10.40.0.1", "10.0.0.1"))
    assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1  # something later arrived, so the frame had its time
    for sniffer in sniffers.values():
        sniffer.stop()
    assert reached(lab, sniffers) == []
