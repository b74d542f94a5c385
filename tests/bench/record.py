"""bench.json → its table in docs/performance.md, between two markers: a pair for the rows of `./dev bench`, one for those of
`./dev bench --nic`, one for first packets and floods where only these were asked for, and one for what was measured in
instructions."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

from .measure import COUNTED

DOCUMENT = Path(__file__).parents[2] / "docs/performance.md"
FIRST = {"first", "flood"}


def markers(command: list[str]) -> tuple[str, str]:
    only = set(command[command.index("--only") + 1].split(",")) if "--only" in command else set()
    if command[0] == f"SEPAL_ACCEL={COUNTED}":
        table = "bench instructions"
    else:
        table = "bench nic" if "--nic" in command else "bench first" if only and only <= FIRST else "bench"
    return f"<!-- {table}: rows -->", f"<!-- {table}: end -->"


def main(source: str) -> None:
    bench = json.loads(Path(source).read_text())
    begin, end = markers(bench["command"].split())
    lines = [begin, f"{datetime.date.today():%Y-%m-%d} · `{bench['command']}` · {bench['machine']} · {bench['rounds']} rounds",
             "",
             "| what | measured | goal | | in detail |", "|---|---|---|---|---|"]
    for row in bench["rows"]:
        verdict = {True: "holds", False: "**missed**", None: ""}[row["holds"]]
        lines.append(f"| {row['name']} | {row['result']} | {row['goal']} | {verdict} | {row['detail']} |")
    head, _, rest = DOCUMENT.read_text().partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        sys.exit(f"{DOCUMENT} has no lines {begin} and {end}")
    DOCUMENT.write_text(head + "\n".join([*lines, end]) + tail)


if __name__ == "__main__":
    main(sys.argv[1])
