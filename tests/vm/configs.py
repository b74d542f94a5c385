"""Configurations of the lab's hypervisors: the shipped examples, changed in a copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.lab import Lab
from tests.lab.nic import MAX_VFS, PCI

EXAMPLES = Path(__file__).resolve().parents[2] / "config/examples/lab"


def vfs_of(lab: Lab, host: str) -> dict[str, int]:
    """Guest → the number of its VF; empty where guests are on veth."""
    if lab.description.simulated_nic != host:
        return {}
    return {guest.name: vf for vf, guest in enumerate(lab.description.guests_of(host))}


class HostConfig:
    """A directory with one host's configuration that a test may edit.

    On a host with the simulated NIC, ports name their VF instead of a device: `write` sees to that, so that tests may
    write of ports as the examples do."""

    def __init__(self, directory: Path, host: str, lab: Lab | None = None) -> None:
        self.path = directory / host
        self.vfs = vfs_of(lab, host) if lab else {}
        if self.path.exists():
            shutil.rmtree(self.path)
        shutil.copytree(EXAMPLES / host, self.path)
        if self.vfs:
            self.edit("host", nic={"pci": PCI, "vfs": MAX_VFS})
            for path in sorted(self.path.glob("tenants.d/*.yaml")):
                self.write(path.stem, self.read(path.stem))

    def read(self, name: str) -> dict[str, Any]:
        """The document of a tenant, or of the host ("host")."""
        return yaml.safe_load(self._file(name).read_text())

    def write(self, name: str, document: dict[str, Any]) -> None:
        if self.vfs and "ports" in document:
            document = {**document, "ports": [self._on_vf(port) for port in document["ports"]]}
        self._file(name).write_text(yaml.safe_dump(document, sort_keys=False))

    def edit(self, name: str, **changes: Any) -> None:
        """Replaces top-level fields of a document; None removes one."""
        document = {**self.read(name), **changes}
        self.write(name, {key: value for key, value in document.items() if value is not None})

    def add(self, name: str, field: str, *items: Any) -> None:
        """Appends to a list of a document."""
        document = self.read(name)
        document.setdefault(field, []).extend(items)
        self.write(name, document)

    def remove(self, name: str) -> None:
        self._file(name).unlink()

    def restore(self, name: str) -> None:
        original = EXAMPLES / self.path.name / self._file(name).relative_to(self.path)
        self.write(name, yaml.safe_load(original.read_text()))

    def _on_vf(self, port: dict[str, Any]) -> dict[str, Any]:
        if port.get("device") not in self.vfs:
            return port
        return {("vf" if key == "device" else key): (self.vfs[value] if key == "device" else value)
                for key, value in port.items()}

    def _file(self, name: str) -> Path:
        return self.path / "sepal.yaml" if name == "host" else self.path / "tenants.d" / f"{name}.yaml"
