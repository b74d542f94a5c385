"""A policy changes under many live connections: from the reload until the last packet that it forbids arrives, while
connections that stay allowed lose nothing. In software: on a NIC the flow table's next round comes on top."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from pathlib import Path

from tests.lab import Lab, load
from tests.lab.agent import Agent
from tests.vm.configs import HostConfig

from .bed import TMP
from .measure import Row, say, settle

CONNECTIONS = 10_000
KEPT, FORBIDDEN = 7901, 7902  # half of the connections to each
APP = "10.0.0.3"
LOOKS_EVERY = 600  # seconds: no look of the daemon's falls into a round


class Paced:
    """A datagram every few milliseconds on one connection; when the last one arrived, and which did not."""

    def __init__(self, lab: Lab, port: int, every: float = 0.005) -> None:
        self.receiver = lab.ns("blue-app").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.receiver.bind(("", port))
        self.receiver.settimeout(0.2)
        self.sender = lab.ns("blue-web").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect((APP, port))
        self.port, self.every, self.sent, self.last, self.arrived = port, every, 0, 0.0, set[int]()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._send, daemon=True), threading.Thread(target=self._receive, daemon=True)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.sender.close()
        self.receiver.close()

    def _send(self) -> None:
        while not self.stop.wait(self.every):
            self.sender.send(self.sent.to_bytes(8, "big"))
            self.sent += 1

    def _receive(self) -> None:
        while True:
            try:
                data = self.receiver.recv(100)
            except TimeoutError:
                if self.stop.is_set():
                    return
                continue
            if len(data) == 8:  # not one of the crowd's
                self.last = time.monotonic()
                self.arrived.add(int.from_bytes(data, "big"))


def rows_revocation(rounds: int, connections: int = CONNECTIONS) -> list[Row]:
    config = HostConfig(TMP / "revocation", "h1")
    times: list[float] = []
    lost = ended = 0
    with Lab(load(), Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench") as lab:
        agent = lab.start_agent("h1", config.path, "--look-interval", str(LOOKS_EVERY))
        # So that none of them ends by itself.
        lab.ns("h1").run(["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=3600"])
        for number in range(rounds):
            _allow(config, agent, KEPT, FORBIDDEN)
            _begin(lab, connections)
            settle()
            kept, forbidden = Paced(lab, KEPT), Paced(lab, FORBIDDEN)
            time.sleep(1)
            begin = time.monotonic()
            _allow(config, agent, KEPT)
            reloaded = time.monotonic() - begin
            time.sleep(2)
            for stream in (forbidden, kept):
                stream.end()
            if not begin - 0.5 < forbidden.last < begin + reloaded + 1.5:
                raise RuntimeError("the forbidden stream did not flow before, or does not end")
            times.append(max(0.0, forbidden.last - begin) * 1000)
            lost += kept.sent - len(kept.arrived)
            ended = _ended(agent, number + 1)
            if ended < connections // 2:
                raise RuntimeError(f"only {ended} of {connections // 2} forbidden connections ended")
            say(f"revocation, round {number + 1} of {rounds}: last forbidden packet after {times[-1]:.0f} ms, reload {reloaded * 1000:.0f} ms, "
                f"{ended} connections ended, {kept.sent - len(kept.arrived)} of {kept.sent} allowed packets lost")
    times.sort()
    median = times[len(times) // 2]
    return [
        Row(f"a policy's change under {connections} live connections: from the reload to the last packet it forbids",
            f"{median:.0f} ms", "", None, f"{min(times):.0f}..{max(times):.0f}; {ended} connections ended, each by itself"),
        Row("… packets lost by a connection that stays allowed", str(lost), "0", lost == 0),
    ]


def _allow(config: HostConfig, agent: Agent, *ports: int) -> None:
    document = config.read("blue")
    document["security_groups"] = {"app": {"ingress": [{"protocol": "udp", "ports": list(ports), "from": "any"}]}}
    for port in document["ports"]:
        if port["name"].endswith("app"):
            port["security_groups"] = ["app"]
    config.write("blue", document)
    agent.reload(300)


def _begin(lab: Lab, connections: int) -> None:
    """One datagram from each of so many ports."""
    with lab.ns("blue-web").enter():
        for number in range(connections):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("", 20_000 + number))
                sender.sendto(b"one of a crowd", (APP, (KEPT, FORBIDDEN)[number % 2]))


def _ended(agent: Agent, times: int) -> int:
    """What the daemon said the n-th time; a reload that allows more ends none."""
    found = re.findall(r"connections-ended: (\d+)", agent.own_log())
    return int(found[-1]) if len(found) == times else 0
