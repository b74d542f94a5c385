"""One hypervisor of the lab with made-up tenants, whose guests are all on it: the tenants' ports are letters, which are the
last part of their guests' names and count their addresses."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import Lab, Namespace
from tests.lab.description import from_mapping

from .bed import TMP

GATEWAY_MAC = "02:73:65:70:61:6c"
LOOKS_EVERY = 600  # seconds: no look of the daemon's falls into a run
HOST = """\
apiVersion: sepal/v1
kind: Host
nic: {representors: manual}
underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}
"""


@dataclass
class Tenant:
    """`more`: further fields of a port, as YAML's inner text; `groups`: the value of security_groups, as lines."""

    name: str
    ports: str
    more: dict[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)

    def yaml(self, number: int) -> str:
        lines = ["apiVersion: sepal/v1", "kind: Tenant", f"name: {self.name}", f"vni: {100 + number}",
                 "subnets: [10.0.0.0/24, 'fd00::/64']", "ports:"]
        for port in self.ports:
            more = f", {self.more[port]}" if port in self.more else ""
            lines.append(f"  - {{name: {self.name}-{port}, device: {self.name}-{port}, mac: '{mac(number, port)}', "
                         f"addresses: [{address(port)}, '{address6(port)}']{more}}}")
        if self.groups:
            lines += ["security_groups:", *self.groups]
        return "\n".join(lines) + "\n"


def address(port: str) -> str:
    return f"10.0.0.{_number(port)}"


def address6(port: str) -> str:
    return f"fd00::{_number(port):x}"


def mac(tenant: int, port: str) -> str:
    return f"02:00:00:00:{tenant:02x}:{_number(port):02x}"


def _number(port: str) -> int:
    return ord(port) - ord("a") + 1


class Hypervisor(Lab):
    """`with Hypervisor("name", [Tenant(...)]) as h: h.end("blue", "a")`: up, with its agent ready. A lab of one host, h1."""

    def __init__(self, name: str, tenants: list[Tenant]) -> None:
        self.tenants = {tenant.name: number for number, tenant in enumerate(tenants, 1)}
        self.config = TMP / name
        guests = {f"{tenant.name}-{port}": {"host": "h1", "mac": mac(self.tenants[tenant.name], port), "gateways": ["169.254.1.1"],
                                            "addresses": [f"{address(port)}/24", f"{address6(port)}/64"]}
                  for tenant in tenants for port in tenant.ports}
        super().__init__(from_mapping({"hosts": {"h1": {"mac": "02:00:00:00:f1:01", "addresses": ["192.0.2.1/24"]}}, "guests": guests}),
                         Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench")
        shutil.rmtree(self.config, ignore_errors=True)
        (self.config / "tenants.d").mkdir(parents=True)
        (self.config / "sepal.yaml").write_text(HOST)
        for tenant in tenants:
            (self.config / "tenants.d" / f"{tenant.name}.yaml").write_text(tenant.yaml(self.tenants[tenant.name]))

    def up(self) -> Hypervisor:
        super().up()
        self.start_agent("h1", self.config, "--look-interval", str(LOOKS_EVERY), timeout=300)
        return self

    def guest(self, tenant: str, port: str) -> Namespace:
        return self.ns(f"{tenant}-{port}")

    def end(self, tenant: str, port: str) -> str:
        """In the words of the generator; everything goes to the gateway."""
        own = mac(self.tenants[tenant], port)
        return ",".join([f"/run/netns/{self.guest(tenant, port).name}", own, GATEWAY_MAC, address(port), address6(port)])
