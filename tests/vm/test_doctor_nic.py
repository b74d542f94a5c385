"""`sepalctl doctor --probe` on the simulated NIC: every shape of our rules is asked, with sepald at work; a capability
that is taken away is named."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from tests.lab.agent import program
from tests.vm.eswitch.card import run
from tests.vm.test_hardware import rig  # noqa: F401

pytestmark = pytest.mark.eswitch


def doctor(rig, *options: str) -> tuple[int, list[dict]]:
    done = run(program("sepalctl"), "doctor", str(rig.config), "--json", *options, *rig.places[:2], check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def of(findings: list[dict], check: str) -> list[dict]:
    return [f for f in findings if f["check"] == check]


@contextmanager
def without(rig, capability: str):
    knob = rig.nic.debugfs / "caps" / capability
    knob.write_text("N\n")
    try:
        yield
    finally:
        knob.write_text("Y\n")


def test_a_nic_brought_up_by_us_has_nothing_that_fails(rig):
    _, findings = doctor(rig)
    assert [f for f in findings if f["state"] == "fail"] == []
    assert any("NET_TC_SKB_EXT is set" in f["what"] for f in of(findings, "kernel")), of(findings, "kernel")
    assert [f["state"] for f in of(findings, "hw-tc-offload")] == ["ok"]
    assert any("switchdev mode" in f["what"] for f in of(findings, "eswitch"))


def test_every_shape_is_taken_while_sepald_runs_and_nothing_is_left(rig):
    before = rig.nic.totals()["rules"]
    shown = rig.ctl("show")["rules"]
    status, findings = doctor(rig, "--probe")
    probes = of(findings, "probe")
    assert [f["state"] for f in probes] == ["ok"], probes
    assert rig.nic.totals()["rules"] == before
    after = rig.ctl("show")["rules"]
    assert [(r["device"], r["chain"], r["handle"], r["in_hw"]) for r in after] == [
        (r["device"], r["chain"], r["handle"], r["in_hw"]) for r in shown]
    assert rig.ctl("show", "--foreign")["rules"] == [] if "rules" in rig.ctl("show", "--foreign") else True
    assert "healed" not in rig.agent.log()
    print(probes[0]["what"])


@pytest.mark.parametrize("capability, part", [("flow_meter", "police"), ("vlan_actions", "vlan"), ("ct", "ct")])
def test_a_capability_taken_away_is_named_with_the_drivers_words(rig, capability, part):
    with without(rig, capability):
        _, findings = doctor(rig, "--probe")
    refused = [f for f in of(findings, "probe") if f["state"] == "fail"]
    if capability == "vlan_actions":
        assert refused == []  # nothing in this configuration uses VLANs, so nothing was asked
        return
    assert refused, findings
    assert all(part in f["what"] for f in refused), refused
    assert all(f["cure"] for f in refused)


def test_hw_tc_offload_switched_off_is_found_on_its_port(rig):
    representor = rig.nic.by_port_name()["pf0vf1"]
    rig.agent.stop()
    run("ethtool", "-K", representor, "hw-tc-offload", "off")
    try:
        status, findings = doctor(rig)
    finally:
        run("ethtool", "-K", representor, "hw-tc-offload", "on")
        rig.agent = type(rig.agent)(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
        rig.agent.wait_ready()
    found = [f for f in of(findings, "hw-tc-offload") if f["state"] == "fail"]
    assert status == 7
    assert len(found) == 1 and representor in found[0]["what"] and "ethtool -K" in found[0]["cure"], found


def test_without_a_daemon_the_doctor_is_the_writer_while_it_probes(rig):
    rig.agent.stop()
    status, findings = doctor(rig, "--probe")
    assert [f["state"] for f in of(findings, "probe")] == ["ok"], of(findings, "probe")
    rig.agent = type(rig.agent)(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
    rig.agent.wait_ready()
