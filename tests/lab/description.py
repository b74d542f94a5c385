"""What a lab consists of, and how it is read from YAML. Nothing here touches the machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

STANDARD = Path(__file__).with_name("standard.yaml")


class DescriptionError(ValueError):
    """One line that says what is wrong in a description."""


@dataclass
class Host:
    """A hypervisor: a namespace with a device `uplink` into the fabric."""

    name: str
    mac: str
    addresses: list[str]  # of the underlay, on the uplink or on its VLAN


@dataclass
class Guest:
    """A namespace with `eth0`, whose other end stands in the host's namespace under the guest's name."""

    name: str
    host: str
    mac: str
    addresses: list[str]
    gateways: list[str] = field(default_factory=list)  # at most one per family; need not lie in a prefix of ours
    mtu: int = 1500


@dataclass
class WanVlan:
    """A VLAN on which `wan` is the gateway; `on_link`: prefixes it finds there by ARP and ND."""

    vlan: int
    mac: str
    addresses: list[str]
    on_link: list[str] = field(default_factory=list)


@dataclass
class Wan:
    """Everything beyond the hypervisors: the gateways of VLANs, and the internet as a few addresses."""

    mac: str
    addresses: list[str] = field(default_factory=list)  # in the underlay itself
    vlans: list[WanVlan] = field(default_factory=list)
    internet: list[str] = field(default_factory=list)


@dataclass
class Description:
    hosts: list[Host]
    guests: list[Guest]
    wan: Wan | None = None
    underlay_mtu: int = 1600  # room for VXLAN over IPv6 (70 bytes) around a guest's 1500
    underlay_vlan: int | None = None  # the hosts' underlay addresses stand on `uplink.N`
    guest_offloads: bool = False  # True leaves checksum offload and GSO of the guests on
    simulated_nic: str | None = None  # the host that has a simulated NIC: its guests are on VFs
    prefix: str = ""  # goes before the name of each namespace

    def host(self, name: str) -> Host:
        return _named(self.hosts, name, "host")

    def guest(self, name: str) -> Guest:
        return _named(self.guests, name, "guest")

    def guests_of(self, host: str) -> list[Guest]:
        return [guest for guest in self.guests if guest.host == host]

    def namespaces(self) -> list[str]:
        """All of them, without the prefix."""
        names = ["fabric"] + [host.name for host in self.hosts] + [guest.name for guest in self.guests]
        return names + (["wan"] if self.wan else [])


def load(path: Path | str = STANDARD, **changes: Any) -> Description:
    """Reads a description; `changes` replace its top-level fields (underlay_vlan=2, guest_offloads=True, ...)."""
    path = Path(path)
    try:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise DescriptionError(f"{path}: {error}") from error
    try:
        description = from_mapping({**document, **changes})
    except DescriptionError as error:
        raise DescriptionError(f"{path}: {error}") from None
    return description


def from_mapping(document: dict[str, Any]) -> Description:
    document = dict(document)
    hosts = [_make(Host, {"name": name, **_mapping(name, body)}) for name, body in document.pop("hosts", {}).items()]
    guests = [_make(Guest, {"name": name, **_mapping(name, body)}) for name, body in document.pop("guests", {}).items()]
    wan = document.pop("wan", None)
    if wan is not None:
        vlans = [_make(WanVlan, {"vlan": vlan, **_mapping(vlan, body)}) for vlan, body in wan.get("vlans", {}).items()]
        wan = _make(Wan, {**wan, "vlans": vlans})
    description = _make(Description, {**document, "hosts": hosts, "guests": guests, "wan": wan})
    _check(description)
    return description


def _mapping(name: Any, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise DescriptionError(f"{name}: expected fields, found {body!r}")
    return body


def _make(kind: type, body: dict[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(map(str, body)) - known)
    where = f"{kind.__name__.lower()} {body.get('name', '')}".strip()
    if unknown:
        raise DescriptionError(f"{where}: unknown field {unknown[0]}; there are {', '.join(sorted(known))}")
    try:
        return kind(**body)
    except TypeError as error:
        raise DescriptionError(f"{where}: {error}") from None


def _check(description: Description) -> None:
    names = description.namespaces()
    for name in names:
        if names.count(name) > 1:
            raise DescriptionError(f"two namespaces are called {name}")
        # A guest's name is also a device's name: at most 15 characters (IFNAMSIZ).
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,14}", name):
            raise DescriptionError(f"name {name!r}: use 1 to 15 of a-z, 0-9 and -")
    for guest in description.guests:
        description.host(guest.host)
    if description.simulated_nic is not None:
        description.host(description.simulated_nic)
    wan = [description.wan, *description.wan.vlans] if description.wan else []
    for mac in [item.mac for item in [*description.hosts, *description.guests, *wan]]:
        if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
            raise DescriptionError(f"{mac!r} is no MAC address in lower case; in YAML it needs quotes")
    for holder in [*description.hosts, *description.guests, *wan]:
        for address in holder.addresses:
            try:
                ipaddress.ip_interface(address)
            except ValueError as error:
                raise DescriptionError(str(error)) from None


def _named(items: list[Any], name: str, kind: str) -> Any:
    for item in items:
        if item.name == name:
            return item
    raise DescriptionError(f"no {kind} {name}; there are {', '.join(item.name for item in items)}")
