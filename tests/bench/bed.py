"""A network namespace with the devices of a made-up world, and the measuring program in it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.lab.namespace import Namespace

REPOSITORY = Path(__file__).parents[2]
TMP = Path("/tmp/sepal-bench")


def program(name: str) -> str:
    directory = Path(os.environ.get("SEPAL_BUILD", REPOSITORY / "build"), "release/tests/bench")
    return str(Path(os.environ.get("SEPAL_BENCH_BIN", directory)) / name)


class Bed:
    """with Bed(devices) as bed: bed.measure("sepal", directory)"""

    count = 0

    def __init__(self, devices: list[str]) -> None:
        Bed.count += 1
        self.name = f"bench-{os.getpid()}-{Bed.count}"
        self.devices = devices

    def __enter__(self) -> Bed:
        Namespace.remove(self.name)
        self.namespace = Namespace.create(self.name)
        commands = ["link set lo up", "link add uplink address 02:00:00:00:f1:01 type dummy",
                    "link set uplink mtu 1600 up", "address add 192.0.2.1/24 dev uplink",
                    "route add 192.0.3.0/24 via 192.0.2.254 dev uplink"]  # hypervisors that routes move to
        commands += self.commands_for(self.devices)
        self.ip(commands)
        return self

    @staticmethod
    def commands_for(devices: list[str]) -> list[str]:
        return [command for device in devices for command in (f"link add {device} type dummy", f"link set {device} up")]

    def __exit__(self, *_: Any) -> None:
        self.namespace.close()
        Namespace.remove(self.name)

    def ip(self, commands: list[str]) -> None:
        self.run(["ip", "-batch", "-"], input="\n".join(commands))

    def run(self, command: list[str], **options: Any) -> str:
        return self.namespace.run(command, timeout=600, **options)

    def measure(self, *words: str | Path) -> dict[str, Any]:
        """One step of sepal-bench; what it measured."""
        return json.loads(self.run([program("sepal-bench"), *map(str, words)]))

    def tc_batch(self, file: Path) -> dict[str, Any]:
        begin = time.monotonic()
        with self.namespace.enter():
            done = subprocess.run(["tc", "-batch", str(file)], capture_output=True, text=True)
        ms = (time.monotonic() - begin) * 1000
        if done.returncode != 0:
            raise RuntimeError(f"tc -batch {file}: {done.stderr.strip()[:500]}")
        return {"ms": ms}
