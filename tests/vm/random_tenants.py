"""Random valid configurations of one hypervisor: same seed, same tenants."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml


def write(directory: Path, seed: int, devices: list[str], tenants: int | None = None) -> None:
    """A host and some tenants whose ports share `devices` out; some ports name devices that are not there."""
    rng = random.Random(seed)
    (directory / "tenants.d").mkdir(parents=True, exist_ok=True)
    for old in directory.rglob("*.yaml"):
        old.unlink()
    six = rng.random() < 0.3
    vteps = [f"2001:db8:2::{n}" if six else f"192.0.2.{n}" for n in range(2, 9)]
    host: dict[str, Any] = {
        "apiVersion": "sepal/v1", "kind": "Host", "nic": {"representors": "manual"},
        "underlay": {"device": "uplink", "address": "2001:db8:2::1" if six else "192.0.2.1", "mtu": 1600},
        "public": {"gateway": ["198.51.100.1", "2001:db8:30::1"], "gateway_mac": "02:00:00:00:30:01"},
    }
    if rng.random() < 0.7:
        host["public"]["vlan"] = 30
    _dump(directory / "sepal.yaml", host)
    pool = devices + [f"absent{n}" for n in range(3)]
    rng.shuffle(pool)
    count = tenants or rng.randint(1, 4)
    for number in range(count):
        mine = pool[number::count]
        _dump(directory / "tenants.d" / f"t{number}.yaml", _tenant(rng, number, mine, vteps))


def _tenant(rng: random.Random, number: int, devices: list[str], vteps: list[str]) -> dict[str, Any]:
    ports, routes = [], []
    for index, device in enumerate(devices):
        port: dict[str, Any] = {"name": f"p{index}", "device": device, "mac": f"02:00:00:01:{number:02x}:{index + 1:02x}",
                                "addresses": [f"10.0.0.{index + 1}"]}
        if rng.random() < 0.6:
            port["addresses"].append(f"fd00:100::{index + 1:x}")
        if rng.random() < 0.3:
            port["prefixes"] = [f"172.16.{index}.0/24"]
        ports.append(port)
    for index in range(rng.randint(0, 8)):
        routes.append({"to": f"10.0.0.{100 + index}/32", "via": rng.choice(vteps)})
    for index in range(rng.randint(0, 3)):
        routes.append({"to": f"fd00:200:{index}::/48", "via": rng.choice([*vteps, "blackhole"])})
    if rng.random() < 0.4:
        routes.append({"to": "10.64.0.0/10", "via": "blackhole"})
    document: dict[str, Any] = {
        "apiVersion": "sepal/v1", "kind": "Tenant", "name": f"t{number}", "vni": 1000 + number,
        "subnets": [{"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}, "fd00:100::/64"], "ports": ports, "routes": routes}
    if rng.random() < 0.5:
        document["vlans"] = [{"id": 100 + number, "gateway_mac": "02:00:00:00:40:01"}]
        routes.append({"to": "10.200.0.0/16", "via": {"vlan": 100 + number}})
    if rng.random() < 0.6:
        routes.append({"to": "0.0.0.0/0", "via": "public"})
        first = 1024 + 3000 * number + rng.randint(0, 500)
        document["nat"] = [{"from": "10.0.0.0/24", "address": "203.0.113.10", "ports": f"{first}-{first + rng.randint(0, 2000)}"}]
        if rng.random() < 0.3:
            document["nat"][0] = {"from": "10.0.0.0/24", "address": f"203.0.113.{20 + number}"}
    return document


def _dump(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
