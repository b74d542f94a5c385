"""The ratios of docs/performance.md: `./dev bench`, inside the bed.

    python3 -m tests.bench [--rounds N] [--only fill,restart,port,explain,loss,memory,nexthop,revocation,first,flood] [--quick]
    python3 -m tests.bench --nic [--rounds N] [--quick]

Prints a table and leaves it as $SEPAL_OUT/bench.json, from which tests/bench/record.py writes the document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from .bed import TMP
from .measure import COUNTED, Row, counts_instructions, say
from .world import LARGE, SMALL, Shape, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description="measures the rows of docs/performance.md")
    parser.add_argument("--rounds", type=int, default=5, help="of every comparison (5)")
    parser.add_argument("--only", default="fill,restart,port,explain,loss,memory,nexthop,revocation,first,flood", help="rows to measure, comma between")
    parser.add_argument("--quick", action="store_true", help="few rules: to try the benchmark itself")
    parser.add_argument("--threads", default="1,2", help="numbers of writers (1,2)")
    parser.add_argument("--nic", action="store_true", help="the rows of the simulated NIC, on the kernel it needs (./dev boots it)")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/performance.md (./dev does it)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("makes network namespaces: run as root, through ./dev bench")
    TMP.mkdir(parents=True, exist_ok=True)
    small, large = SMALL, LARGE
    if options.quick:
        small, large = World(Shape(ports=2, routes4=40, routes6=4), 1), World(Shape(ports=3), 2)
    wanted = ["nic"] if options.nic else options.only.split(",")
    rows: list[Row] = []
    for name in wanted:
        rows += measure(name, small, large, options)
        _print(rows)
    out = Path(os.environ.get("SEPAL_OUT", "/tmp"))
    clock = f"SEPAL_ACCEL={COUNTED} " if counts_instructions() else ""
    document = {"command": f"{clock}./dev bench " + " ".join(sys.argv[1:]), "machine": _machine(), "rounds": options.rounds, "rows": [row.as_dict() for row in rows]}
    (out / "bench.json").write_text(json.dumps(document, indent=1, ensure_ascii=False))
    return 0 if all(row.holds is not False for row in rows) else 1


def measure(name: str, small: World, large: World, options: argparse.Namespace) -> list[Row]:
    say(f"measuring: {name}")
    if name == "fill":
        from .row_fill import rows_fill
        return rows_fill(large, options.rounds, [int(word) for word in options.threads.split(",")])
    if name == "restart":
        from .row_fill import rows_restart
        return rows_restart(large, options.rounds)
    if name == "port":
        from .row_port import rows_port
        return rows_port([small, large], options.rounds)
    if name == "explain":
        from .row_explain import rows_explain
        return rows_explain(large, options.rounds)
    if name == "loss":
        from .row_loss import rows_loss
        return rows_loss(options.rounds)
    if name == "memory":
        from .row_memory import rows_memory
        nothing = World(Shape(ports=0, routes4=0, routes6=0), 0)
        return rows_memory([nothing, small, large], min(3, options.rounds))
    if name == "nic":
        from .row_nic import rows_nic
        return rows_nic(options.rounds, options.quick)
    if name == "revocation":
        from .row_revocation import rows_revocation
        return rows_revocation(options.rounds, 500 if options.quick else 10_000)
    if name == "first":
        from .row_first import rows_first
        return rows_first(options.rounds, options.quick)
    if name == "flood":
        from .row_flood import rows_flood
        return rows_flood(options.rounds, options.quick)
    if name == "nexthop":
        from .row_nexthop import rows_nexthop
        return rows_nexthop(options.rounds, 100 if options.quick else 1000)
    sys.exit(f"bench: no rows called {name}")


def _machine() -> str:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    bed = "in QEMU" if os.environ.get("SEPAL_BED") == "vm" else "on the machine itself"
    counted = ", its clock counts instructions" if counts_instructions() else ""
    return f"Linux {platform.release()}, {os.cpu_count()} CPUs ({cpu}), {bed}{counted}"


def _print(rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print()
    for row in rows:
        mark = {True: "holds", False: "MISSED", None: ""}[row.holds]
        print(f"  {row.name:{width}}  {row.result:>22}  {row.goal:>12}  {mark}")
        if row.detail:
            print(f"  {'':{width}}  {row.detail}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
