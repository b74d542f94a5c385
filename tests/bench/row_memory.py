"""Anonymous memory of sepald at rest, with nothing and with many rules."""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path

from tests.lab.agent import Agent

from .bed import TMP, Bed
from .measure import Row, say
from .world import World


def rows_memory(worlds: list[World], rounds: int) -> list[Row]:
    sizes: dict[int, list[int]] = {}
    for number in range(rounds):
        for world in worlds:
            rules, rss = _at_rest(world)
            sizes.setdefault(rules, []).append(rss)
            say(f"memory, round {number + 1} of {rounds}: {rules} rules: {rss // 1024} KiB")
    smallest, largest = min(sizes), max(sizes)
    rest = statistics.median(sizes[smallest])
    slope = (statistics.median(sizes[largest]) - rest) / (largest - smallest)
    told = "; ".join(f"{rules} rules: {statistics.median(seen) / 1024:.0f} KiB" for rules, seen in sorted(sizes.items()))
    return [
        Row("anonymous memory of sepald at rest", f"{rest / 1e6:.2f} MB", "≤ 10 MB", rest <= 10e6, told),
        Row("… per rule", f"{slope:.0f} bytes", "≤ 300 bytes", slope <= 300, f"from {smallest} to {largest} rules"),
    ]


def _at_rest(world: World) -> tuple[int, int]:
    """Rules, and RssAnon in bytes after start and two more looks."""
    directory = world.write(TMP / f"memory-{world.tenants}")
    with Bed(world.devices()) as bed:
        log = Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench" / "memory.log"
        log.unlink(missing_ok=True)
        agent = Agent(bed.namespace, "bench", directory, log, "--look-interval", "1")
        try:
            agent.wait_ready(300)
            time.sleep(4)
            status = Path(f"/proc/{agent.pid}/status").read_text()
            rules = re.search(r"(\d+) rules", "\n".join(agent.states))
        finally:
            agent.stop()
        return int(rules[1]) if rules else 0, int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024
