"""Fixtures of the packet suite. Every test runs as root on a kernel with flower (./dev test vm); a lab is made once
per module and shared by its tests.

A module that needs another lab than the standard one says so:

    LAB = {"underlay_vlan": 2}        # replaces top-level fields of tests/lab/standard.yaml

A module of packet scenarios also runs with h1's guests on the simulated NIC (`-m eswitch`), under the same names and with
the same expectations; what cannot be had there says so with its reason:

    pytestmark = [both_ways, ...]     # the module; on_nic: on the NIC alone
    @software_only("why")             # a test of it
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
from tests.vm import kernel_log
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a module that runs both ways come twice, the second time marked eswitch."""
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    ways = []
    if "both_ways" in marks:
        ways.append(pytest.param(None, id="software"))
    if "on_nic" in marks or ("both_ways" in marks and "software_only" not in marks):
        ways.append(pytest.param("h1", id="nic", marks=pytest.mark.eswitch))
    if ways and "lab" in metafunc.fixturenames:
        metafunc.parametrize("lab", ways, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = []
    # Who does not ask for the simulated NIC gets each scenario once.
    if "eswitch" not in config.option.markexpr:
        left_out += [item for item in items if item.get_closest_marker("eswitch") and item.get_closest_marker("both_ways")]
    # The boot after a guest that died runs what was not passed before: SEPAL_RESUME holds the progress of the dead.
    if path := os.environ.get("SEPAL_RESUME"):
        passed = passed_tests(Path(path).read_text())
        left_out += [item for item in items if item.nodeid in passed]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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
    host = getattr(request, "param", None)
    if host and not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    description = load(simulated_nic=host, **getattr(request.module, "LAB", {}))
    with Lab(description, OUT / "logs" / request.module.__name__) as lab:
        request.module._lab_of_module = lab
        yield lab
    if host:
        assert kernel_log.complaints() == []


@pytest.fixture(scope="session", autouse=True)
def nothing_leaks():
    """Of the simulated NIC, where the kernel looks for it; the last module to use it has unloaded it by then."""
    yield
    assert kernel_log.leaks() == ""


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
