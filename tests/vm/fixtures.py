"""Fixtures of the packet tests that run sepald: both hypervisors with the shipped example configuration, counters by
reason, forged frames, and configurations changed for a while."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.packets import IP, Ether, IPv6
from tests.vm.configs import HostConfig

GATEWAY_MAC = "02:73:65:70:61:6c"


@pytest.fixture(scope="module")
def configs(lab, tmp_path_factory) -> dict[str, HostConfig]:
    """A copy of the example configuration for each hypervisor, for this module to edit."""
    directory = tmp_path_factory.mktemp("config")
    return {host.name: HostConfig(directory, host.name, lab) for host in lab.description.hosts}


@pytest.fixture(scope="module")
def agents(lab, configs):
    """sepald on every hypervisor of the module's lab, ready."""
    for host, config in configs.items():
        lab.start_agent(host, config.path, wait=False)
    for agent in lab.agents.values():
        agent.wait_ready()
    # Neighbours of the underlay are known before the first tunnelled packet: else several wait for ARP and leave at
    # once, and conntrack drops one of two simultaneous first packets of an ICMP or TCP connection (a clash).
    for host in lab.description.hosts[1:]:
        for address in host.addresses:
            lab.ns(lab.description.hosts[0].name).ping(address.split("/")[0])
    return lab.agents


class Counters:
    """What `sepalctl show --json` told of one hypervisor at one time."""

    def __init__(self, lab: Any, host: str, config: HostConfig) -> None:
        answer = lab.ctl(host, "show", "--json", "--config", str(config.path))
        assert answer.status == 0, answer.err
        self.rules = json.loads(answer.out)["rules"]

    def dropped(self, reason: str, tenant: str | None = None) -> int:
        """Packets that rules with this drop reason have counted."""
        return sum(rule["packets"] for rule in self.rules
                   if rule.get("drop") == reason and (tenant is None or rule.get("tenant") == tenant))

    def packets(self, group: int, tenant: str, device: str | None = None) -> int:
        return sum(rule["packets"] for rule in self.rules if rule["group"] == group and rule.get("tenant") == tenant
                   and (device is None or rule["device"] == device))


@pytest.fixture(scope="module")
def counters(lab, agents, configs):
    """counters("h1") → Counters."""
    return lambda host: Counters(lab, host, configs[host])


@pytest.fixture(scope="module")
def forge(lab):
    """forge("blue-web", destination, payload): one frame out of a guest's eth0, from its own addresses unless `payload`
    brings its own IP header."""

    def send(guest: str, destination: str, payload: Any) -> None:
        description = lab.description.guest(guest)
        version = ipaddress.ip_address(destination).version
        frame = payload
        if not payload.haslayer(IP) and not payload.haslayer(IPv6):
            own = next(a.split("/")[0] for a in description.addresses
                       if ipaddress.ip_interface(a).version == version)
            frame = (IP if version == 4 else IPv6)(src=own, dst=destination) / payload
        lab.ns(guest).send("eth0", Ether(src=description.mac, dst=GATEWAY_MAC) / frame)

    return send


class Change(HostConfig):
    """A host's configuration while a test has it: what it edits is put back at the end."""

    def __init__(self, config: HostConfig, agent: Any) -> None:
        self.path, self.vfs = config.path, config.vfs
        self._agent = agent

    def reload(self) -> None:
        self._agent.reload()


@pytest.fixture(scope="module")
def reconfigure(lab, agents, configs):
    """with reconfigure("h1") as h1: h1.edit(...); h1.reload()."""

    @contextmanager
    def change(host: str) -> Iterator[Change]:
        config = configs[host]
        saved = {path: path.read_text() for path in config.path.rglob("*.yaml")}
        try:
            yield Change(config, lab.agents[host])
        finally:
            for path in config.path.rglob("*.yaml"):
                if path not in saved:
                    path.unlink()
            for path, text in saved.items():
                path.write_text(text)
            if lab.agents[host].running:
                lab.agents[host].reload()

    return change
