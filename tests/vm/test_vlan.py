"""A tenant's VLAN on the uplink: its physical network, in both directions."""

import pytest

from tests.lab.packets import ARP, ICMP, IP, Dot1Q, Ether, ICMPv6ND_NA, IPv6
from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

WAN_VLAN_MAC = "02:00:00:00:40:01"  # the gateway of the tenant VLAN


@pytest.mark.smoke
@pytest.mark.parametrize("target", ["10.40.0.1", "fd00:40::1"])
def test_a_guest_reaches_the_gateway_of_its_vlan(lab, target):
    assert lab.ns("blue-web").ping(target, count=3).received == 3


@pytest.mark.parametrize("target", ["10.0.0.1", "fd00:100::3"])
def test_the_physical_network_reaches_a_guest(lab, target):
    source = "10.40.0.1" if "." in target else "fd00:40::1"
    assert lab.ns("wan").ping(target, count=3, source=source).received == 3


def test_frames_leave_tagged_and_with_the_uplinks_mac(lab):
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        assert lab.ns("blue-web").ping("10.40.0.1", count=1, ttl=64).received == 1
    requests = [p for p in sniffer.packets() if p.haslayer(ICMP) and p[IP].dst == "10.40.0.1"]
    assert [p[Dot1Q].vlan for p in requests] == [40]
    assert requests[0][Ether].src == lab.description.host("h1").mac
    assert requests[0][Ether].dst == WAN_VLAN_MAC
    assert requests[0][IP].ttl == 63


def test_arp_on_the_vlan_is_answered_for_our_guests_only(lab):
    wan = lab.ns("wan")
    question = Ether(src=WAN_VLAN_MAC, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=40)
    with wan.sniff("eth0", direction="in") as sniffer:
        for target in ("10.0.0.1", "10.0.0.99"):
            wan.send("eth0", question / ARP(op=1, hwsrc=WAN_VLAN_MAC, psrc="10.40.0.1", pdst=target))
    answers = [p for p in sniffer.packets() if p.haslayer(ARP) and p[ARP].op == 2]
    assert [(p[ARP].psrc, p[ARP].hwsrc, p[Dot1Q].vlan) for p in answers] == [
        ("10.0.0.1", lab.description.host("h1").mac, 40)]


def test_the_other_tenant_has_no_part_in_it(lab):
    """Green has no route via the VLAN; its packets leave on the public side, translated like any other."""
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        lab.ns("green-web").ping("10.40.0.1", count=1)
    requests = [p for p in sniffer.packets() if p.haslayer(ICMP) and p[IP].dst == "10.40.0.1"]
    assert [(p[Dot1Q].vlan, p[IP].src) for p in requests] == [(30, "203.0.113.10")]


def test_a_tcp_transfer_crosses_the_vlan(lab):
    transfer = traffic.tcp_transfer(lab.ns("blue-app"), lab.ns("wan"), "10.40.0.1", 8100)
    assert transfer.digest_equal and transfer.peer[0] == "10.0.0.3"


@pytest.mark.software_only("the new port is no port of the NIC")
def test_the_wire_is_told_where_a_new_port_is(lab, reconfigure):
    """Neighbours out there may remember the guest where it was before."""
    uplink = lab.description.host("h1").mac
    lab.ns("h1").run("ip link add blue-late type dummy")
    try:
        with reconfigure("h1") as h1, lab.ns("wan").sniff("eth0", direction="in") as sniffer:
            h1.add("blue", "ports", {"name": "blue-late", "device": "blue-late", "mac": "02:00:00:00:01:09",
                                     "addresses": ["10.0.0.9", "fd00:100::9"]})
            h1.reload()
            sniffer.wait_for(lambda p: ICMPv6ND_NA in p and p[ICMPv6ND_NA].tgt == "fd00:100::9", 5)
            said = [p for p in sniffer.packets() if Dot1Q in p and p[Ether].src == uplink]
            announced = [p for p in said if ARP in p and p[ARP].psrc == p[ARP].pdst == "10.0.0.9"]
            assert {(p[ARP].psrc, p[ARP].hwsrc, p[Dot1Q].vlan) for p in announced} == {("10.0.0.9", uplink, 40)}
            advertised = [p for p in said if ICMPv6ND_NA in p and p[ICMPv6ND_NA].tgt == "fd00:100::9"]
            assert {(p[IPv6].src, p[ICMPv6ND_NA].S, p[ICMPv6ND_NA].O, p[Dot1Q].vlan) for p in advertised} == {("fd00:100::9", 0, 1, 40)}
    finally:
        lab.ns("h1").run("ip link del blue-late")
