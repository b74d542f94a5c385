"""The next hop under the tunnel changes while traffic flows, on the simulated NIC, which like the driver looks it up once
per encapsulation. What the NIC really sends to is read from its own table of encapsulations and off the wire.

The far end is two routers in one: `peer` answers for both gateways, by two MAC addresses."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.agent import Agent, program
from tests.lab.namespace import Namespace
from tests.vm.eswitch.card import Nic, load, run, unload, words

pytestmark = pytest.mark.eswitch

MAC = "02:00:00:00:01:01"
GATEWAYS = {1: "02:00:00:00:ee:01", 2: "02:00:00:00:ee:02"}  # behind a switch at the far end of the cable
FAMILIES = {
    4: {"own": "192.0.2.1", "net": "192.0.2.1/24", "gateway": "192.0.2.{}", "vtep": "203.0.113.2", "host": 32},
    6: {"own": "2001:db8:2::1", "net": "2001:db8:2::1/64", "gateway": "2001:db8:2::{}", "vtep": "2001:db8:113::2", "host": 128},
}


def config(own: str, vtep: str) -> str:
    return f"""\
apiVersion: sepal/v1
kind: Host
nic: {{pci: "0001:03:00.0", vfs: 1}}
underlay: {{device: uplink, address: "{own}", mtu: 1600}}
---
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24]
ports:
  - {{name: a, vf: 0, mac: "{MAC}", addresses: [10.0.0.1]}}
routes:
  - {{to: 10.0.0.2/32, via: "{vtep}"}}
  - {{to: 10.0.0.128/25, via: "{vtep}"}}
