#!/usr/bin/python3
"""Sums what a run of ./dev test left: cases of gtest programs, of meson's other tests, and of pytest.

usage: tally.py RESULTS DEBUG_TREE SUITE...

       tally.py --died-twice RESULTS SUITE    exit status 0 when two guests of the suite died in the same test

RESULTS holds times (step and seconds), gtest/*.xml, vm.xml, vm-6.12.xml, vm-nic.xml. A guest that died left vm.1.progress
and vm.1.console, the second vm.2.progress, and so on: what its tests passed until then counts, the rest ran in the next
one, and the summary names the death, the test it came in and the console's words. When the last one died too, that is a
failure. With CI set, a skip is a failure too. The last line is `N passed, N failed[, N skipped]`; the exit status is 0 only
if nothing failed.
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


def guest_cases(results: Path, suite: str) -> list[Case]:
    """Of the guest that ended by itself, and of those before it that died: only what passed there was not run again."""
    cases: list[Case] = []
    graves = dead_guests(results, suite)
    for progress, died_in in graves:
        where = f" in {died_in}" if died_in else ""
        print(f"\n{suite}: a guest died{where}: {last_words(progress.with_suffix('.console'))}")
        cases += [case for case in cases_of_progress(progress, suite)[0] if case.result == PASSED]
    try:
        return cases + cases_of_xml(results / f"{suite}.xml", suite)
    except (OSError, ElementTree.ParseError):
        if not graves:
            return [*cases, Case(suite, suite, FAILED, 0, "no results: see its output above")]
        progress, died_in = graves[-1]
        why = last_words(progress.with_suffix(".console")) or "see its output above"
        failed = [case for case in cases_of_progress(progress, suite)[0] if case.result != PASSED]
        return [*cases, *failed, Case(suite, died_in or suite, FAILED, 0, f"the guest died: {why}")]


def dead_guests(results: Path, suite: str) -> list[tuple[Path, str]]:
    """In the order of their deaths: what each told, and the test it died in."""
    paths = sorted(results.glob(f"{suite}.[0-9].progress"))
    return [(path, cases_of_progress(path, suite)[1]) for path in paths]


def died_twice(results: Path, suite: str) -> bool:
    """Whether two guests died in the same test."""
    places = [place for _, place in dead_guests(results, suite) if place]
    return len(set(places)) < len(places)


def cases_of_progress(path: Path, suite: str) -> tuple[list[Case], str]:
    """The results a guest told as they came, and the test that had begun and has none."""
    cases: dict[str, Case] = {}
    begun = ""
    try:
        lines = path.read_text().splitlines()
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
    if sys.argv[1] == "--died-twice":
        return 0 if died_twice(Path(sys.argv[2]), sys.argv[3]) else 1
    results, tree, suites = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    cases: list[Case] = []
    for suite in suites:
        if suite.startswith("vm"):
            cases += guest_cases(results, suite)
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
