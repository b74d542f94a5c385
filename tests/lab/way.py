"""One packet's way through the hypervisors: which rules counted it, told by their counters before and after."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path
from typing import Any

from .lab import Lab

# The order in which groups see a packet; groups 5 and 6 are side ways.
ORDER = [0, 1, 5, 6, 2, 7, 3, 4]
PORT = 7000
TITLES = {0: "shared ingress", 1: "decapsulation", 2: "connections and NAT", 3: "routes", 4: "egress", 5: "punted",
          6: "guest services", 7: "new connections"}

Rule = dict[str, Any]


class Way:
    """A UDP connection from blue-web on h1 to blue-db on h2, sent packet by packet."""

    def __init__(self, lab: Lab, configs: dict[str, Path]) -> None:
        self._lab = lab
        self._configs = configs
        self._server = lab.ns("blue-db").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind(("0.0.0.0", PORT))
        self._server.settimeout(5)
        self._client = lab.ns("blue-web").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._client.settimeout(5)
        self._seen: list[Rule] = []

    def close(self) -> None:
        self._server.close()
        self._client.close()

    def first(self) -> list[Rule]:
        """The rules that counted the connection's first packet, in the order it met them."""
        return self._moved()

    def established(self) -> list[Rule]:
        """The same for a packet that follows the server's answer."""
        self._server.sendto(b"answer", self._peer)
        self._client.recv(64)
        self._seen = self._moved()
        return self._seen

    def route(self) -> Rule:
        """The rule of group 3 on h1 that the established packet took."""
        return next(rule for rule in self._seen if rule["host"] == "h1" and rule["group"] == 3)

    def lines(self, rules: list[Rule]) -> list[str]:
        """What `sepalctl show` tells of each, in lines that fit a terminal."""
        told, before = [], ""
        for rule in rules:
            here = f"{rule['host']} {rule['device']}"
            if here != before:
                told.append(here)
            before = here
            count = f"{rule['packets']} pkts (+{rule['more']})"
            told.append(f"  {chain_name(rule):<12} prio {rule['prio']:<4} {count:<16} {TITLES[rule['group']]}")
            told.append(f"    {rule['match'] or 'any'}")
            told.append(f"    → {rule['words']}")
        return told

    def as_tc_shows(self, rule: Rule) -> tuple[str, list[str]]:
        """The command, and what it says of this one rule."""
        command = f"tc -s filter show dev {rule['device']} ingress chain {rule['chain']} prio {rule['prio']}"
        lines = self._lab.ns(rule["host"]).run(shlex.split(command)).splitlines()
        begin = next(i for i, line in enumerate(lines) if line.endswith(f"handle 0x{rule['handle']:x} "))
        rest = lines[begin + 1:]
        end = next((i for i, line in enumerate(rest) if line.startswith("filter")), len(rest))
        return command, [line.rstrip().expandtabs(2) for line in [lines[begin], *rest[:end]] if line.strip()]

    # --- counters -----------------------------------------------------------------------------------------------

    def _moved(self) -> list[Rule]:
        before = self._counters()
        self._client.sendto(b"packet", ("10.0.0.2", PORT))
        _, self._peer = self._server.recvfrom(64)
        after = self._counters()
        moved = []
        for key, rule in after.items():
            rule["more"] = rule["packets"] - before[key]["packets"] if key in before else 0
            if rule["more"] > 0 and not _is_question(rule):
                moved.append(rule)
        hosts = list(self._configs)
        return sorted(moved, key=lambda rule: (hosts.index(rule["host"]), rule["device"], ORDER.index(rule["group"])))

    def _counters(self) -> dict[tuple, Rule]:
        found = {}
        for host, config in self._configs.items():
            answer = self._lab.ctl(host, "show", "--json", "--tenant", "blue", "--config", str(config))
            if answer.status != 0:
                raise RuntimeError(answer.err.strip())
            for rule in json.loads(answer.out)["rules"]:
                rule["host"] = host
                found[host, rule["device"], rule["chain"], rule["prio"], rule["handle"]] = rule
        return found


def chain_name(rule: Rule) -> str:
    """As sepalctl says it: g2 vni 100. Chain 0 belongs to no tenant."""
    if rule["chain"] == 0:
        return f"g{rule['group']}"
    lane = "uplink " if rule["lane"] == "uplink" else ""
    return f"{lane}g{rule['group']} vni {rule['vni']}"


def _is_question(rule: Rule) -> bool:
    """ARP and neighbour discovery, which a guest may send at any time."""
    return rule["group"] == 6 or "arp" in rule["match"] or "icmp_type" in rule["match"]
