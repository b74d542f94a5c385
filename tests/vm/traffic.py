"""Traffic between namespaces of a lab, made and judged from the test's own process.

Every function opens its sockets inside the namespaces and returns what arrived; nothing here asserts.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

WAIT = 5.0  # seconds a packet may take under emulation before it counts as lost


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@dataclass
class Transfer:
    """One TCP connection seen from the server's end."""

    received: int
    digest_equal: bool
    peer: tuple[str, int]  # who the server believes it talks to
    reply: bytes  # what the server said, as the client got it


def tcp_transfer(client: Any, server: Any, address: str, port: int, size: int = 100_000, hello: bytes = b"sepal",
                 bind: str | None = None, timeout: float = 30.0) -> Transfer:
    """Sends `size` random bytes from namespace `client` to a listener in `server`, which answers with `hello`."""
    family = family_of(address)
    payload = os.urandom(size)
    result: dict[str, Any] = {}
    listener = server.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
        listener.listen(8)
        listener.settimeout(timeout)

        def serve() -> None:
            connection, peer = listener.accept()
            with connection:
                connection.settimeout(timeout)
                digest, received = hashlib.sha256(), 0
                while received < size:
                    data = connection.recv(65536)
                    if not data:
                        break
                    digest.update(data)
                    received += len(data)
                connection.sendall(hello)
                result.update(peer=peer[:2], received=received, digest=digest.digest())

        thread = threading.Thread(target=_quiet(serve, result), daemon=True)
        thread.start()
        with client.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect((address, port))
            connection.sendall(payload)
            reply = b""
            while len(reply) < len(hello):
                data = connection.recv(4096)
                if not data:
                    break
                reply += data
        thread.join(timeout)
    if "error" in result:
        raise result["error"]
    return Transfer(result.get("received", 0), result.get("digest") == hashlib.sha256(payload).digest(),
                    result.get("peer", ("", 0)), reply)


def tcp_refused(client: Any, address: str, port: int, timeout: float = 3.0) -> bool:
    """True when a connection attempt gets no answer at all."""
    with client.socket(family_of(address), socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect((address, port))
        except (TimeoutError, socket.timeout):
            return True
        except OSError:
            return False
    return False


class Connection:
    """A TCP connection into which data is poured piece by piece; the server reads and counts."""

    def __init__(self, client: Any, server: Any, address: str, port: int) -> None:
        family = family_of(address)
        with server.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(1)
            listener.settimeout(10)
            self._client = client.socket(family, socket.SOCK_STREAM)
            self._client.settimeout(30)
            self._client.connect((address, port))
            self._server, _ = listener.accept()
        self._server.settimeout(30)

    def pour(self, size: int) -> None:
        """Returns when all of it has arrived."""
        sender = threading.Thread(target=self._client.sendall, args=(bytes(size),))
        sender.start()
        left = size
        while left:
            data = self._server.recv(min(left, 65536))
            if not data:
                raise ConnectionError(f"the connection ended with {left} bytes to come")
            left -= len(data)
        sender.join()

    def close(self) -> None:
        self._client.close()
        self._server.close()


@dataclass
class Exchange:
    sent: int
    arrived: list[bytes]
    peers: list[tuple[str, int]]
    answered: int


def udp_exchange(client: Any, server: Any, address: str, port: int, count: int = 5, size: int = 64, answer: bool = True,
                 source_port: int = 0, timeout: float = WAIT) -> Exchange:
    """Sends `count` datagrams of `size` bytes; the server answers each when `answer`."""
    family = family_of(address)
    arrived: list[bytes] = []
    peers: list[tuple[str, int]] = []
    answered = 0
    with server.socket(family, socket.SOCK_DGRAM) as listener, client.socket(family, socket.SOCK_DGRAM) as sender:
        # Bound to the address itself: on a wildcard the answer's source would be the route's choice.
        listener.bind((address, port))
        listener.settimeout(timeout)
        sender.settimeout(timeout)
        sender.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))
        for number in range(count):
            sender.sendto(number.to_bytes(4, "big") + os.urandom(size - 4), (address, port))
        try:
            while len(arrived) < count:
                data, peer = listener.recvfrom(65536)
                arrived.append(data)
                peers.append(peer[:2])
                if answer:
                    listener.sendto(data, peer)
            while answer and answered < count:
                sender.recvfrom(65536)
                answered += 1
        except (TimeoutError, socket.timeout):
            pass
    return Exchange(count, arrived, peers, answered)


class Stream:
    """A paced one-way UDP stream that counts what it lost; `with Stream(...) as s: …; s.lost` after the block."""

    def __init__(self, client: Any, server: Any, address: str, port: int, per_second: int = 500) -> None:
        self._family = family_of(address)
        self._target = (address, port)
        self._interval = 1.0 / per_second
        self._receiver = server.socket(self._family, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._receiver.bind(("::" if self._family == socket.AF_INET6 else "0.0.0.0", port))
        self._receiver.settimeout(0.5)
        self._sender = client.socket(self._family, socket.SOCK_DGRAM)
        self._stop = threading.Event()
        self.sent = 0
        self.received: set[int] = set()
        self.last = 0.0  # when something arrived last, time.monotonic()
        self._threads = [threading.Thread(target=self._send, daemon=True),
                         threading.Thread(target=self._receive, daemon=True)]

    def __enter__(self) -> "Stream":
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + WAIT
        while not self.received and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._threads[0].join()
        deadline = time.monotonic() + WAIT
        while len(self.received) < self.sent and time.monotonic() < deadline:
            time.sleep(0.05)
        self._sender.close()
        self._receiver.close()
        self._threads[1].join(2)

    @property
    def lost(self) -> int:
        return self.sent - len(self.received)

    def _send(self) -> None:
        at = time.monotonic()
        while not self._stop.is_set():
            self._sender.sendto(self.sent.to_bytes(8, "big"), self._target)
            self.sent += 1
            at += self._interval
            time.sleep(max(0.0, at - time.monotonic()))

    def _receive(self) -> None:
        while True:
            try:
                self.received.add(int.from_bytes(self._receiver.recv(64)[:8], "big"))
                self.last = time.monotonic()
            except (TimeoutError, socket.timeout):
                if self._stop.is_set() and len(self.received) >= self.sent:
                    return
            except OSError:
                return


def _quiet(work: Callable[[], None], result: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except OSError as error:
            result["error"] = error
    return run
