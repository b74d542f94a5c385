"""Bring-up of the simulated card, by the interfaces a real one has: sysfs, devlink, ip, ethtool."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.packets import Ether, Raw
from tests.vm.eswitch.card import WAIT, Nic, run

NAMES = {"p0", "pf0vf0", "pf0vf1"}


@pytest.fixture
def nic(bare: Nic):
    """Legacy mode and no VFs, before and after."""
    yield bare
    run("tc", "qdisc", "del", "dev", bare.by_port_name()["p0"], "clsact", check=False)
    bare.write("busy", 0)
    bare.sriov(0)
    bare.mode("legacy")


def test_both_orders_end_alike(nic: Nic) -> None:
    nic.sriov(2)
    nic.mode("switchdev")
    vfs_first = nic.by_port_name()
    nic.sriov(0)
    assert set(nic.by_port_name()) == {"p0"}
    nic.sriov(2)
    assert set(vfs_first) == set(nic.by_port_name()) == NAMES
    assert vfs_first["p0"] == nic.by_port_name()["p0"]
    ids = {(nic.sysfs / "net" / dev / "phys_switch_id").read_text() for dev in nic.by_port_name().values()}
    assert len(ids) == 1


def test_the_mode_it_has_is_success_and_an_unknown_one_is_not(nic: Nic) -> None:
    nic.mode("legacy")
    nic.mode("switchdev")
    nic.mode("switchdev")
    assert "switchdev" in nic.devlink("dev", "eswitch", "show", "{}").stdout


def test_another_number_of_vfs_goes_through_none(nic: Nic) -> None:
    nic.sriov(2)
    with pytest.raises(OSError, match="Device or resource busy"):
        nic.sriov(3)
    with pytest.raises(OSError, match="Numerical result out of range"):
        nic.sriov(0)
        nic.sriov(65)


def test_the_mode_is_busy_while_a_rule_is_offloaded(nic: Nic) -> None:
    nic.mode("switchdev")
    uplink = nic.by_port_name()["p0"]
    nic.tc(f"qdisc add dev {uplink} clsact", f"filter add dev {uplink} ingress protocol ip pref 1 flower skip_sw action drop")
    refused = nic.devlink("dev", "eswitch", "set", "{}", "mode", "legacy", check=False)
    assert refused.returncode and "Can't change mode, E-Switch is busy" in refused.stderr
    refused = nic.devlink("dev", "eswitch", "set", "{}", "encap-mode", "none", check=False)
    assert "Can't set encapsulation when flows are configured" in refused.stderr
    off = run("ethtool", "-K", uplink, "hw-tc-offload", "off", check=False)
    assert off.returncode and "on" in run("ethtool", "-k", uplink).stdout.split("hw-tc-offload: ")[1][:3]
    nic.tc(f"qdisc del dev {uplink} clsact")
    nic.mode("legacy")


def test_inline_mode_and_parameters_answer_as_the_driver_does(nic: Nic) -> None:
    said = nic.devlink("dev", "eswitch", "set", "{}", "inline-mode", "transport", check=False).stderr
    assert "Inline mode can't be set" in said
    nic.devlink("dev", "eswitch", "set", "{}", "inline-mode", "none")
    nic.devlink("dev", "param", "set", "{}", "name", "flow_steering_mode", "value", "dmfs", "cmode", "runtime")
    nic.mode("switchdev")
    set_steering = ["dev", "param", "set", "{}", "name", "flow_steering_mode", "value", "smfs", "cmode", "runtime"]
    said = nic.devlink(*set_steering, check=False).stderr
    assert "Software managed steering is not supported when eswitch offloads enabled." in said
    said = nic.devlink("dev", "param", "set", "{}", "name", "esw_port_metadata", "value", "false", "cmode", "runtime",
                       check=False).stderr
    assert "E-Switch must either disabled or non switchdev mode" in said
    nic.mode("legacy")
    nic.devlink(*set_steering)


def test_a_function_takes_its_address_when_it_is_bound_next(nic: Nic) -> None:
    nic.sriov(1)
    nic.mode("switchdev")
    before = (Path("/sys/class/net") / nic.vf(0) / "address").read_text()
    nic.devlink("port", "function", "set", "{}/1", "hw_addr", "02:00:00:00:12:34")
    assert (Path("/sys/class/net") / nic.vf(0) / "address").read_text() == before
    address = (nic.sysfs / "virtfn0").resolve().name
    (nic.sysfs / "virtfn0/driver/unbind").write_text(address)
    Path("/sys/bus/pci/drivers/eswitch_sim/bind").write_text(address)
    assert (Path("/sys/class/net") / nic.vf(0) / "address").read_text().strip() == "02:00:00:00:12:34"


def test_a_vf_may_leave_its_namespace_and_a_representor_may_not(nic: Nic) -> None:
    nic.sriov(1)
    nic.mode("switchdev")
    vf, rep = nic.vf(0), nic.by_port_name()["pf0vf0"]
    run("ip", "netns", "add", "esim-guest")
    try:
        refused = run("ip", "link", "set", rep, "netns", "esim-guest", check=False)
        assert refused.returncode
        run("ip", "link", "set", vf, "netns", "esim-guest")
        assert vf not in run("ip", "-br", "link").stdout.split()
    finally:
        run("ip", "netns", "del", "esim-guest")
    # A namespace's end sends hardware home, by a worker.
    end = time.monotonic() + WAIT
    while time.monotonic() < end and not list((nic.sysfs / "virtfn0/net").iterdir()):
        time.sleep(0.05)
    assert nic.vf(0) == vf


def test_a_vf_has_carrier_while_its_representor_is_up(nic: Nic) -> None:
    nic.sriov(1)
    nic.mode("switchdev")
    vf, rep = nic.vf(0), nic.by_port_name()["pf0vf0"]
    carrier = Path("/sys/class/net") / vf / "carrier"
    nic.up(vf)
    assert carrier.read_text() == "0\n"
    nic.up(rep)
    assert carrier.read_text() == "1\n"
    nic.mode("legacy")
    assert carrier.read_text() == "1\n"


@pytest.mark.parametrize("how", ["reset", "reload"])
def test_a_reset_leaves_legacy_mode_new_netdevs_and_no_rules(nic: Nic, how: str) -> None:
    nic.sriov(1)
    nic.mode("switchdev")
    rep, uplink = nic.by_port_name()["pf0vf0"], nic.by_port_name()["p0"]
    index = (nic.sysfs / "net" / uplink / "ifindex").read_text()
    vf_index = (nic.sysfs / "virtfn0/net" / nic.vf(0) / "ifindex").read_text()
    nic.tc(f"qdisc add dev {rep} clsact", f"filter add dev {rep} ingress protocol ip pref 1 flower skip_sw action drop")
    if how == "reset":
        nic.write("reset", 1)
    else:
        nic.devlink("dev", "reload", "{}")
    end = time.monotonic() + WAIT
    while time.monotonic() < end and not any(f" {how}" in line for line in nic.read("journal")[-2:]):
        time.sleep(0.05)
    time.sleep(0.2)
    ports = nic.by_port_name()
    assert set(ports) == {"p0"}
    assert (nic.sysfs / "net" / ports["p0"] / "ifindex").read_text() != index
    assert (nic.sysfs / "virtfn0/net" / nic.vf(0) / "ifindex").read_text() == vf_index
    assert nic.totals()["rules"] == "0"
    assert "mode legacy" in nic.devlink("dev", "eswitch", "show", "{}").stdout
    nic.mode("switchdev")
    assert set(nic.by_port_name()) == {"p0", "pf0vf0"}


def test_legacy_mode_switches_by_address(nic: Nic) -> None:
    nic.sriov(2)
    a, b = nic.vf(0), nic.vf(1)
    nic.up(a, b, nic.wire, nic.by_port_name()["p0"])
    address = (Path("/sys/class/net") / b / "address").read_text().strip()
    known = Ether(src="02:00:00:00:00:01", dst=address, type=0x88B5) / Raw(b"known" * 12)
    unknown = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:99", type=0x88B5) / Raw(b"other" * 12)
    everybody = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / Raw(b"all" * 20)
    assert nic.send(a, known, to=(b, nic.wire)) == {b: [bytes(known)], nic.wire: []}
    assert nic.send(a, unknown, to=(b, nic.wire)) == {b: [], nic.wire: [bytes(unknown)]}
    assert nic.send(a, everybody, to=(b, nic.wire)) == {b: [bytes(everybody)], nic.wire: [bytes(everybody)]}
    nic.close()


def test_rules_are_refused_in_legacy_mode(nic: Nic) -> None:
    uplink = nic.by_port_name()["p0"]
    run("ethtool", "-K", uplink, "hw-tc-offload", "on")
    nic.tc(f"qdisc add dev {uplink} clsact")
    [refused] = nic.refusals(f"filter add dev {uplink} ingress protocol ip pref 1 flower skip_sw action drop")
    assert refused.errno == 95 and refused.said
