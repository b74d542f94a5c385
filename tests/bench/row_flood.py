"""A flood from one port, at 100 times what the port may: what is left of another tenant's new connections, and whether it costs
an established stream anything.

The flood needs a CPU to be sent from, and on veth what becomes of a frame is that CPU's work, too; the victim's connections
have the other. So that only the treatment differs, the rate is compared with that under the same flood of the same generator
into a device whose only rule drops everything (`dropped`). The rate without any flood is told beside it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.vm.traffic import Stream

from .bed import program
from .contenders import Contender, Switches, deafen
from .hypervisor import Hypervisor, Tenant, address
from .measure import Row, Samples, interleave

LIMIT = 20  # per second: of new connections, and of ARP and ND each
TIMES = 100
TURNS = 3  # of a round: what another CPU's work costs a victim is little beside what the machine itself does to it
KINDS = {"syn": "SYN", "udp": "UDP", "arp": "ARP", "nd": "ND"}
ALONE = "no flood"
STREAM_PORT, STREAM_RATE = 7700, 200
FLOOD_CPU, VICTIM_CPU = 0, (os.cpu_count() or 1) - 1

TENANTS = [
    Tenant("noisy", "ab", {"a": f"limits: {{new_connections_per_second: {LIMIT}, arp_nd_per_second: {LIMIT}}}"}),
    Tenant("quiet", "abcd"),  # new connections from a to b, the stream from c to d
]


def rows_flood(rounds: int, quick: bool) -> list[Row]:
    with Switches() as switches, Hypervisor("flood", TENANTS) as lab:
        for tenant in ("noisy", "quiet"):
            for port in "ab":
                deafen(lab.guest(tenant, port))
        quiet = Contender(lab.ns("h1"), lab.end("quiet", "a"), lab.end("quiet", "b"))
        void = switches.void()
        limited = _Flood(lab.end("noisy", "a"), lab.end("noisy", "b"))
        dropped = _Flood(void.client, void.server)
        bed = _Bed(lab, quiet, seconds=0.5 if quick else 2)
        contenders = {ALONE: lambda: bed.run("", None)}
        for kind in KINDS:
            contenders[f"{kind} dropped"] = lambda kind=kind: bed.run(kind, dropped)
            contenders[f"{kind} limited"] = lambda kind=kind: bed.run(kind, limited)
        samples = interleave(TURNS * rounds, contenders, "flood", lambda sample: f"{sample['per_second']:.0f}/s")
    return [_row(samples, kind) for kind in KINDS] + [_lost(samples)]


class _Flood:
    """From the client's guest, to the server's; nobody hears what arrives."""

    def __init__(self, client: str, server: str) -> None:
        self._ends = [client, server]
        self.told: dict[str, Any] = {}

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        command = [program("sepal-generator"), "flood", kind, *self._ends, "seconds=0", f"rate={LIMIT * TIMES}", f"cpu={FLOOD_CPU}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            process.terminate()
            self.told = json.loads(process.communicate()[0])


class _Bed:
    def __init__(self, lab: Hypervisor, quiet: Contender, seconds: float) -> None:
        self._lab, self._quiet, self._seconds = lab, quiet, seconds

    def run(self, kind: str, flood: _Flood | None) -> dict[str, Any]:
        limited = self._rate_limited()
        with Stream(self._lab.guest("quiet", "c"), self._lab.guest("quiet", "d"), address("d"), STREAM_PORT, STREAM_RATE) as stream:
            if flood is None:
                told = self._connections()
            else:
                with flood.of(kind):
                    told = self._connections()
        told.update(stream_lost=stream.lost, stream_sent=stream.sent, limited=self._rate_limited() - limited)
        if flood is not None:
            told["flood"] = flood.told
        self._quiet.forget()
        return told

    def _connections(self) -> dict[str, Any]:
        return self._quiet.generate("connections", seconds=self._seconds, cpu=VICTIM_CPU)

    def _rate_limited(self) -> int:
        answer = self._lab.ctl("h1", "drops", "--json", "--config", str(self._lab.config))
        return sum(drop["packets"] for drop in json.loads(answer.out)["drops"]
                   if drop["where"] == "port noisy-a" and drop["reason"] == "rate-limited")


def _row(samples: Samples, kind: str) -> Row:
    limited, dropped = f"{kind} limited", f"{kind} dropped"
    for sample in samples.by_name[limited]:
        flood = sample["flood"]
        if sample["limited"] < 0.9 * flood["sent"] - LIMIT * (flood["seconds"] + 1):
            raise RuntimeError(f"the flood of {KINDS[kind]} was not limited: {sample}")
    ratio = samples.ratio(limited, dropped, "per_second")
    costs = {name: statistics.median(sample["flood"]["us_per_frame"] for sample in samples.by_name[name]) for name in (limited, dropped)}
    rate = statistics.median(sample["flood"]["per_second"] for sample in samples.by_name[limited])
    return Row(f"another tenant's new connections per second under a flood of {KINDS[kind]} at {TIMES} times the port's limit, against "
               "the same flood into a rule that drops it", str(ratio), "≥ 0.9×", ratio.median >= 0.9,
               f"{samples.median(limited, 'per_second'):.0f} against {samples.median(dropped, 'per_second'):.0f}/s; against no flood at all "
               f"{samples.ratio(limited, ALONE, 'per_second')}, and dropped {samples.ratio(dropped, ALONE, 'per_second')}; the flood: "
               f"{rate:.0f} frames/s, each {costs[limited]:.0f} µs of its own CPU, dropped {costs[dropped]:.0f} µs")


def _lost(samples: Samples) -> Row:
    """Of the runs in which sepal had the flood."""
    runs = [sample for kind in KINDS for sample in samples.by_name[f"{kind} limited"]]
    lost = sum(sample["stream_lost"] for sample in runs)
    alone = sum(sample["stream_lost"] for sample in samples.by_name[ALONE])
    return Row("… packets of its established stream that are lost", str(lost), "0", lost == 0,
               f"of {sum(sample['stream_sent'] for sample in runs)}, at {STREAM_RATE}/s; without a flood {alone}")
