"""Fixtures of the packet suite. Every test runs as root on a kernel with flower (./dev test vm); a lab is made once
per module and shared by its tests.

A module that needs another lab than the standard one says so:

    LAB = {"underlay_vlan": 2}        # replaces top-level fields of tests/lab/standard.yaml
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.lab import Lab, load
from tests.vm.fixtures import agents, configs, counters, forge, reconfigure  # noqa: F401

OUT = Path(os.environ.get("SEPAL_OUT", "build/out"))


def pytest_configure(config: pytest.Config) -> None:
    # A terminated run unwinds as an interrupted one does, so that labs are torn down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if config.option.xmlpath:
        config.pluginmanager.register(Progress(Path(config.option.xmlpath).with_suffix(".progress")))


class Progress:
    """Results as they come, a line of JSON each, beside the file of results, which is written at the end only: when
    the guest dies they tell what it did until then, and in which test (tests/tally.py)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)

    def _write(self, **what: object) -> None:
        self._file.write(json.dumps(what) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._write(test=report.nodeid, result=report.outcome, seconds=report.duration)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The second boot after a guest that died runs what the first had not passed: SEPAL_RESUME is its progress."""
    if path := os.environ.get("SEPAL_RESUME"):
        passed = passed_tests(Path(path).read_text())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]


def passed_tests(progress: str) -> set[str]:
    results: dict[str, bool] = {}
    for line in progress.splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last one may be cut off
            said = json.loads(line)
            if "result" in said:
                results[said["test"]] = said["result"] == "passed" and results.get(said["test"], True)
    return {test for test, passed in results.items() if passed}


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest):
    """The module's lab, up, no daemon started."""
    description = load(**getattr(request.module, "LAB", {}))
    with Lab(description, OUT / "logs" / request.module.__name__) as lab:
        request.module._lab_of_module = lab
        yield lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failure brings the daemons' logs with it, and leaves the rules with their counters in a file."""
    report = (yield).get_result()
    lab = getattr(item.module, "_lab_of_module", None)
    if report.failed and lab is not None and lab.agents:
        for host, agent in lab.agents.items():
            lines = agent.log().splitlines()
            report.sections.append((f"sepald on {host}, end of {agent.log_path}", "\n".join(lines[-40:])))
        path = OUT / "failures" / (re.sub(r"[^\w.-]+", "-", item.nodeid) + ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lab.report())
        report.sections.append(("rules and counters", str(path)))
