"""`sepalctl offload` and `show` on the simulated NIC: what they say against what the NIC's tables and counters hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.agent import Agent, program
from tests.vm.eswitch.card import run
from tests.vm.nic_rig import Rig, made_rig
from tests.vm.traffic import Connection

pytestmark = pytest.mark.eswitch

IN_SOFTWARE = 6  # exit status of `offload`
MATRIX = Path(__file__).parents[2] / "docs/reference/offload-matrix.md"


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    with made_rig(tmp_path_factory.mktemp("rig"), "hardware_truth") as made:
        yield made


def status(rig: Rig, *words: str) -> int:
    return run(program("sepalctl"), *words, *rig.places, check=False).returncode


@contextmanager
def begun_anew(rig: Rig, **knobs: object) -> Iterator[None]:
    """All rules are written again while the NIC has these knobs; afterwards once more without them."""
    normal = {name: rig.nic.read(name.replace("__", "/"))[0] if name != "refuse" else "" for name in knobs}
    restart(rig, knobs)
    try:
        yield
    finally:
        restart(rig, normal)


def restart(rig: Rig, knobs: dict[str, object]) -> None:
    rig.agent.stop()
    run(program("sepalctl"), "remove", *rig.places[:2])
    for name, value in knobs.items():
        rig.nic.write(name.replace("__", "/"), value)
    rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
    rig.agent.wait_ready()


def test_what_it_says_is_held_is_what_the_nics_tables_hold(rig):
    told = rig.ctl("offload")
    assert told["as_wanted"] is True and told["nic"] is True and told["not_as_wanted"] == []
    assert told["wanted"] == told["held"] == int(rig.nic.totals()["rules"])
    assert [b["in_hardware"] for b in told["blocks"] if b["block"] == "port"] == [True, True]
    assert status(rig, "offload") == 0


def test_show_and_offload_use_the_same_words(rig):
    rules = rig.ctl("show")["rules"]
    assert {rule["placement"] for rule in rules} == {"hardware", "software only"}
    assert sum(rule["placement"] == "hardware" for rule in rules) == rig.ctl("offload")["held"]
    assert all(rule["in_hw_count"] == rule["in_hw_expected"] == 1 for rule in rules if rule["in_hw"])


def port(told: dict, name: str) -> dict:
    return next(block for block in told["blocks"] if block.get("port") == name)


def grown(before: dict, after: dict) -> tuple[int, int]:
    """Packets, and those in hardware."""
    return after["packets"] - before["packets"], after["hw_packets"] - before["hw_packets"]


def test_of_an_established_connection_hardware_carries_at_least_99_of_100_packets(rig):
    stream = Connection(rig.ns("a"), rig.ns("b"), "10.0.0.3", 8000)
    stream.pour(100_000)
    time.sleep(2.5)  # the connection is handed over from a work queue; the NIC tells its counters once a second
    before = rig.ctl("offload")
    stream.pour(2_000_000)
    time.sleep(2.5)
    after = rig.ctl("offload")
    stream.close()
    for share in ((port(before, "a")["sent"], port(after, "a")["sent"]), (port(before, "b")["received"], port(after, "b")["received"]),
                  (before["tenants"][0]["traffic"], after["tenants"][0]["traffic"])):
        packets, in_hardware = grown(*share)
        assert packets > 1000 and in_hardware / packets >= 0.99, (packets, in_hardware)
    assert after["tenants"][0]["connections"]["hardware"] >= 1


def test_a_ping_is_counted_as_what_never_is_in_hardware(rig):
    before = rig.ctl("offload")["tenants"][0]
    assert rig.ns("a").ping("10.0.0.3", count=3).received == 3
    after = rig.ctl("offload")["tenants"][0]
    assert after["connections"]["never"] > 0
    packets, in_hardware = grown(before["traffic"], after["traffic"])
    assert packets >= 6 and in_hardware < packets


def test_a_port_with_its_offload_off_is_named_with_the_cure(rig):
    representor = rig.nic.by_port_name()["pf0vf0"]
    rig.agent.stop()
    run(program("sepalctl"), "remove", *rig.places[:2])
    run("ethtool", "-K", representor, "hw-tc-offload", "off")
    try:
        rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
        rig.agent.wait_ready()
        told = rig.ctl("offload")
        assert status(rig, "offload") == IN_SOFTWARE
        off = port(told, "a")
        assert off["cause"] == "offload-off" and f"ethtool -K {representor} hw-tc-offload on" in off["why"]
        assert port(told, "b")["in_hardware"] is True
        assert {rule["device"] for rule in told["not_as_wanted"]} == {representor}
        assert {rule["cause"] for rule in told["not_as_wanted"]} == {"offload-off"}
        assert len(told["not_as_wanted"]) == off["wanted"]
    finally:
        run("ethtool", "-K", representor, "hw-tc-offload", "on")
        restart(rig, {})


def rows() -> dict[str, list[str]]:
    """The matrix: shape → its columns."""
    table = MATRIX.read_text().split("<!-- matrix: begin -->")[1].split("<!-- matrix: end -->")[0]
    found = {}
    for line in table.strip().splitlines()[2:]:
        block, match, actions, *columns = [cell.strip() for cell in line.strip("|\n").split("|")]
        found.setdefault(f"{block}: {match} → {actions}", []).append(columns)
    return found


PROFILES = {"full": {}, "dmfs": {"caps__smfs": 0},
            "old": {"caps__ignore_flow_level": 0, "caps__termination_table": 0, "caps__termination_table_raw_traffic": 0}}


@pytest.mark.parametrize("number, profile", enumerate(PROFILES))
def test_every_rule_is_where_the_matrix_has_its_shape(rig, number, profile):
    matrix = rows()
    with begun_anew(rig, **PROFILES[profile]):
        wrong, held = [], 0
        for rule in rig.ctl("show")["rules"]:
            said = {row[number] for row in matrix[rule["shape"]]}
            held += rule["in_hw"]
            # A refused rule takes its block along, so what the row calls H may be software there; never the reverse.
            if rule["in_hw"] and "H" not in said or profile != "old" and "H" in said and not (rule["in_hw"] or rule["skip_hw"]):
                wrong.append(f"{rule['shape']}: {said}, in_hw {rule['in_hw']}")
        assert wrong == []
        assert held > 40 or profile == "old"
