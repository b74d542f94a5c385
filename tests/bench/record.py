"""bench.json → the table in docs/performance.md, between its two markers."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/performance.md"
BEGIN, END = "<!-- bench: rows -->", "<!-- bench: end -->"


def main(source: str) -> None:
    bench = json.loads(Path(source).read_text())
    lines = [BEGIN, f"{datetime.date.today():%Y-%m-%d} · `{bench['command']}` · {bench['machine']} · {bench['rounds']} rounds",
             "",
             "| what | measured | goal | | in detail |", "|---|---|---|---|---|"]
    for row in bench["rows"]:
        verdict = {True: "holds", False: "**missed**", None: ""}[row["holds"]]
        lines.append(f"| {row['name']} | {row['result']} | {row['goal']} | {verdict} | {row['detail']} |")
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(head + "\n".join([*lines, END]) + tail)


if __name__ == "__main__":
    main(sys.argv[1])
