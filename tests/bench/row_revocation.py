"""A policy changes under many live connections: from the reload until the last packet that it forbids arrives, while
connections that stay allowed lose nothing. In software: on a NIC the flow table's next round comes on top."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

from tests.lab import Lab, load
from tests.lab.agent import Agent
from tests.vm.configs import HostConfig
from tests.vm.traffic import Stream

from .bed import TMP
from .measure import Row, say, settle

CONNECTIONS = 10_000
KEPT, FORBIDDEN = 7901, 7902  # half of the connections to each
APP = "10.0.0.3"
RATE = 200  # datagrams per second of each stream
LOOKS_EVERY = 600  # seconds: no look of the daemon's falls into a round


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
            web, app = lab.ns("blue-web"), lab.ns("blue-app")
            with Stream(web, app, APP, KEPT, RATE) as kept, Stream(web, app, APP, FORBIDDEN, RATE) as forbidden:
                time.sleep(1)
                begin = time.monotonic()
                _allow(config, agent, KEPT)
                reloaded = time.monotonic() - begin
                time.sleep(2)
            if not begin - 0.5 < forbidden.last < begin + reloaded + 1.5:
                raise RuntimeError("the forbidden stream did not flow before, or does not end")
            times.append(max(0.0, forbidden.last - begin) * 1000)
            lost += kept.lost
            ended = _ended(agent, number + 1)
            if ended < connections // 2:
                raise RuntimeError(f"only {ended} of {connections // 2} forbidden connections ended")
            say(f"revocation, round {number + 1} of {rounds}: last forbidden packet after {times[-1]:.0f} ms, reload {reloaded * 1000:.0f} ms, "
                f"{ended} connections ended, {kept.lost} of {kept.sent} allowed packets lost")
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
    """Two datagrams from each of so many ports: one alone goes past conntrack."""
    with lab.ns("blue-web").enter():
        for number in range(connections):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("", 20_000 + number))
                for _ in range(2):
                    sender.sendto(b"one of a crowd", (APP, (KEPT, FORBIDDEN)[number % 2]))


def _ended(agent: Agent, times: int) -> int:
    """What the daemon said the n-th time; a reload that allows more ends none."""
    found = re.findall(r"connections-ended: (\d+)", agent.own_log())
    return int(found[-1]) if len(found) == times else 0
