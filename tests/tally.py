#!/usr/bin/python3
"""Sums what a run of ./dev test left: cases of gtest programs, of meson's other tests, and of pytest.

usage: tally.py RESULTS DEBUG_TREE SUITE...

RESULTS holds times (step and seconds), gtest/*.xml, vm.xml, vm-6.12.xml, vm-nic.xml. A guest that died left no such file:
then what its tests passed until then counts (vm.progress), and the rest ran in a second guest (vm.again.xml); the summary
names the death, the test it came in and the console's words. A guest that died without a second one, or twice, counts as a
failure. With CI set, a skip is a failure too. The last line is `N passed, N failed[, N skipped]`; the exit status is 0 only if nothing failed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MESON_RESULTS = {"OK": PASSED, "EXPECTEDFAIL": PASSED, "SKIP": SKIPPED}
SLOWEST = 10


@dataclass
class Case:
    suite: str
    name: str
    result: str
    seconds: float
    why: str = ""


def cases_of_xml(path: Path, suite: str) -> list[Case]:
    """A JUnit file: gtest's or pytest's."""
    cases = []
    for element in ElementTree.parse(path).iter("testcase"):
        name = ".".join(filter(None, [element.get("classname"), element.get("name")]))
        bad = next((child for tag in ("failure", "error") for child in element.iter(tag)), None)
        skipped = element.find("skipped")
        result, reason = PASSED, None
        if bad is not None:
            result, reason = FAILED, bad
        elif skipped is not None or element.get("status") == "notrun":
            result, reason = SKIPPED, skipped
        why = one_line(reason.get("message")) if reason is not None else ""
        cases.append(Case(suite, name, result, float(element.get("time") or 0), why))
    return cases


def meson_cases(log: Path, tree: Path, results: Path) -> list[Case]:
    """Meson counts programs; where a program is gtest's, its own file says which cases it ran."""
    cases = []
    for line in log.read_text().splitlines():
        test = json.loads(line)
        suites, _, name = test["name"].rpartition(" / ")
        suite = suites.rpartition(":")[2].split("+")[0] or "other"
        result = MESON_RESULTS.get(test["result"], FAILED)
        found = gtest_file(test, name, tree, results)
        inner = cases_of_xml(found, suite) if found else []
        cases += inner
        # A program can fail beyond its cases: a crash, a leak found at exit, a timeout.
        if not inner or (result == FAILED and all(case.result != FAILED for case in inner)):
            why = ""
            if result == FAILED:
                why = f"{test['result'].lower()}, exit status {test['returncode']}"
            elif result == SKIPPED:  # by exit status 77; the reason is what it printed last
                why = one_line((test.get("stdout") or "").strip().rpartition("\n")[2])
            cases.append(Case(suite, name, result, test["duration"], why))
    return cases


def gtest_file(test: dict, name: str, tree: Path, results: Path) -> Path | None:
    """Where gtest wrote: the tree's top under meson's gtest protocol, else the folder that GTEST_OUTPUT named."""
    program = Path(test["command"][0]).name
    for path in (tree / f"{name}.xml", results / "gtest" / f"{program}.xml"):
        # One of an earlier run says nothing about this one.
        if path.exists() and path.stat().st_mtime >= test["starttime"] - 1:
            try:
                ElementTree.parse(path)
            except ElementTree.ParseError:
                continue  # the program died while writing it
            return path
    return None


def one_line(message: str | None) -> str:
    return " ".join((message or "").split())[:160]


def expected(path: Path, suite: str) -> list[Case]:
    try:
        return cases_of_xml(path, suite)
    except (OSError, ElementTree.ParseError):
        return unfinished(path, suite)


def unfinished(path: Path, suite: str) -> list[Case]:
    """What a guest that died had done, what a second one did with the rest, and the test the last of them died in."""
    cases, died_in = progress_of(path, suite)
    print(f"\n{suite}: a guest died{' in ' + died_in if died_in else ''}: {last_words(path.with_suffix('.console'))}")
    again = path.with_suffix(".again.xml")
    try:
        # Only what passed is not run again.
        return [case for case in cases if case.result == PASSED] + cases_of_xml(again, suite)
    except (OSError, ElementTree.ParseError):
        later, died_again_in = progress_of(again, suite)
        where = f"{suite}: in {died_again_in or died_in}" if died_again_in or died_in else suite
        why = last_words(again.with_suffix(".console")) or last_words(path.with_suffix(".console"))
        return [*cases, *later, Case(suite, where, FAILED, 0, f"the guest died: {why or 'see its output above'}")]


def progress_of(path: Path, suite: str) -> tuple[list[Case], str]:
    """The results a guest told as they came, and the test that had begun and has none."""
    cases: dict[str, Case] = {}
    begun = ""
    try:
        lines = path.with_suffix(".progress").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off in the middle
        name = said["test"].removeprefix("tests/vm/").replace(".py::", ".").replace("/", ".")
        if "result" not in said:
            begun = name
        elif name not in cases or said["result"] != PASSED:
            cases[name] = Case(suite, name, said["result"], said["seconds"])
            begun = "" if name == begun else begun
    return list(cases.values()), begun


def last_words(console: Path) -> str:
    """What a kernel that died said of it: the line that begins its report and where it was."""
    try:
        lines = [re.sub(r"^\[ *[\d.]+\] ", "", line) for line in console.read_text(errors="replace").splitlines()]
    except OSError:
        return ""
    for i, line in enumerate(lines):
        if re.search(r"BUG:|Oops|Kernel panic|general protection|invalid opcode|Out of memory", line):
            place = next((other for other in lines[i:i + 30] if "RIP:" in other), "")
            return f"{line} {place}".strip()
    return lines[-1] if lines else ""


def main() -> int:
    results, tree, suites = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    cases: list[Case] = []
    for suite in suites:
        if suite.startswith("vm"):
            cases += expected(results / f"{suite}.xml", suite)
    log = tree / "meson-logs" / "testlog.json"
    host_suites = [suite for suite in suites if not suite.startswith("vm")]
    if host_suites and log.exists():
        cases += meson_cases(log, tree, results)
    for suite in host_suites:
        if not any(case.suite == suite for case in cases):
            print(f"suite {suite}: no tests")

    print("\nwhere the time went")
    for line in (results / "times").read_text().splitlines() if (results / "times").exists() else []:
        step, seconds = line.split("\t")
        print(f"  {float(seconds):8.1f} s  {step}")
    slowest = sorted(cases, key=lambda case: -case.seconds)[:SLOWEST]
    if slowest:
        print("slowest tests")
    for case in slowest:
        print(f"  {case.seconds:8.2f} s  {case.suite}: {case.name}")

    in_ci = os.environ.get("CI", "") not in ("", "0", "false")
    for result in (SKIPPED, FAILED):
        some = [case for case in cases if case.result == result]
        if some:
            print(f"{result}{' (a failure in CI)' if result == SKIPPED and in_ci else ''}")
        for case in some:
            print(f"  {case.suite}: {case.name}" + (f": {case.why}" if case.why else ""))

    count = {result: sum(case.result == result for case in cases) for result in (PASSED, FAILED, SKIPPED)}
    if in_ci:
        count[FAILED] += count[SKIPPED]
    print(f"{count[PASSED]} passed, {count[FAILED]} failed" + (f", {count[SKIPPED]} skipped" if count[SKIPPED] else ""))
    return 1 if count[FAILED] or not count[PASSED] else 0


if __name__ == "__main__":
    sys.exit(main())
