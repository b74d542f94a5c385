"""The whole product on the simulated NIC: `sepalctl nic apply`, then `sepald`, then guests on VFs, and who carried what."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.agent import Agent
from tests.lab.packets import IP, UDP, Ether
from tests.vm import traffic
from tests.vm.nic_rig import MACS, Rig, made_rig

pytestmark = pytest.mark.eswitch


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    with made_rig(tmp_path_factory.mktemp("rig"), "hardware") as made:
        yield made


def test_every_rule_that_may_be_offloaded_is_in_hardware(rig):
    rules = rig.ctl("show")["rules"]
    assert len(rules) > 100
    left_out = [f"{r['device']} chain {r['chain']:#x} prio {r['prio']} {r['match']} {r['words']}"
                for r in rules if not r["in_hw"] and not r["skip_hw"]]
    assert left_out == []
    assert rig.nic.totals()["ambiguous"] == "0"


def test_what_the_kernel_says_is_in_hardware_is_in_the_nics_tables(rig):
    told = sum(rule["in_hw"] for rule in rig.ctl("show")["rules"])
    assert int(rig.nic.totals()["rules"]) == told


@pytest.mark.parametrize("target", ["10.0.0.3", "10.0.0.2"])
def test_first_packets_of_every_kind_are_answered(rig, target):
    assert rig.ns("a").ping(target, count=3).received == 3


def came_up(port: dict[str, int]) -> int:
    return sum(count for key, count in port.items() if key.startswith("miss_"))


@pytest.mark.parametrize("server, address", [("b", "10.0.0.3"), ("peer", "10.0.0.2")])
def test_an_established_connection_is_hardwares_alone(rig, server, address):
    """The representor stays silent for a thousand packets while hardware counts them."""
    stream = traffic.Connection(rig.ns("a"), rig.ns(server), address, 8000)
    stream.pour(100_000)
    time.sleep(1)  # the kernel hands the connection to the NIC from a work queue
    before = rig.nic.port(1)
    stream.pour(2_000_000)
    after = rig.nic.port(1)
    stream.close()
    assert after["hw_in"] - before["hw_in"] > 1000
    # What is not the connection's may come up meanwhile: a guest asks for its neighbour again, or for a router.
    assert came_up(after) - came_up(before) <= 2
    assert after["slow_tx"] == before["slow_tx"]


def test_explain_says_hardware_for_an_established_packet_and_why_not_for_the_first(rig):
    ways = rig.ctl("explain", "blue/a", "tcp", "10.0.0.1", "10.0.0.2:8000")["ways"]
    first, established = ways
    assert all(stop["ran_in_hw"] for stop in established["stops"]) and not established["left_hardware"]
    assert first["left_hardware"]
    assert {stop.get("why_software") for stop in first["stops"] if not stop["ran_in_hw"]} == {
        "commits a connection, which only the kernel does",
        "the NIC handed the packet up before", "a shortcut of software's: hardware takes the longer way to the same end"}


def test_a_spoofed_packet_is_dropped_and_counted_by_hardware(rig):
    before = rig.nic.port(1)["drop_rule"]
    frame = Ether(src=MACS[0], dst="02:73:65:70:61:6c") / IP(src="10.0.0.99", dst="10.0.0.3") / UDP(sport=1, dport=2)
    rig.ns("a").send("eth0", frame)
    deadline = time.monotonic() + 5
    while rig.nic.port(1)["drop_rule"] == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert rig.nic.port(1)["drop_rule"] == before + 1


def test_traffic_flows_without_the_daemon_and_its_return_writes_nothing(rig):
    rig.agent.kill()
    assert rig.ns("a").ping("10.0.0.2", count=2).received == 2
    rig.nic.write("journal", 0)
    rig.agent = Agent(rig.ns("here"), "default", rig.config, rig.agent.log_path, *rig.places[:2])
    rig.agent.wait_ready()
    assert [entry for entry in rig.nic.read("journal") if " replace " in entry or " destroy " in entry] == []
