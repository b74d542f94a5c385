"""A gateway under the tunnel changes: from the route's change until every rule that encapsulates to it is another
generation, and what that costs against writing the same rules for the first time. In software; on the simulated NIC
tests/vm/test_next_hops.py prints the time until the NIC sends to the new next hop."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.lab.agent import Agent

from .bed import TMP, Bed
from .measure import Row, say, settle
from .world import HOST

ROUTES = 1000
SETTLE_MS = 100  # how long the daemon waits for a burst of events to end (kLinksSettle)


def rows_nexthop(rounds: int, routes: int = ROUTES) -> list[Row]:
    directory = _write(TMP / "nexthop", routes)
    with Bed(["p0"]) as bed:
        log = TMP / "nexthop.log"
        log.unlink(missing_ok=True)
        begin = time.monotonic()
        agent = Agent(bed.namespace, "bench-nexthop", directory, log, "--run-dir", str(TMP / "run-nexthop"))
        try:
            agent.wait_ready(600)
            first_ms = (time.monotonic() - begin) * 1000
            samples, exact = [], True
            for number in range(rounds):
                settle()
                passes = _passes(log)
                begin = time.monotonic()
                bed.ip([f"route replace 192.0.2.2/32 via 192.0.2.{253 + number % 2} dev uplink"])
                while len(_passes(log)) == len(passes):
                    time.sleep(0.002)
                    if time.monotonic() - begin > 120:
                        raise RuntimeError(f"no pass after a change of next hop:\n{log.read_text()[-2000:]}")
                samples.append((time.monotonic() - begin) * 1000)
                exact = exact and _passes(log)[-1] == (0, routes, 0)
                say(f"next hop, round {number + 1} of {rounds}: {samples[-1]:.0f} ms")
        finally:
            agent.stop()
            bed.run([str(Path(agent.process.args[0]).with_name("sepalctl")), "remove", "--instance", "bench-nexthop",
                     "--run-dir", str(TMP / "run-nexthop")])
    samples.sort()
    median = samples[len(samples) // 2]
    return [
        Row(f"a new next hop under {routes} routes: rules replaced", str(routes if exact else "other"), "those, in place", exact),
        Row("… from the route's change until all are right", f"{median:.0f} ms", "", None,
            f"{min(samples):.0f}..{max(samples):.0f}; {SETTLE_MS} ms of it wait for the burst of events to end; "
            f"reading the configuration and writing all rules for the first time: {first_ms:.0f} ms"),
        Row("… against writing them for the first time", f"{median / first_ms:.2f}×", "≤ 1×", median <= first_ms),
    ]


def _passes(log: Path) -> list[tuple[int, int, int]]:
    return [(int(a), int(b), int(c)) for a, b, c in
            re.findall(r"pass: (\d+) added, (\d+) replaced, (\d+) removed", log.read_text())]


def _write(directory: Path, routes: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    lines = [HOST.rstrip(), "---", "apiVersion: sepal/v1", "kind: Tenant", "name: t", "vni: 1000", "subnets: [10.0.0.0/16]",
             "ports:", "  - {name: p, device: p0, mac: '02:00:00:00:00:01', addresses: [10.0.0.1]}", "routes:"]
    lines += [f"  - {{to: 10.0.{1 + n // 250}.{1 + n % 250}/32, via: 192.0.2.2}}" for n in range(routes)]
    (directory / "sepal.yaml").write_text("\n".join(lines) + "\n")
    return directory
