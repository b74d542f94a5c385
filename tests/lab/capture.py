"""Background capture of a device's frames through AF_PACKET. Trap: a tap sees an arriving packet before tc
ingress does, so a frame captured "in" may still be dropped by a filter."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6


class Capture:
    """Frames of one device, from the moment it is made until stop(). Made in the namespace of the device.

        with guest.sniff("eth0", direction="in") as capture:
            ...
            packet = capture.wait_for(lambda p: p.haslayer("ICMP"))

    `frames`: list of bytes, VLAN tags in their place; `packets()`: the same as scapy packets.
    `direction`: in, out or both. `keep` filters raw frames as they arrive.
    """

    def __init__(self, device: str, direction: str = "both", keep: Callable[[bytes], bool] | None = None) -> None:
        if direction not in ("in", "out", "both"):
            raise ValueError(f"direction {direction!r} is none of in, out, both")
        self.frames: list[bytes] = []
        self._direction = direction
        self._keep = keep
        self._arrived = threading.Condition()
        # Bound before it gets a protocol, else it hears every device for a moment.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((device, ETH_P_ALL))
        self._end, self._end_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._read, name=f"capture {device}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes what has arrived so far and ends the capture; the frames stay."""
        if self._thread.is_alive():
            self._end_writer.send(b"x")
            self._thread.join()
            for each in (self._socket, self._end, self._end_writer):
                each.close()

    def packets(self) -> list[Any]:
        """The frames so far, as scapy packets (importing scapy takes seconds on an emulated machine)."""
        from .packets import Ether

        with self._arrived:
            frames = list(self.frames)
        return [Ether(frame) for frame in frames]

    def wait_for(self, wanted: Callable[[Any], bool], timeout: float = 5, what: str = "a frame") -> Any:
        """The first packet, captured already or within the timeout, for which wanted(packet) holds."""
        return self._wait(wanted, self.packets, timeout, what)

    def wait_for_frame(self, wanted: Callable[[bytes], bool], timeout: float = 5, what: str = "a frame") -> bytes:
        """The same on raw frames, without scapy."""
        return self._wait(wanted, lambda: list(self.frames), timeout, what)

    def _wait(self, wanted: Callable[[Any], bool], all_so_far: Callable[[], list[Any]], timeout: float, what: str) -> Any:
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            items = all_so_far()
            for item in items[seen:]:
                if wanted(item):
                    return item
            seen = len(items)
            with self._arrived:
                if len(self.frames) == seen and not self._arrived.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"{what} did not come in {timeout} s; {seen} other frames did")

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._socket.fileno() in ready:
                self._take()
            elif self._end.fileno() in ready:
                return  # nothing was left to take

    def _take(self) -> None:
        try:
            frame, ancillary, _, address = self._socket.recvmsg(1 << 17, 256, socket.MSG_DONTWAIT)
        except (BlockingIOError, OSError):
            return  # the device went down, or another reader was faster
        outgoing = address[2] == PACKET_OUTGOING
        if self._direction != "both" and outgoing != (self._direction == "out"):
            return
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                frame = _with_tag(frame, data)
        if self._keep is None or self._keep(frame):
            with self._arrived:
                self.frames.append(frame)
                self._arrived.notify_all()


def _with_tag(frame: bytes, auxdata: bytes) -> bytes:
    """The kernel keeps the outer VLAN tag beside the packet (struct tpacket_auxdata); put it back in."""
    status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", auxdata)
    if not status & TP_STATUS_VLAN_VALID:
        return frame
    if not status & TP_STATUS_VLAN_TPID_VALID:
        tpid = 0x8100
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
