"""What the packets look like on the way: MACs, TTL, checksums, tunnel and tag."""

import pytest

from tests.lab.packets import Dot1Q, Ether, ICMP, IP, IPv6, TCP, UDP, VXLAN
from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

GATEWAY_MAC = "02:73:65:70:61:6c"
WAN_VLAN_MAC = "02:00:00:00:30:01"  # the router on the public VLAN


def checksums_are_right(packet):
    """Recomputes every checksum from the innermost IP header on and compares with what was on the wire."""
    for layer in (IP, TCP, UDP, ICMP):
        if packet.haslayer(layer):
            again = packet.__class__(bytes(packet))
            found = again[layer].chksum
            del again[layer].chksum
            if found != packet.__class__(bytes(again))[layer].chksum:
                return False
    return True


def inner_frames(packets, vni=100):
    return [p[VXLAN].payload for p in packets if p.haslayer(VXLAN) and p[VXLAN].vni == vni]


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00:100::2"])
def test_the_tunnel_carries_the_tenants_vni_and_no_outer_udp_checksum(lab, target):
    with lab.ns("h2").sniff("uplink") as sniffer:
        assert lab.ns("blue-web").ping(target, count=2).received == 2
    outer = [p for p in sniffer.packets() if p.haslayer(VXLAN) and p[VXLAN].vni == 100]
    assert outer
    for packet in outer:
        assert packet[UDP].dport == 4789 and packet[UDP].chksum == 0
        assert {packet[IP].src, packet[IP].dst} == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("target,layer,field", [("10.0.0.2", IP, "ttl"), ("fd00:100::2", IPv6, "hlim")])
def test_ttl_falls_once_for_each_hypervisor_crossed(lab, target, layer, field):
    with lab.ns("h2").sniff("uplink") as wire, lab.ns("blue-db").sniff("eth0") as guest:
        assert lab.ns("blue-web").ping(target, count=1, ttl=64).received == 1
    requests = [f for f in inner_frames(wire.packets()) if f.haslayer(layer) and f[layer].dst == target]
    assert [getattr(f[layer], field) for f in requests][:1] == [63]
    arrived = [p for p in guest.packets() if p.haslayer(layer) and p[layer].dst == target and p[layer].src != target]
    assert getattr([p for p in arrived if p.src == GATEWAY_MAC][0][layer], field) == 62


@pytest.mark.parametrize("target,layer,field", [("10.0.0.3", IP, "ttl"), ("fd00:100::3", IPv6, "hlim")])
def test_ttl_falls_once_within_a_hypervisor(lab, target, layer, field):
    with lab.ns("blue-app").sniff("eth0") as guest:
        assert lab.ns("blue-web").ping(target, count=1, ttl=64).received == 1
    arrived = [p for p in guest.packets() if p.haslayer(layer) and p[layer].dst == target and p.src == GATEWAY_MAC]
    assert getattr(arrived[0][layer], field) == 63


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00:100::2", "10.0.0.3", "fd00:100::3"])
def test_macs_and_checksums_are_right_in_every_packet_a_guest_gets(lab, address):
    server = "blue-db" if address.endswith("2") else "blue-app"
    mac = lab.description.guest(server).mac
    # Packets that GRO merged on the way out of the tunnel carry no checksum of their own.
    lab.ns("h2").run("ethtool -K sepal-vxlan gro off")
    with lab.ns(server).sniff("eth0", direction="in") as sniffer:
        traffic.tcp_transfer(lab.ns("blue-web"), lab.ns(server), address, 8083, size=20_000)
        traffic.udp_exchange(lab.ns("blue-web"), lab.ns(server), address, 5354, count=3)
        lab.ns("blue-web").ping(address, count=1)
    packets = [p for p in sniffer.packets() if p.haslayer(TCP) or p.haslayer(UDP) or p.haslayer(ICMP)]
    assert len(packets) > 10
    for packet in packets:
        assert packet[Ether].src == GATEWAY_MAC and packet[Ether].dst == mac
        assert checksums_are_right(packet), packet.summary()


@pytest.mark.parametrize("address", ["198.18.0.1", "2001:db8:18::1"])
def test_translated_packets_have_right_checksums_and_macs_on_the_wire(lab, address):
    uplink_mac = lab.description.host("h1").mac
    with lab.ns("wan").sniff("eth0", direction="in") as sniffer:
        traffic.tcp_transfer(lab.ns("blue-web"), lab.ns("wan"), address, 8084, size=5_000)
        traffic.udp_exchange(lab.ns("blue-web"), lab.ns("wan"), address, 5355, count=3)
    packets = [p for p in sniffer.packets() if (p.haslayer(TCP) or p.haslayer(UDP)) and not p.haslayer(VXLAN)]
    assert packets
    for packet in packets:
        assert packet[Dot1Q].vlan == 30
        assert packet[Ether].src == uplink_mac and packet[Ether].dst == WAN_VLAN_MAC
        assert checksums_are_right(packet), packet.summary()
