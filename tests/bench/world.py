"""Configurations of any size, made up: tenants whose ports route to many remote guests, as in a busy data centre.

What a tenant costs in rules grows with ports x (routes + ports): see tenant().
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

HOST = """\
apiVersion: sepal/v1
kind: Host
nic: {representors: manual}
underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}
"""


@dataclass(frozen=True)
class Shape:
    """One tenant: guests here, guests elsewhere, and how many of those have IPv6 as well."""

    ports: int = 8
    routes4: int = 200
    routes6: int = 25

    def device(self, tenant: int, port: int) -> str:
        return f"t{tenant}p{port}"


@dataclass(frozen=True)
class World:
    shape: Shape
    tenants: int

    def devices(self) -> list[str]:
        return [self.shape.device(t, p) for t in range(self.tenants) for p in range(self.shape.ports)]

    def write(self, directory: Path) -> Path:
        """The configuration as an operator would have it: the host, and one file per tenant."""
        if directory.exists():
            shutil.rmtree(directory)
        (directory / "tenants.d").mkdir(parents=True)
        (directory / "sepal.yaml").write_text(HOST)
        for number in range(self.tenants):
            (directory / "tenants.d" / f"t{number:03}.yaml").write_text(tenant(self.shape, number))
        return directory


SMALL = World(Shape(ports=3), 1)  # about 1,000 rules
LARGE = World(Shape(), 4)         # about 10,000


def tenant(shape: Shape, number: int, *, more_ports: list[str] | None = None, moved: str = "") -> str:
    """All tenants have the same addresses. Remote guests live on 200 hypervisors; `moved` puts the IPv4 ones behind
    others, so that every route's rule changes."""
    lines = ["apiVersion: sepal/v1", "kind: Tenant", f"name: t{number:03}", f"vni: {1000 + number}"]
    lines += ["subnets: [10.0.0.0/16, 'fd00::/64']", "ports:"]
    for port in range(shape.ports):
        mac = f"02:00:00:{number >> 8:02x}:{number & 255:02x}:{port:02x}"
        addresses = f"10.0.0.{port + 1}, 'fd00::{port + 1:x}'"
        lines.append(f"  - {{name: p{port}, device: {shape.device(number, port)}, mac: '{mac}', addresses: [{addresses}]}}")
    lines += [f"  - {port}" for port in more_ports or []]
    lines.append("routes:")
    for route in range(shape.routes4):
        via = f"192.0.{2 + (1 if moved else 0)}.{2 + (number * 31 + route) % 200}"
        lines.append(f"  - {{to: 10.0.{1 + route // 250}.{1 + route % 250}/32, via: {via}}}")
    for route in range(shape.routes6):
        lines.append(f"  - {{to: 'fd00::{1:x}:{route + 1:x}/128', via: 192.0.2.{2 + (number * 31 + route) % 200}}}")
    return "\n".join(lines) + "\n"
