"""Configurations of the lab's hypervisors: the shipped examples, changed in a copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "config/examples/lab"


class HostConfig:
    """A directory with one host's configuration that a test may edit."""

    def __init__(self, directory: Path, host: str) -> None:
        self.path = directory / host
        if self.path.exists():
            shutil.rmtree(self.path)
        shutil.copytree(EXAMPLES / host, self.path)

    def read(self, name: str) -> dict[str, Any]:
        """The document of a tenant, or of the host ("host")."""
        return yaml.safe_load(self._file(name).read_text())

    def write(self, name: str, document: dict[str, Any]) -> None:
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
        shutil.copy(EXAMPLES / self.path.name / self._file(name).relative_to(self.path), self._file(name))

    def _file(self, name: str) -> Path:
        return self.path / "sepal.yaml" if name == "host" else self.path / "tenants.d" / f"{name}.yaml"
