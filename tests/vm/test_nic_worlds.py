"""500 random sets of tenants on the simulated NIC, which refuses something in each: tests/nic/worlds_test.cpp asks the
invariants of the NIC's own tables. One run for each kind of underlay a set can have."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.agent import program
from tests.vm.eswitch.card import Nic, load, run, unload

pytestmark = pytest.mark.eswitch

BUILD = Path(os.environ.get("SEPAL_BUILD", Path(__file__).resolve().parents[2] / "build")) / "release/tests"
VFS = 8  # ports of the largest set
MTU = 9000
VTEPS = {"192.0.2.1/24": ["192.0.2.2", "192.0.2.3", "192.0.2.4"],
         "2001:db8:1::1/64": ["2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::4"]}
HOST = f"""\
apiVersion: sepal/v1
kind: Host
nic: {{pci: "0001:03:00.0", vfs: {VFS}}}
underlay: {{device: uplink, address: 192.0.2.1, mtu: {MTU}}}
"""


@pytest.fixture(scope="module")
def nic(tmp_path_factory) -> Iterator[Nic]:
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    load(max_vfs=VFS)
    directory = tmp_path_factory.mktemp("worlds")
    (directory / "config").mkdir()
    (directory / "config/sepal.yaml").write_text(HOST)
    places = ["--state-dir", str(directory / "state"), "--run-dir", str(directory / "run")]
    card = Nic()
    uplink = next((card.sysfs / "net").iterdir()).name
    run("ip", "-batch", "-", text=f"link set {uplink} down\nlink set {uplink} name uplink mtu {MTU}\n")
    run(program("sepalctl"), "nic", "apply", str(directory / "config"), *places)
    run("ip", "-batch", "-", text=f"link set {card.wire} mtu {MTU} up\nlink set uplink up\n"
                                  "link add link uplink name uplink.2 type vlan id 2\nlink set uplink.2 up\n")
    try:
        yield card
    finally:
        run(program("sepalctl"), "remove", "--run-dir", str(directory / "run"))
        run("ip", "link", "del", "uplink.2")
        card.close()
        unload()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("vlan", ["", "2"], ids=["untagged", "underlay VLAN"])
@pytest.mark.parametrize("address", list(VTEPS), ids=["IPv4", "IPv6"])
def test_whatever_the_nic_refuses_its_tables_hold_the_invariants(nic, address, vlan):
    device = f"uplink.{vlan}" if vlan else "uplink"
    neighbours = [f"neigh replace {vtep} lladdr 02:73:65:70:61:6d dev {device} nud permanent" for vtep in VTEPS[address]]
    Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("0\n")
    Path(f"/proc/sys/net/ipv6/conf/{device}/accept_dad").write_text("0\n")
    run("ip", "-batch", "-", text="\n".join([f"addr add {address} dev {device}", *neighbours, ""]))
    names = nic.by_port_name()
    try:
        done = subprocess.run(
            [str(BUILD / "nic/nic-worlds"), "--gtest_color=no", "--gtest_brief=1"], capture_output=True, text=True, check=False,
            env={**os.environ, "GTEST_OUTPUT": "", "SEPAL_NIC_DEBUGFS": str(nic.debugfs),
                 "SEPAL_NIC_REPRESENTORS": " ".join(names[f"pf0vf{n}"] for n in range(VFS)),
                 "SEPAL_UNDERLAY": address.split("/")[0], "SEPAL_UNDERLAY_VLAN": vlan})
        print(done.stdout[-2000:])
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    finally:
        run("ip", "addr", "flush", "dev", device)
