"""The part of scapy that the tests use, imported layer by layer: `scapy.all` takes three times as long."""

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
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: F401
from scapy.layers.vxlan import VXLAN  # noqa: F401
from scapy.packet import Raw  # noqa: F401
