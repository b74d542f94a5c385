"""One network namespace of a lab: commands and sockets in it, frames sent and captured, pings without a process.

Only the network namespace is entered, and only by the calling thread: the mount namespace stays, so /sys/fs/bpf
is everywhere the same (`ip netns exec` remounts /sys, under which a pinned object would vanish).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .capture import Capture
from .ping import PingResult, ping
from .rtnl import KernelRefused, Rtnl

NETNS_DIR = Path("/run/netns")
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 0x1000, 0x4000, 0x100000, 2
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
# How many actions and tables of connections there are, in all namespaces; not there when act_ct is built in.
ACT_CT_USERS = Path("/sys/module/act_ct/refcnt")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _wait_for_flow_tables() -> None:
    """Until those of deleted ct actions are gone, with all their work; where that does not show, as long as it may take."""
    end = time.monotonic() + (2 if ACT_CT_USERS.exists() else 0.5)
    while time.monotonic() < end and not (ACT_CT_USERS.exists() and ACT_CT_USERS.read_text().strip() == "0"):
        time.sleep(0.02)


class Namespace:
    """A named network namespace, visible to `ip netns`. `name` is the full one, prefix included."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
        self._senders: dict[str, socket.socket] = {}

    @staticmethod
    def create(name: str) -> Namespace:
        """As `ip netns add` does, without its process."""
        NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
        # A shared mount, so that a namespace deleted here also goes away in mount namespaces that copied it. Making
        # it shared fails when it is no mount yet (os.path.ismount cannot tell: a bind mount keeps the device number).
        directory = str(NETNS_DIR).encode()
        try:
            _call("mount", b"", directory, b"none", MS_SHARED | MS_REC, None)
        except OSError:
            _call("mount", directory, directory, b"none", MS_BIND | MS_REC, None)
            _call("mount", b"", directory, b"none", MS_SHARED | MS_REC, None)
        path = NETNS_DIR / name
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            try:
                _call("mount", b"/proc/thread-self/ns/net", str(path).encode(), b"none", MS_BIND, None)
            finally:
                _call("setns", home, CLONE_NEWNET)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(home)
        return Namespace(name)

    @staticmethod
    def adopt(name: str) -> Namespace:
        """A name for the namespace that this thread is in; Namespace.remove() takes the name away again."""
        NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
        path = NETNS_DIR / name
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        try:
            _call("mount", b"/proc/thread-self/ns/net", str(path).encode(), b"none", MS_BIND, None)
        except BaseException:
            path.unlink()
            raise
        return Namespace(name)

    @staticmethod
    def exists(name: str) -> bool:
        """As a namespace, not only as the file left by a run that died between creating and mounting."""
        try:
            return os.stat(NETNS_DIR / name).st_dev != os.stat(NETNS_DIR).st_dev
        except FileNotFoundError:
            return False

    @staticmethod
    def remove(*names: str) -> None:
        """Absent is success. Processes still in one keep it alive, unnamed, until they end."""
        # Filters first. A namespace frees its statistics of flow tables before the work that ct actions have queued for
        # their connections is done, and that work counts in what by then is somebody else's (seen in 6.1).
        if any([Namespace(name)._drop_filters() for name in names if Namespace.exists(name)]):
            _wait_for_flow_tables()
        for name in names:
            path = NETNS_DIR / name
            try:
                _call("umount2", str(path).encode(), MNT_DETACH)
            except OSError:
                pass  # only a file, or nothing
            path.unlink(missing_ok=True)

    def _drop_filters(self) -> bool:
        """Whether there were any. Closes this namespace; does nothing in the one we are in, which a name alone leaves."""
        dropped = False
        if os.fstat(self._fd).st_ino == os.stat("/proc/thread-self/ns/net").st_ino:
            self.close()
            return dropped
        with self.enter():
            rtnl = Rtnl()
        for index in rtnl.links().values():
            rtnl.delete_clsact(index)
            with suppress(KernelRefused):  # most devices have none
                rtnl.commit()
                dropped = True
        rtnl.close()
        self.close()
        return dropped

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    @contextmanager
    def enter(self) -> Iterator[None]:
        """This thread, and what it starts meanwhile, is in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._fd, CLONE_NEWNET)
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
            os.close(home)

    def pids(self) -> list[int]:
        """Processes whose main thread is in the namespace."""
        mine, found = os.fstat(self._fd), []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    theirs = os.stat(f"/proc/{entry.name}/ns/net")
                except OSError:
                    continue
                if (theirs.st_ino, theirs.st_dev) == (mine.st_ino, mine.st_dev):
                    found.append(int(entry.name))
        return found

    # --- commands -----------------------------------------------------------------------------------------

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen:
        """subprocess.Popen in the namespace."""
        with self.enter():
            return subprocess.Popen(command, **options)

    def run(self, command: list[str] | str, *, check: bool = True, timeout: float = 60, **options: Any) -> str:
        """Runs a command (a string is split at spaces) and returns its stdout; with check, a failure raises
        RuntimeError with its stderr. Each process costs 0.1 s and more on an emulated machine."""
        if isinstance(command, str):
            command = command.split()
        with self.enter():
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    # --- sockets and frames -------------------------------------------------------------------------------

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        """A socket of the namespace, to be used from anywhere."""
        with self.enter():
            return socket.socket(family, kind, protocol)

    def send(self, device: str, frame: bytes | Any) -> None:
        """Sends one Ethernet frame (bytes, or a scapy packet) out of the device."""
        if device not in self._senders:
            # Protocol 0: such a socket receives nothing, so it costs other traffic nothing.
            sender = self.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sender.bind((device, 0))
            self._senders[device] = sender
        self._senders[device].send(bytes(frame))

    def sniff(self, device: str, direction: str = "both", keep: Callable[[bytes], bool] | None = None) -> Capture:
        """Captures frames in the background; see Capture. A context manager."""
        with self.enter():
            return Capture(device, direction, keep)

    def ping(self, destination: str, count: int = 1, **options: Any) -> PingResult:
        """Echo requests by a socket of this process; see tests/lab/ping.py for the options."""
        with self.enter():
            return ping(destination, count, **options)

    # --- settings -----------------------------------------------------------------------------------------

    def sysctl(self, name: str, value: str | int) -> None:
        """`name` with slashes, below /proc/sys."""
        with self.enter():
            Path("/proc/sys", name).write_text(f"{value}\n")

    def tx_checksum_off(self, device: str) -> None:
        """`ethtool -K DEV tx off`: what leaves has its checksums written, so captures show true ones."""
        value = bytearray(struct.pack("=II", ETHTOOL_STXCSUM, 0))
        buffer = (ctypes.c_char * len(value)).from_buffer(value)
        request = struct.pack("16sP", device.encode(), ctypes.addressof(buffer))
        with self.socket() as control:
            fcntl.ioctl(control, SIOCETHTOOL, request)

    def index(self, device: str) -> int:
        with self.enter():
            return socket.if_nametoindex(device)
