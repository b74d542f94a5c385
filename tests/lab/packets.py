"""The part of scapy that the tests use, imported layer by layer: `scapy.all` takes three times as long."""

from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_Router_Alert, UDPerror  # noqa: F401
from scapy.layers.inet6 import (  # noqa: F401
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: F401
from scapy.layers.vxlan import VXLAN  # noqa: F401
from scapy.packet import Raw  # noqa: F401


def fragments(packet: Any, ranges: list[tuple[int, int]], identification: int) -> Iterator[Any]:
    """An IPv4 packet, or an IPv6 one without extension headers, in fragments: one for each [begin, end) of the bytes behind
    its IP header, in this order, honest or not. Begins are multiples of 8; who reaches the end of the packet is a last one."""
    whole = type(packet)(bytes(packet))  # lengths and checksums as they leave
    data = bytes(whole)[40 if whole.version == 6 else 20:]
    for begin, end in ranges:
        more = int(end < len(data))
        if whole.version == 6:
            header = (IPv6(src=whole.src, dst=whole.dst)
                      / IPv6ExtHdrFragment(nh=whole.nh, offset=begin // 8, m=more, id=identification))
        else:
            header = IP(src=whole.src, dst=whole.dst, proto=whole.proto, id=identification, flags=more, frag=begin // 8)
        yield header / Raw(data[begin:end])
