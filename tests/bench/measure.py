"""Rounds, ratios and a quiet machine: what every row of the benchmarks has in common."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


COUNTED = "icount"  # a value of SEPAL_ACCEL (tests/vm/boot.sh)


def counts_instructions() -> bool:
    """Whether the clock counts instructions, one a nanosecond: what is measured is then work and not time."""
    return os.environ.get("SEPAL_ACCEL") == COUNTED


@dataclass
class Ratio:
    """One comparison over all rounds: per round a quotient, of all the median and the spread."""

    of: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.of)

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({min(self.of):.2f}..{max(self.of):.2f})"


@dataclass
class Row:
    """A line of docs/performance.md. `holds` None: informational, no goal of its own."""

    name: str
    result: str
    goal: str = ""
    holds: bool | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Samples:
    """Milliseconds (or whatever) by contender, one entry per round, in the same order for all."""

    by_name: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, name: str, sample: dict[str, Any]) -> None:
        self.by_name.setdefault(name, []).append(sample)

    def ratio(self, over: str, under: str, key: str = "ms") -> Ratio:
        return Ratio([a[key] / b[key] for a, b in zip(self.by_name[over], self.by_name[under], strict=True)])

    def median(self, name: str, key: str = "ms") -> float:
        return statistics.median(sample[key] for sample in self.by_name[name])


def interleave(rounds: int, contenders: dict[str, Callable[[], dict[str, Any]]], what: str,
               tell: Callable[[dict[str, Any]], str] = lambda sample: f"{sample['ms']:.0f} ms") -> Samples:
    """Every contender once per round, beginning with another one each time: what drifts, drifts for all."""
    samples = Samples()
    names = list(contenders)
    for number in range(rounds):
        turn = names[number % len(names):] + names[: number % len(names)]
        told = []
        for name in turn:
            settle()
            sample = contenders[name]()
            samples.add(name, sample)
            told.append(f"{name} {tell(sample)}")
        say(f"{what}, round {number + 1} of {rounds}: {', '.join(told)}")
    return samples


def settle(quiet: float = 0.3, timeout: float = 60) -> None:
    """Returns when the machine is idle: filters that went are freed by kernel workers long after their delete."""
    deadline = time.monotonic() + timeout
    calm = 0.0
    before = _busy()
    while calm < quiet and time.monotonic() < deadline:
        time.sleep(0.1)
        after = _busy()
        calm = calm + 0.1 if after - before <= 2 else 0.0  # ticks of 10 ms, all CPUs together
        before = after


def _busy() -> int:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4]  # all but idle and iowait


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)
