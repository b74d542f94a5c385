"""One simulated NIC, brought up by `sepalctl nic apply`, with `sepald`, two guests on VFs and another hypervisor behind the wire.

This host's namespace is the hypervisor, for representors stay where their NIC is; the guests' VFs move away, and the far
end of the cable is another hypervisor with a vxlan device of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.agent import Agent, program
from tests.lab.namespace import Namespace
from tests.vm.eswitch.card import Nic, load, run, unload

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


@contextmanager
def made_rig(directory: Path, name: str) -> Iterator[Rig]:
    """For a module's fixture; `name` is the log's."""
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    rig = Rig(directory, Path(os.environ.get("SEPAL_OUT", str(directory))) / "logs" / f"{name}.log")
    try:
        yield rig
    finally:
        rig.close()