"""


class Rig:
    def __init__(self, directory: Path, log: Path, family: int) -> None:
        self.family, at = family, FAMILIES[family]
        self.vtep, self.flag = at["vtep"], f"-{family}"
        load(max_vfs=2)
        run("ip", "netns", "attach", "here", str(os.getpid()))
        self.nic = Nic()
        self.config = directory / "config"
        self.config.mkdir()
        (self.config / "sepal.yaml").write_text(config(at["own"], self.vtep))
        self.places = ["--run-dir", str(directory / "run")]
        uplink = next((self.nic.sysfs / "net").iterdir()).name
        run("ip", "-batch", "-", text=f"link set {uplink} down\nlink set {uplink} name uplink mtu 1600\n")
        run(program("sepalctl"), "nic", "apply", str(self.config), "--state-dir", str(directory / "state"), *self.places)
        # load() switches IPv6 off for devices to come, for what they send by themselves.
        Path("/proc/sys/net/ipv6/conf/uplink/disable_ipv6").write_text("0\n")
        run("ip", "-batch", "-", text=f"addr add {at['net']} dev uplink {'nodad' if family == 6 else ''}\nlink set uplink up\n")
        self._far_end(at)
        run("ip", "netns", "add", "a")
        run("ip", "link", "set", self.nic.vf(0), "netns", "a", "name", "eth0")
        run("ip", "-n", "a", "-batch", "-", text=(
            f"link set eth0 address {MAC}\nlink set eth0 up\naddr add 10.0.0.1/24 dev eth0\n"))
        self.gateway(1)
        self.resolve(1)
        self.agent = Agent(Namespace("here"), "default", self.config, log, *self.places)
        self.agent.wait_ready()
        # A bridge forwards to a port when the kernel has looked at its carrier, up to a second after it came up.
        self.wait(lambda: Namespace("peer").ping(at["own"], count=1).received == 1, 20, "the wire")

    def _far_end(self, at: dict) -> None:
        """Two gateways, each with a MAC address of its own, and the VTEP behind them."""
        run("ip", "netns", "add", "peer")
        run("ip", "link", "set", self.nic.wire, "netns", "peer", "mtu", "1600")
        peer = Namespace("peer")
        nodad = "nodad" if self.family == 6 else ""
        lines = f"link set lo up\nlink add sw mtu 1600 type bridge\nlink set {self.nic.wire} master sw up\nlink set sw up\n"
        for number, mac in GATEWAYS.items():
            lines += (f"link add gw{number} address {mac} mtu 1600 type veth peer name sw{number} mtu 1600\n"
                      f"link set sw{number} master sw up\nlink set gw{number} up\n")
        run("ip", "-n", "peer", "-batch", "-", text=lines)
        # Each gateway answers for its own address only, on its own device.
        for device in ("all", "lo", "gw1", "gw2"):
            peer.sysctl(f"net/ipv4/conf/{device}/arp_ignore", 1)
            peer.sysctl(f"net/ipv4/conf/{device}/rp_filter", 0)
            peer.sysctl(f"net/ipv6/conf/{device}/disable_ipv6", 0)
        host = at["host"]
        run("ip", "-n", "peer", "-batch", "-", text=(
            f"addr add {at['gateway'].format(251)}/{host} dev gw1 {nodad}\n"
            f"addr add {at['gateway'].format(252)}/{host} dev gw2 {nodad}\n"
            f"addr add {at['vtep']}/{host} dev lo\n"
            f"route add {at['own']}/{host} dev gw1\n"
            f"link add vx type vxlan id 100 local {at['vtep']} remote {at['own']} dstport 4789 dev gw1 udp6zerocsumrx udp6zerocsumtx\n"
            "link set vx address 02:73:65:70:61:6d mtu 1450\naddr add 10.0.0.2/24 dev vx\nlink set vx up\n"
            "neigh add 10.0.0.1 lladdr 02:73:65:70:61:6c dev vx nud permanent\n"))

    def address(self, number: int) -> str:
        return FAMILIES[self.family]["gateway"].format(250 + number)

    def gateway(self, number: int) -> None:
        run("ip", self.flag, "route", "replace", f"{self.vtep}/{FAMILIES[self.family]['host']}", "via", self.address(number),
            "dev", "uplink")

    def resolve(self, number: int) -> None:
        run("ip", self.flag, "neigh", "replace", self.address(number), "lladdr", GATEWAYS[number], "dev", "uplink",
            "nud", "permanent")

    def forget(self, number: int) -> None:
        run("ip", self.flag, "neigh", "del", self.address(number), "dev", "uplink", check=False)

    def encaps(self) -> list[dict[str, str]]:
        return [words(line) for line in self.nic.read("encaps")]

    def macs(self) -> set[str]:
        """Next hops that rules in hardware send to, this moment."""
        return {encap["mac"] for encap in self.encaps()}

    def wait(self, condition, seconds: float, what: str) -> float:
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() - begin < seconds, f"{what}: {self.encaps()}\n{self.agent.log()[-2000:]}"
            time.sleep(0.005)
        return time.monotonic() - begin

    def close(self) -> None:
        self.agent.stop()
        run(program("sepalctl"), "remove", *self.places)
        for name in ("a", "peer", "here"):
            run("ip", "netns", "del", name)
        time.sleep(0.5)
        self.nic.close()
        unload()


@pytest.fixture(scope="module", params=[4, 6], ids=["ipv4", "ipv6"])
def rig(request, tmp_path_factory) -> Iterator[Rig]:
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    directory = tmp_path_factory.mktemp("rig")
    log = Path(os.environ.get("SEPAL_OUT", str(directory))) / "logs" / f"next-hops-{request.param}.log"
    log.unlink(missing_ok=True)
    rig = Rig(directory, log, request.param)
    yield rig
    rig.close()


class Echoes:
    """One-way UDP from the guest, one datagram a time slot, numbered; the far end counts who arrived."""

    def __init__(self) -> None:
        self._client = Namespace("a").socket()
        self._server = Namespace("peer").socket()
        self._server.bind(("10.0.0.2", 9000))
        self._server.settimeout(0.2)
        self._stop = threading.Event()
        self.sent, self.got = 0, set()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]

    def __enter__(self) -> Echoes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._server.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            self._client.sendto(self.sent.to_bytes(4, "big"), ("10.0.0.2", 9000))
            self.sent += 1
            time.sleep(0.01)

    def _receive(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set() or time.monotonic() - last < 1:
            try:
                self.got.add(int.from_bytes(self._server.recv(64)[:4], "big"))
                last = time.monotonic()
            except socket.timeout:
                continue

    @property
    def lost(self) -> int:
        return self.sent - len(self.got)


def test_the_nic_sends_to_the_first_gateway(rig):
    assert rig.macs() == {GATEWAYS[1]}
    assert Namespace("a").ping("10.0.0.2", count=3).received == 3


def test_a_new_gateway_is_followed_under_traffic_without_a_lost_packet(rig):
    rig.resolve(2)
    with Echoes() as echoes:
        time.sleep(1)
        rig.gateway(2)
        took = rig.wait(lambda: rig.macs() == {GATEWAYS[2]}, 10, "the second gateway in every encapsulation")
        time.sleep(1)
    print(f"IPv{rig.family}: every encapsulation followed the new gateway after {took * 1000:.0f} ms; "
          f"{echoes.lost} of {echoes.sent} datagrams lost")
    assert echoes.sent > 50
    assert echoes.lost == 0
    assert all(encap["state"] == "resolved" for encap in rig.encaps())
    rig.gateway(1)
    rig.wait(lambda: rig.macs() == {GATEWAYS[1]}, 10, "the first gateway again")


def test_many_changes_in_a_row_end_at_the_last_one(rig):
    for number in (2, 1, 2, 1, 2, 1, 2, 1, 2):
        rig.gateway(number)
        time.sleep(0.12)
    rig.wait(lambda: rig.macs() == {GATEWAYS[2]}, 10, "the last gateway")
    time.sleep(1)
    assert rig.macs() == {GATEWAYS[2]}
    rig.gateway(1)
    rig.wait(lambda: rig.macs() == {GATEWAYS[1]}, 10, "the first gateway again")


def test_a_change_while_the_agent_is_dead_is_followed_when_it_returns(rig):
    rig.agent.kill()
    rig.gateway(2)
    time.sleep(0.5)
    assert rig.macs() == {GATEWAYS[1]}, "the NIC does not follow by itself: else this proves nothing"
    rig.agent = Agent(Namespace("here"), "default", rig.config, rig.agent.log_path, *rig.places)
    rig.agent.wait_ready()
    assert rig.macs() == {GATEWAYS[2]}
    rig.gateway(1)
    rig.wait(lambda: rig.macs() == {GATEWAYS[1]}, 10, "the first gateway again")


def rules(rig) -> list[dict]:
    done = run(program("sepalctl"), "show", "--json", "--config", str(rig.config), *rig.places)
    return json.loads(done.stdout)["rules"]


def test_a_route_by_another_device_is_kept_in_software_with_the_reason(rig):
    host = FAMILIES[rig.family]["host"]
    run("ip", "link", "add", "eth1", "type", "dummy")
    try:
        Path("/proc/sys/net/ipv6/conf/eth1/disable_ipv6").write_text("0\n")
        run("ip", "link", "set", "eth1", "up")
        run("ip", rig.flag, "route", "replace", f"{rig.vtep}/{host}", "dev", "eth1")
        rig.wait(lambda: rig.encaps() == [], 10, "no encapsulation left in the NIC")
        tunnels = [r for r in rules(rig) if any("tunnel_key set" in action for action in r["actions"])]
        assert tunnels and all(r["skip_hw"] and not r["in_hw"] for r in tunnels)
        status = json.loads(run(program("sepalctl"), "status", "--json", *rig.places).stdout)
        assert any("leaves by eth1" in note for note in status["report"]["notes"]), status["report"]
        explained = run(program("sepalctl"), "explain", "blue/a", "udp", "10.0.0.1", "10.0.0.2:9000", "--config", str(rig.config),
                        *rig.places, check=False).stdout
        assert f"{rig.vtep} leaves by eth1" in explained, explained
    finally:
        run("ip", "link", "del", "eth1")
        rig.gateway(1)
    rig.wait(lambda: rig.macs() == {GATEWAYS[1]}, 10, "back in hardware")
    assert Namespace("a").ping("10.0.0.2", count=2).received == 2


def test_an_unresolved_next_hop_is_in_hardware_and_on_the_slow_path_until_it_answers(rig):
    rig.forget(2)
    host = FAMILIES[rig.family]["host"]
    # Nobody answers for this one.
    run("ip", rig.flag, "route", "replace", f"{rig.vtep}/{host}", "via", rig.address(3), "dev", "uplink")
    rig.wait(lambda: [e["state"] for e in rig.encaps()] == ["slow"], 10, "an encapsulation without a next hop")
    tunnels = [r for r in rules(rig) if any("tunnel_key set" in action for action in r["actions"])]
    assert tunnels and all(r["in_hw"] for r in tunnels)
    offload = run(program("sepalctl"), "offload", "--config", str(rig.config), *rig.places, check=False)
    assert "has no MAC address yet" in offload.stdout, offload.stdout
    done = run(program("sepalctl"), "doctor", str(rig.config), "--json", *rig.places, check=False)
    told = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "next-hops"]
    assert [f["state"] for f in told] == ["warn"] and "no MAC address yet" in told[0]["what"], told
    rig.gateway(1)
    rig.wait(lambda: rig.macs() == {GATEWAYS[1]}, 10, "a next hop that answers")
    assert all(encap["state"] == "resolved" for encap in rig.encaps())
