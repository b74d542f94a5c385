"""The NIC refuses rules of ours: traffic stays right, the reason is told, and it is taken again when it can be.

One simulated NIC, two guests, another hypervisor behind the wire; before each test everything is in hardware."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.lab.agent import Agent, program
from tests.vm.eswitch.card import run
from tests.vm.nic_rig import CONFIG, Rig, made_rig

pytestmark = pytest.mark.eswitch

WITHOUT_ROUTE = CONFIG.replace("  - {to: 10.0.0.2/32, via: 192.0.2.2}\n", "  - {to: 10.9.0.0/16, via: blackhole}\n")
ROOM = 1 << 20


@pytest.fixture(scope="module")
def module_rig(tmp_path_factory) -> Iterator[Rig]:
    with made_rig(tmp_path_factory.mktemp("rig"), "refusal") as made:
        if made.nic.totals()["restart"] == "none":
            pytest.skip("this kernel hands no packet up in the middle of the pipeline (NET_TC_SKB_EXT)")
        yield made


@pytest.fixture
def rig(module_rig: Rig) -> Iterator[Rig]:
    yield module_rig
    nic = module_rig.nic
    for name, value in (("refuse", ""), ("busy", 0), ("cap_rules", ROOM), ("fail/replace", "0 5")):
        nic.write(name, value)
    (module_rig.config / "sepal.yaml").write_text(CONFIG)
    module_rig.agent.reload()
    assert software(module_rig) == [], module_rig.agent.log()[-2000:]


def software(rig: Rig) -> list[dict]:
    done = run(program("sepalctl"), "status", "--json", *rig.places[:2], check=False)
    return json.loads(done.stdout)["report"]["software"]


def apart(rig: Rig) -> list[str]:
    """Rules that are neither in hardware nor kept out of it, and of which the agent did not say that this does no harm."""
    log = rig.agent.own_log()
    harmless = {device for device, unit in (("uplink", "uplink"), ("sepal-vxlan", "overlay"))
                if f"{unit}: a rule is in software only, which does no harm" in log}
    return [f"{r['device']} {r['chain']:#x} {r['match']}" for r in rig.ctl("show")["rules"]
            if not r["in_hw"] and not r["skip_hw"] and (r["chain"] != 0 or r["device"] not in harmless)]


def answered(rig: Rig, source: str, target: str) -> int:
    return rig.ns(source).ping(target, count=2).received


def start_anew(rig: Rig) -> None:
    """As after a boot: no rules, no memory."""
    rig.agent.stop()
    run(program("sepalctl"), "remove", *rig.places[:2])
    rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
    rig.agent.wait_ready()


def test_a_longer_route_that_is_refused_is_not_overtaken_by_the_subnets_drop_in_hardware(rig: Rig) -> None:
    (rig.config / "sepal.yaml").write_text(WITHOUT_ROUTE)
    rig.agent.reload()
    assert apart(rig) == [] and answered(rig, "a", "10.0.0.2") == 0
    rig.nic.write("fail/replace", "100000 95")
    (rig.config / "sepal.yaml").write_text(CONFIG)
    rig.agent.reload()
    units = {unit["unit"]: unit for unit in software(rig)}
    assert {"tenant blue, port a", "tenant blue, port b"} <= set(units)
    assert units["tenant blue, port a"]["cause"] == "unsupported" and units["tenant blue, port a"]["errno"] == 95
    assert apart(rig) == []
    assert answered(rig, "a", "10.0.0.2") == 2 and answered(rig, "a", "10.0.0.3") == 2
    done = run(program("sepalctl"), "status", *rig.places[:2], check=False)
    assert done.returncode == 6 and "in software: tenant blue, port a: the NIC cannot: Operation not supported" in done.stdout
    assert "left-hardware: tenant blue, port a goes to software: the NIC cannot" in rig.agent.log()


# Each key and action of ours that a card may lack. The first is of a port, the second of a wire.
@pytest.mark.parametrize("what", ["mac", "ipv4", "tos_ttl", "ip_flags", "icmp", "ct_state", "enc_key_id", "drop", "goto",
                                  "redirect", "tunnel_set", "tunnel_unset", "pedit", "pedit_add", "ct", "police"])
def test_a_card_that_lacks_a_key_or_an_action_forwards_all_the_same(rig: Rig, what: str) -> None:
    rig.nic.write("refuse", what)
    start_anew(rig)
    units = software(rig)
    assert units, f"{what} is in no rule of ours, or nobody noticed"
    assert all(unit["cause"] in ("unsupported", "unclear") for unit in units), units
    assert any("Unsupported" in unit.get("nic", "") or "supported" in unit.get("nic", "")
               or "Not implemented" in unit.get("nic", "") for unit in units), units
    assert apart(rig) == []
    assert (answered(rig, "a", "10.0.0.3"), answered(rig, "a", "10.0.0.2"), answered(rig, "peer", "10.0.0.1")) == (2, 2, 2)


def test_a_busy_card_is_asked_again_and_has_everything_within_seconds(rig: Rig) -> None:
    rig.nic.write("busy", 1)
    start_anew(rig)
    assert {unit["cause"] for unit in software(rig)} <= {"busy", "unclear"}
    assert software(rig) and apart(rig) == [] and answered(rig, "a", "10.0.0.2") == 2
    rig.nic.write("busy", 0)
    end = time.monotonic() + 30
    while any(unit["cause"] == "busy" for unit in software(rig)) and time.monotonic() < end:
        time.sleep(0.5)
    assert [unit for unit in software(rig) if unit["cause"] == "busy"] == []
    assert "back-in-hardware: tenant blue, port a is back in hardware" in rig.agent.log()
    assert apart(rig) == []


def test_a_full_card_holds_whole_units_and_the_rest_works_in_software(rig: Rig) -> None:
    wanted = int(rig.nic.totals()["rules"])
    rig.nic.write("cap_rules", wanted - 3)
    start_anew(rig)
    units = software(rig)
    assert units and {unit["cause"] for unit in units} == {"full"}, units
    held = int(rig.nic.totals()["rules"])
    assert wanted / 3 < held <= wanted - 3
    assert apart(rig) == []
    assert (answered(rig, "a", "10.0.0.3"), answered(rig, "a", "10.0.0.2")) == (2, 2)


def test_a_restart_leaves_what_is_in_software_where_it_is(rig: Rig) -> None:
    rig.nic.write("refuse", "police")
    start_anew(rig)
    before = software(rig)
    rig.agent.stop()
    rig.nic.write("journal", 0)
    rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
    rig.agent.wait_ready()
    assert [unit["unit"] for unit in software(rig)] == [unit["unit"] for unit in before] != []
    assert [entry for entry in rig.nic.read("journal") if " replace " in entry or " destroy " in entry] == []
    assert json.loads(run(program("sepalctl"), "plan", str(rig.config), "--json", *rig.places[:2], check=False).stdout)["difference"] is False


def test_firmware_that_lost_its_rules_is_not_seen_as_the_documentation_says(rig: Rig) -> None:
    held = int(rig.nic.totals()["rules"])
    assert held > 0
    rig.nic.write("lose_all", 1)
    assert apart(rig) == [] and software(rig) == []
    assert answered(rig, "a", "10.0.0.3") == 2, "everything misses, and software carries it"
    start_anew(rig)
    assert int(rig.nic.totals()["rules"]) == held


def test_offload_that_is_switched_on_late_is_used_at_once(rig: Rig) -> None:
    """By hand, or by `sepalctl nic apply` after the agent has met the uplink of a card that came back."""
    held = int(rig.nic.totals()["rules"])
    rig.agent.stop()
    run(program("sepalctl"), "remove", *rig.places[:2])
    run("ethtool", "-K", "uplink", "hw-tc-offload", "off")
    try:
        rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
        rig.agent.wait_ready()
        rules = rig.ctl("show")["rules"]
        assert not any(r["in_hw"] for r in rules if r["device"] in ("uplink", "sepal-vxlan"))
        assert any(r["in_hw"] for r in rules if r["device"] not in ("uplink", "sepal-vxlan")) and software(rig) == []
    finally:
        run("ethtool", "-K", "uplink", "hw-tc-offload", "on")
    end = time.monotonic() + 5
    while int(rig.nic.totals()["rules"]) != held and time.monotonic() < end:
        time.sleep(0.1)
    assert int(rig.nic.totals()["rules"]) == held
    assert apart(rig) == [] and answered(rig, "a", "10.0.0.2") == 2
