"""What the lab asks of rtnetlink: links, addresses, routes, neighbours; many requests per send, no process.

Written out here because a process per device, or importing a general netlink library, costs seconds on an
emulated machine, and because the lab must not depend on the code it tests. See linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NLM_F_ACK_TLVS, NLM_F_CAPPED = 0x200, 0x100
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH = 20, 24, 28
RTM_DELQDISC = 37

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_NET_NS_FD, IFLA_NEW_IFINDEX = 28, 49
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFLA_VLAN_ID = 1
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_VLAN_FILTERING, IFLA_BR_MCAST_SNOOPING = 1, 5, 7, 23
IFF_UP = 1

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_F_NODAD = 1, 2, 8, 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RTNH_F_ONLINK = 4
CLSACT_HANDLE, CLSACT_PARENT = 0xFFFF0000, 0xFFFFFFF1
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
NDA_DST, NDA_LLADDR, NUD_PERMANENT = 1, 2, 0x80

# More than a lab needs in one go, less than the kernel's default receive buffer takes in answers.
MESSAGES_PER_SEND = 32


class KernelRefused(Exception):
    """The kernel's own words about a request of ours."""


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@dataclass
class Link:
    """A device as the lab makes it. The index is chosen by us, so that what refers to it can go in one batch."""

    name: str
    index: int
    mac: str | None = None
    mtu: int | None = None
    up: bool = True
    master: int | None = None

    def message(self, kind: str, data: bytes = b"", lower: int | None = None, extra: bytes = b"") -> bytes:
        body = self.header() + self.attributes() + extra
        if lower is not None:
            body += attribute(IFLA_LINK, struct.pack("=I", lower))
        info = attribute(IFLA_INFO_KIND, text(kind))
        if data:
            info += attribute(IFLA_INFO_DATA, data)
        return body + attribute(IFLA_LINKINFO, info)

    def header(self, up: bool | None = None) -> bytes:
        flags = IFF_UP if (self.up if up is None else up) else 0
        return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, self.index, flags, IFF_UP)

    def attributes(self) -> bytes:
        result = attribute(IFLA_IFNAME, text(self.name))
        if self.mac:
            result += attribute(IFLA_ADDRESS, mac_bytes(self.mac))
        if self.mtu:
            result += attribute(IFLA_MTU, struct.pack("=I", self.mtu))
        if self.master:
            result += attribute(IFLA_MASTER, struct.pack("=I", self.master))
        return result


