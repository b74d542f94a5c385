"""A question about one packet, asked by a process of its own in a large world."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from tests.lab.agent import program

from .bed import TMP, Bed
from .measure import Row, interleave
from .world import World

PLACES = ["--instance", "bench", "--run-dir", "/run/sepal-bench"]  # sepal-bench's own


def rows_explain(world: World, rounds: int) -> list[Row]:
    directory = world.write(TMP / "explain")
    with Bed(world.devices()) as bed:
        bed.measure("prepare", directory)
        filled = bed.measure("sepal", directory)
        # The last tenant's first port to a guest elsewhere: groups 0, 2, 3, both times.
        last = world.tenants - 1
        question = ["explain", f"t{last:03}/p0", "tcp", "10.0.0.1", "10.0.1.5:443", "--config", str(directory)]
        said = bed.run([program("sepalctl"), *question, *PLACES])
        for part in ("first packet", "established", "g0", "g2 vni", "g3 vni", "sent on"):
            if part not in said:
                raise RuntimeError(f"explain does not answer: no {part!r} in\n{said}")
        samples = interleave(rounds, {"nothing": lambda: _timed(bed, ["--version"]),
                                      "explain": lambda: _timed(bed, [*question, *PLACES])}, "explain")
    ms, cpu = samples.median("explain"), samples.median("explain", "cpu_ms")
    start = samples.median("nothing")
    emulated = os.environ.get("SEPAL_BED") == "vm"
    return [
        Row(f"explain among {filled['rules']} rules", f"{ms:.0f} ms", "≤ 50 ms", None if emulated else ms <= 50,
            f"CPU {cpu:.0f} ms; a process that does nothing (`--version`): {start:.0f} ms"
            + ("; emulated: see “What is behind the figures”" if emulated else "")),
    ]


def _timed(bed: Bed, words: list[str]) -> dict[str, Any]:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    bed.run([program("sepalctl"), *words])
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"ms": (end - begin) * 1000, "cpu_ms": cpu * 1000}
