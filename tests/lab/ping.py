"""Echo requests and replies by raw sockets of this process, IPv4 and IPv6: no ping process per question."""

from __future__ import annotations

import ipaddress
import itertools
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field

IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
IPV6_MTU_DISCOVER = 23
# Set by the sender, unique among the pings of a test run: several may run at once in several threads.
_identifiers = itertools.count(os.getpid() & 0x7FFF)


@dataclass
class PingResult:
    """`rtt_ms[i]`: milliseconds until the reply to request i, None when none came in time."""

    destination: str
    rtt_ms: list[float | None]
    errors: list[str] = field(default_factory=list)  # what the kernel said instead of sending

    @property
    def received(self) -> int:
        return sum(rtt is not None for rtt in self.rtt_ms)

    @property
    def lost(self) -> int:
        return len(self.rtt_ms) - self.received

    @property
    def ok(self) -> bool:
        """Every request was answered."""
        return self.lost == 0

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        answered = [rtt for rtt in self.rtt_ms if rtt is not None]
        times = f", {min(answered):.1f} to {max(answered):.1f} ms" if answered else ""
        errors = f", {self.errors[0]}" if self.errors else ""
        return f"{self.destination}: {self.received} of {len(self.rtt_ms)} replies{times}{errors}"


def ping(
    destination: str,
    count: int = 1,
    *,
    interval: float = 0.05,
    timeout: float = 2.0,
    size: int = 56,
    ttl: int | None = None,
    source: str | None = None,
    dont_fragment: bool = False,
) -> PingResult:
    """In the calling thread's namespace. Waits `timeout` seconds after the last request for what is missing.
    `size`: bytes behind the ICMP header; with dont_fragment False, more than the MTU goes in fragments."""
    v6 = ipaddress.ip_address(destination).version == 6
    identifier = next(_identifiers) & 0xFFFF
    result = PingResult(destination, [None] * count)
    with _open(v6, ttl, source, dont_fragment) as icmp:
        sent_at: dict[int, float] = {}
        begin = time.monotonic()
        deadline = begin + (count - 1) * interval + timeout
        while True:
            now = time.monotonic()
            if len(sent_at) < count and now >= begin + len(sent_at) * interval:
                sequence = len(sent_at)
                sent_at[sequence] = now
                try:
                    icmp.sendto(_request(v6, identifier, sequence, size), (destination, 0))
                except OSError as error:
                    result.errors.append(os.strerror(error.errno or 0))
                continue
            if result.received == count or now >= deadline:
                return result
            next_send = begin + len(sent_at) * interval if len(sent_at) < count else deadline
            if not select.select([icmp], [], [], max(0.0, min(next_send, deadline) - now))[0]:
                continue
            try:
                data, sender = icmp.recvfrom(1 << 16)
            except OSError as error:  # an ICMP error came back
                result.errors.append(os.strerror(error.errno or 0))
                continue
            sequence = _reply(v6, data, identifier)
            if sequence in sent_at and result.rtt_ms[sequence] is None and _same(sender[0], destination):
                result.rtt_ms[sequence] = (time.monotonic() - sent_at[sequence]) * 1000


def _open(v6: bool, ttl: int | None, source: str | None, dont_fragment: bool) -> socket.socket:
    if v6:
        icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        level, discover, hops = socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, socket.IPV6_UNICAST_HOPS
    else:
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        level, discover, hops = socket.IPPROTO_IP, IP_MTU_DISCOVER, socket.IP_TTL
    icmp.setsockopt(level, discover, IP_PMTUDISC_DO if dont_fragment else IP_PMTUDISC_DONT)
    if ttl is not None:
        icmp.setsockopt(level, hops, ttl)
    if source is not None:
        icmp.bind((source, 0))
    return icmp


def _request(v6: bool, identifier: int, sequence: int, size: int) -> bytes:
    payload = bytes(i & 0xFF for i in range(size))
    # For ICMPv6 the kernel writes the checksum, which covers addresses that only it knows.
    header = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, identifier, sequence)
    if v6:
        return header + payload
    return struct.pack("!BBHHH", 8, 0, _checksum(header + payload), identifier, sequence) + payload


def _reply(v6: bool, data: bytes, identifier: int) -> int | None:
    """The sequence number, when this is the reply to a request of ours."""
    if not v6:
        data = data[(data[0] & 0x0F) * 4 :]
    if len(data) < 8:
        return None
    kind, _, _, its_identifier, sequence = struct.unpack_from("!BBHHH", data)
    return sequence if kind == (129 if v6 else 0) and its_identifier == identifier else None


def _same(one: str, other: str) -> bool:
    return ipaddress.ip_address(one.split("%")[0]) == ipaddress.ip_address(other.split("%")[0])


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
