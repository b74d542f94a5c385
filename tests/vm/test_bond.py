"""The uplink is a bond of two cables, active-backup: the active one is pulled, and guests notice little. In software; what
a NIC makes of a bond is in docs/explanation/next-hops.md."""

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

MAC = "02:00:00:00:01:01"
CONFIG = f"""\
apiVersion: sepal/v1
kind: Host
nic: {{representors: manual}}
underlay: {{device: bond0, address: 192.0.2.1, mtu: 1600}}
---
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24]
ports:
  - {{name: a, device: rep-a, mac: "{MAC}", addresses: [10.0.0.1]}}
routes:
  - {{to: 10.0.0.2/32, via: 192.0.2.2}}
"""
NAMES = ("bond-hv", "bond-far", "bond-a")


class Bed:
    """A hypervisor with two cables into one switch, behind which another VTEP is; one guest."""

    def __init__(self, directory: Path, log: Path) -> None:
        Namespace.remove(*NAMES)
        self.hv, self.far, self.guest = (Namespace.create(name) for name in NAMES)
        self.batch(self.hv, *(f"link add c{n} mtu 1600 type veth peer name f{n} mtu 1600 netns bond-far" for n in (0, 1)),
                   "link add rep-a mtu 1600 type veth peer name eth0 mtu 1550 netns bond-a",
                   "link add bond0 mtu 1600 type bond mode active-backup miimon 20",
                   "link set c0 master bond0", "link set c1 master bond0", "link set lo up", "link set rep-a up",
                   "link set bond0 up", "addr add 192.0.2.1/24 dev bond0")
        self.batch(self.far, "link add sw mtu 1600 type bridge", "link set f0 master sw", "link set f1 master sw",
                   "link set f0 up", "link set f1 up", "link set sw up", "addr add 192.0.2.2/24 dev sw",
                   "link add vx type vxlan id 100 local 192.0.2.2 remote 192.0.2.1 dstport 4789 dev sw",
                   "link set vx address 02:73:65:70:61:6d mtu 1500", "addr add 10.0.0.2/24 dev vx", "link set vx up",
                   "neigh add 10.0.0.1 lladdr 02:73:65:70:61:6c dev vx nud permanent")
        self.batch(self.guest, f"link set eth0 address {MAC}", "link set eth0 up", "addr add 10.0.0.1/24 dev eth0")
        self.guest.tx_checksum_off("eth0")
        (directory / "sepal.yaml").write_text(CONFIG)
        self.config, self.places = directory, ["--run-dir", str(directory / "run")]
        self.agent = Agent(self.hv, "default", directory, log, *self.places)
        self.agent.wait_ready()

    @staticmethod
    def batch(ns: Namespace, *lines: str) -> None:
        ns.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def ctl(self, *words: str) -> dict:
        return json.loads(self.hv.run([program("sepalctl"), *words, "--json", *self.places], check=False))

    def active(self) -> str:
        with self.hv.enter():
            return next(line.split(": ")[1] for line in Path("/proc/thread-self/net/bonding/bond0").read_text().splitlines()
                        if line.startswith("Currently Active Slave"))

    def pull(self, cable: str) -> None:
        """At the switch's end, as a cable is pulled."""
        self.far.run(f"ip link set f{cable[1]} down")

    def plug(self, cable: str) -> None:
        self.far.run(f"ip link set f{cable[1]} up")

    def close(self) -> None:
        self.agent.stop()
        for ns in (self.hv, self.far, self.guest):
            ns.close()
        Namespace.remove(*NAMES)


@pytest.fixture(scope="module")
def bed(tmp_path_factory) -> Iterator[Bed]:
    log = Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bond.log"
    log.unlink(missing_ok=True)
    try:
        bed = Bed(tmp_path_factory.mktemp("config"), log)
    except RuntimeError as error:
        if "Unknown device type" in str(error):
            pytest.skip("this kernel has no bonding")
        raise
    yield bed
    bed.close()


def test_the_tunnel_over_a_bond_works_and_the_doctor_sees_its_next_hop(bed):
    assert bed.guest.ping("10.0.0.2", count=3).received == 3
    findings = bed.ctl("doctor", str(bed.config))["findings"]
    assert [f["state"] for f in findings if f["check"] == "next-hops"] == ["ok"]
    assert [f["state"] for f in findings if f["check"] == "mtu"] == ["ok"]


class Talk:
    """A TCP connection that says a word every 10 ms and is answered; the longest silence is what a fail-over costs it."""

    def __init__(self, bed: Bed) -> None:
        listener = bed.far.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("10.0.0.2", 8000))
        listener.listen(1)
        listener.settimeout(10)
        self._client = bed.guest.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._client.settimeout(30)
        self._client.connect(("10.0.0.2", 8000))
        self._server, _ = listener.accept()
        self._server.settimeout(30)
        listener.close()
        self._stop = threading.Event()
        self.answers, self.longest = 0, 0.0
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._answer)]

    def __enter__(self) -> Talk:
        for thread in self._threads:
            thread.start()
        return self

    def _ask(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            self._client.sendall(b"x")
            assert self._client.recv(1) == b"y"
            self.answers += 1
            self.longest = max(self.longest, time.monotonic() - begin)
            time.sleep(0.01)
        self._client.close()

    def _answer(self) -> None:
        while self._server.recv(1) == b"x":
            self._server.sendall(b"y")
        self._server.close()

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
        assert not any(thread.is_alive() for thread in self._threads)


def test_a_fail_over_keeps_established_connections_and_costs_few_packets(bed):
    was = bed.active()
    before = bed.ctl("status")["writes"]
    with Talk(bed) as talk:
        time.sleep(1)
        puller = threading.Timer(0.5, bed.pull, [was])
        puller.start()
        pinged = bed.guest.ping("10.0.0.2", count=100, interval=0.02)
        puller.join()
        time.sleep(1)
        heard = talk.answers
        time.sleep(0.5)
        assert talk.answers > heard, "the connection lives after the fail-over"
    assert bed.active() != was
    lost = 100 - pinged.received
    print(f"fail-over of an active-backup bond (miimon 20 ms): {lost} of 100 pings lost at 20 ms each, "
          f"longest silence of a TCP connection {talk.longest * 1000:.0f} ms")
    assert lost < 50
    # The way under the tunnel is the same device and next hop: no rule had to change.
    time.sleep(1)
    assert bed.ctl("status")["writes"] == before
    bed.plug(was)
