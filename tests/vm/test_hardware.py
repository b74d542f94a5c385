"""The whole product on the simulated NIC: `sepalctl nic apply`, then `sepald`, then guests on VFs, and who carried what.

This host's namespace is the hypervisor, for representors stay where their NIC is; the guests' VFs move away, and the far
end of the cable is another hypervisor with a vxlan device of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.agent import Agent, program
from tests.lab.namespace import Namespace
from tests.lab.packets import IP, UDP, Ether
from tests.vm import traffic
from tests.vm.eswitch.card import Nic, load, run, unload

pytestmark = pytest.mark.eswitch

MACS = ["02:00:00:00:01:01", "02:00:00:00:01:03"]
ADDRESSES = ["10.0.0.1", "10.0.0.3"]
CONFIG = f"""\
apiVersion: sepal/v1
kind: Host
nic: {{pci: "0001:03:00.0", vfs: 2}}
underlay: {{device: uplink, address: 192.0.2.1, mtu: 1600}}
---
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24]
ports:
  - {{name: a, vf: 0, mac: "{MACS[0]}", addresses: [{ADDRESSES[0]}]}}
  - {{name: b, vf: 1, mac: "{MACS[1]}", addresses: [{ADDRESSES[1]}]}}
routes:
  - {{to: 10.0.0.2/32, via: 192.0.2.2}}
"""


class Rig:
    def __init__(self, directory: Path, log: Path) -> None:
        load(max_vfs=4)
        run("ip", "netns", "attach", "here", str(os.getpid()))
        self.nic = Nic()
        self.config = directory / "config"
        self.config.mkdir()
        (self.config / "sepal.yaml").write_text(CONFIG)
        self.places = ["--run-dir", str(directory / "run"), "--config", str(self.config)]
        uplink = next((self.nic.sysfs / "net").iterdir()).name
        run("ip", "-batch", "-", text=f"link set {uplink} down\nlink set {uplink} name uplink mtu 1600\n")
        run(program("sepalctl"), "nic", "apply", str(self.config), "--state-dir", str(directory / "state"), *self.places[:2])
        run("ip", "-batch", "-", text="addr add 192.0.2.1/24 dev uplink\nlink set uplink up\n")
        self._wire()
        for number, name in enumerate(("a", "b")):
            self._guest(number, name)
        self.agent = Agent(self.ns("here"), "default", self.config, log, *self.places[:2])
        self.agent.wait_ready()

    def _wire(self) -> None:
        run("ip", "netns", "add", "peer")
        run("ip", "-batch", "-", text=f"link set {self.nic.wire} netns peer mtu 1600\n")
        run("ip", "-n", "peer", "-batch", "-", text=(
            f"addr add 192.0.2.2/24 dev {self.nic.wire}\nlink set {self.nic.wire} up\nlink set lo up\n"
            f"link add vx type vxlan id 100 local 192.0.2.2 remote 192.0.2.1 dstport 4789 dev {self.nic.wire}\n"
            "link set vx address 02:73:65:70:61:6d mtu 1500\naddr add 10.0.0.2/24 dev vx\nlink set vx up\n"
            "neigh add 10.0.0.1 lladdr 02:73:65:70:61:6c dev vx nud permanent\n"))

    def _guest(self, number: int, name: str) -> None:
        run("ip", "netns", "add", name)
        run("ip", "link", "set", self.nic.vf(number), "netns", name, "name", "eth0")
        run("ip", "-n", name, "-batch", "-", text=(
            f"link set eth0 address {MACS[number]}\nlink set eth0 up\naddr add {ADDRESSES[number]}/24 dev eth0\n"))

    def ns(self, name: str) -> Namespace:
        return Namespace(name)

    def ctl(self, *words: str) -> dict:
        done = run(program("sepalctl"), *words, "--json", *self.places, check=False)
        return json.loads(done.stdout)

    def close(self) -> None:
        self.agent.stop()
        run(program("sepalctl"), "remove", *self.places[:2])
        for name in ("a", "b", "peer", "here"):
            run("ip", "netns", "del", name)
        time.sleep(0.5)  # the VFs come back when their namespaces are gone
        self.nic.close()
        unload()


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Iterator[Rig]:
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    directory = tmp_path_factory.mktemp("rig")
    rig = Rig(directory, Path(os.environ.get("SEPAL_OUT", str(directory))) / "logs" / "hardware.log")
    yield rig
    rig.close()


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
        "new connections are decided in software", "commits a connection, which only the kernel does",
        "the NIC handed the packet up before"}


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