class Rtnl:
    """Requests to the network namespace in which it was made: queued, then sent by commit()."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._queue: list[tuple[str, int, int, bytes]] = []
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    # --- requests -----------------------------------------------------------------------------------------

    def add_veth(self, link: Link, peer: Link, peer_namespace: int) -> None:
        """The peer is born in the namespace of that descriptor, and is down: veth cannot open it before it knows its
        other end (ENOTCONN), and then the link itself has already been refused."""
        peer_data = peer.header(up=False) + peer.attributes() + attribute(IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
        self._add_link(link, link.message("veth", attribute(VETH_INFO_PEER, peer_data)))

    def add_bridge(self, link: Link) -> None:
        """A bridge that only forwards: every VLAN, at once, all multicast."""
        data = attribute(IFLA_BR_FORWARD_DELAY, struct.pack("=I", 0))
        data += attribute(IFLA_BR_STP_STATE, struct.pack("=I", 0))
        data += attribute(IFLA_BR_VLAN_FILTERING, struct.pack("=B", 0))
        data += attribute(IFLA_BR_MCAST_SNOOPING, struct.pack("=B", 0))
        self._add_link(link, link.message("bridge", data))

    def add_vlan(self, link: Link, lower: int, vlan: int) -> None:
        self._add_link(link, link.message("vlan", attribute(IFLA_VLAN_ID, struct.pack("=H", vlan)), lower))

    def add_dummy(self, link: Link) -> None:
        self._add_link(link, link.message("dummy"))

    def _add_link(self, link: Link, message: bytes) -> None:
        self._queue.append((f"link add {link.name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, message))

    def set_link(self, index: int, *, up: bool | None = None, mac: str | None = None, mtu: int | None = None,
                 name: str | None = None, master: int | None = None) -> None:
        """Changes what is given of a device that is there."""
        flags, change = (IFF_UP if up else 0), (IFF_UP if up is not None else 0)
        message = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)
        if mac is not None:
            message += attribute(IFLA_ADDRESS, mac_bytes(mac))
        if mtu is not None:
            message += attribute(IFLA_MTU, struct.pack("=I", mtu))
        if name is not None:
            message += attribute(IFLA_IFNAME, text(name))
        if master is not None:
            message += attribute(IFLA_MASTER, struct.pack("=I", master))
        self._queue.append((f"link set {index}", RTM_NEWLINK, 0, message))

    def move_link(self, index: int, link: Link, namespace: int) -> None:
        """Into the namespace of that descriptor, where it has the link's name and index; it arrives down."""
        message = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, IFF_UP)
        message += attribute(IFLA_NET_NS_FD, struct.pack("=I", namespace)) + attribute(IFLA_IFNAME, text(link.name))
        message += attribute(IFLA_NEW_IFINDEX, struct.pack("=i", link.index))
        self._queue.append((f"link move {link.name}", RTM_NEWLINK, 0, message))

    def delete_link(self, index: int) -> None:
        message = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
        self._queue.append((f"link delete {index}", RTM_DELLINK, 0, message))

    def delete_clsact(self, index: int) -> None:
        """With all its filters. One that is not there is a refusal, as all else."""
        message = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, CLSACT_HANDLE, CLSACT_PARENT, 0)
        self._queue.append((f"qdisc delete clsact {index}", RTM_DELQDISC, 0, message))

    def add_address(self, index: int, interface: str) -> None:
        """`interface` as in 192.0.2.1/24; usable at once (no duplicate address detection)."""
        address = ipaddress.ip_interface(interface)
        message = struct.pack("=BBBBI", _family(address.ip), address.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
        message += attribute(IFA_LOCAL, address.ip.packed) + attribute(IFA_ADDRESS, address.ip.packed)
        message += attribute(IFA_FLAGS, struct.pack("=I", IFA_F_NODAD))
        self._queue.append((f"address add {interface}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, message))

    def add_route(self, prefix: str, index: int, via: str | None = None) -> None:
        """Through `via`, which need not lie in a prefix of ours; on the link itself without it."""
        to = ipaddress.ip_network(prefix)
        on_link = RTNH_F_ONLINK if via else 0
        # IPv6 knows no onlink for a link-local gateway: it always is.
        if via and ipaddress.ip_address(via).is_link_local and to.version == 6:
            on_link = 0
        scope = RT_SCOPE_UNIVERSE if via or to.version == 6 else RT_SCOPE_LINK
        message = struct.pack(
            "=BBBBBBBBI", _family(to), to.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, on_link
        )
        if to.prefixlen:
            message += attribute(RTA_DST, to.network_address.packed)
        message += attribute(RTA_OIF, struct.pack("=I", index))
        if via:
            message += attribute(RTA_GATEWAY, ipaddress.ip_address(via).packed)
        self._queue.append((f"route add {prefix}", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, message))

    def add_neighbour(self, index: int, address: str, mac: str) -> None:
        """A permanent entry: no ARP or ND for it."""
        ip = ipaddress.ip_address(address)
        message = struct.pack("=BxxxiHBB", _family(ip), index, NUD_PERMANENT, 0, 0)
        message += attribute(NDA_DST, ip.packed) + attribute(NDA_LLADDR, mac_bytes(mac))
        self._queue.append((f"neighbour add {address}", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, message))

    # --- transport ----------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Sends what is queued; raises KernelRefused for the first refusal, after all were tried."""
        queue, self._queue = self._queue, []
        refusals: list[str] = []
        for start in range(0, len(queue), MESSAGES_PER_SEND):
            batch, waiting = b"", {}
            for what, kind, flags, payload in queue[start : start + MESSAGES_PER_SEND]:
                self._sequence += 1
                waiting[self._sequence] = what
                batch += self._message(kind, flags | NLM_F_ACK, payload)
            self._socket.send(batch)
            while waiting:
                for sequence, kind, flags, payload in _messages(self._socket.recv(1 << 16)):
                    what = waiting.pop(sequence, None)
                    if what and kind == NLMSG_ERROR and (refusal := _refusal(flags, payload)):
                        refusals.append(f"{what}: {refusal}")
        if refusals:
            raise KernelRefused("; ".join(refusals))

    def links(self) -> dict[str, int]:
        """Name → index of every device."""
        self._sequence += 1
        self._socket.send(self._message(RTM_GETLINK, NLM_F_DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)))
        found: dict[str, int] = {}
        while True:
            for _, kind, _, payload in _messages(self._socket.recv(1 << 18)):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    raise KernelRefused(f"link dump: {_refusal(0, payload)}")
                index = struct.unpack_from("=i", payload, 4)[0]
                name = _attributes(payload[16:])[IFLA_IFNAME]
                found[name.rstrip(b"\0").decode()] = index

    def _message(self, kind: int, flags: int, payload: bytes) -> bytes:
        header = struct.pack("=IHHII", 16 + len(payload), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        return header + payload


def _family(address: object) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6  # type: ignore[attr-defined]


def _messages(data: bytes):
    while data:
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
        yield sequence, kind, flags, data[16:length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _refusal(flags: int, payload: bytes) -> str | None:
    error = struct.unpack_from("=i", payload)[0]
    if error == 0:
        return None
    message = os.strerror(-error)
    # With NETLINK_CAP_ACK an error repeats only the header of the request, unless the flag says it does not.
    if flags & NLM_F_ACK_TLVS:
        request = 16 if flags & NLM_F_CAPPED else struct.unpack_from("=I", payload, 4)[0]
        told = _attributes(payload[4 + request :]).get(NLMSGERR_ATTR_MSG)
        if told:
            message += f" ({told.rstrip(bytes(1)).decode()})"
    return message
