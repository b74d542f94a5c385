"""`sepalctl doctor` on a hypervisor of the lab: one thing is put wrong at a time, and found. On a kernel without what a
NIC needs it says so; on the simulated NIC: test_doctor_nic.py."""

from __future__ import annotations

import json
import os
import socket
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("agents")

RTNLGRP_TC = 4
OK, WARN, FAIL = 0, 2, 7


class Report:
    def __init__(self, lab, directory, *options: str) -> None:
        answer = lab.ctl("h1", "doctor", str(directory), "--json", *options)
        assert not answer.err, answer.err
        self.status = answer.status
        self.findings = json.loads(answer.out)["findings"]

    def of(self, check: str) -> list[dict]:
        return [f for f in self.findings if f["check"] == check]

    def worse(self, check: str) -> list[dict]:
        return [f for f in self.of(check) if f["state"] in ("warn", "fail")]


@pytest.fixture
def doctor(lab, configs):
    return lambda *options: Report(lab, configs["h1"].path, *options)


def test_a_healthy_hypervisor_has_nothing_that_fails(doctor):
    report = doctor()
    assert [f for f in report.findings if f["state"] == "fail"] == []
    assert report.status in (OK, WARN)
    for check in ("config", "nic", "mtu", "next-hops", "vxlan-port", "tc-listeners", "managers"):
        assert [f["state"] for f in report.of(check)] == ["ok"], report.of(check)


def test_the_text_has_a_line_for_each_finding_and_a_count_at_the_end(lab, configs):
    answer = lab.ctl("h1", "doctor", str(configs["h1"].path))
    lines = answer.out.splitlines()
    assert all(line.split()[0] in ("ok", "warn", "fail", "unknown", "→") for line in lines[:-1])
    assert lines[-1].endswith(" ok")


def test_where_a_nic_is_wanted_it_says_whether_this_kernel_can_offload_and_why_not(lab, tmp_path):
    (tmp_path / "sepal.yaml").write_text(
        "apiVersion: sepal/v1\nkind: Host\nnic: {pci: \"0000:00:1f.7\", vfs: 2}\n"
        "underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}\n")
    report = Report(lab, tmp_path)
    assert report.status == FAIL
    assert any("does not exist" in f["what"] for f in report.worse("nic"))
    # A second opinion on how this kernel was built.
    symbols = Path("/proc/kallsyms").read_text()
    can = " tc_skb_ext_tc_enable\n" in symbols
    told = [f for f in report.of("kernel") if "NET_TC_SKB_EXT" in f["what"]]
    assert [f["state"] for f in told] == ["ok" if can else "fail"], told
    if not can:
        assert "this kernel cannot offload" in told[0]["what"] and told[0]["cure"]


def test_an_invalid_configuration_is_a_finding_and_the_rest_is_still_looked_at(lab, tmp_path):
    (tmp_path / "sepal.yaml").write_text("kind: Nonsense\n")
    report = Report(lab, tmp_path)
    assert report.status == FAIL
    assert [f["check"] for f in report.findings if f["state"] == "fail"] == ["config"]
    assert report.of("tc-listeners")


def test_a_listener_to_tc_events_is_named(lab, doctor):
    with lab.ns("h1").socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as listener:
        listener.bind((0, 1 << (RTNLGRP_TC - 1)))
        found = doctor().worse("tc-listeners")
    assert len(found) == 1 and f"(pid {os.getpid()})" in found[0]["what"], found
    assert doctor().worse("tc-listeners") == []


@contextmanager
def device(lab, command: str, name: str):
    lab.ns("h1").run(command)
    try:
        yield
    finally:
        lab.ns("h1").run(f"ip link del {name}")


def test_a_second_vxlan_device_on_the_port_is_named(lab, doctor):
    with device(lab, "ip link add flannel.1 type vxlan id 1 dstport 4789 dev uplink", "flannel.1"):
        found = doctor().worse("vxlan-port")
    assert len(found) == 1 and "flannel.1" in found[0]["what"], found


def test_an_uplink_too_small_for_the_tunnel_fails_with_both_cures(lab, doctor):
    lab.ns("h1").run("ip link set uplink mtu 1500")
    try:
        report = doctor()
    finally:
        lab.ns("h1").run("ip link set uplink mtu 1600")
    assert report.status == FAIL
    found = report.worse("mtu")
    assert len(found) == 1 and "uplink has MTU 1500" in found[0]["what"], found
    assert "ip link set uplink mtu 1600" in found[0]["cure"] and "underlay.mtu: 1500" in found[0]["cure"]


def test_a_way_by_another_device_and_an_unresolved_next_hop_are_told(lab, doctor):
    ns = lab.ns("h1")
    with device(lab, "ip link add eth1 type dummy", "eth1"):
        ns.run("ip link set eth1 up")
        ns.run("ip route add 192.0.2.2/32 dev eth1")
        found = doctor().worse("next-hops")
        assert len(found) == 1 and "leaves by eth1" in found[0]["what"], found
    ns.run("ip route add 192.0.2.2/32 via 192.0.2.77 dev uplink")
    try:
        found = doctor().worse("next-hops")
    finally:
        ns.run("ip route del 192.0.2.2/32 via 192.0.2.77 dev uplink")
    assert len(found) == 1 and "no MAC address yet" in found[0]["what"], found
    assert doctor().worse("next-hops") == []


def test_a_full_connection_table_is_told(lab, doctor):
    before = Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text()
    with lab.ns("h1").enter():
        path = Path("/proc/sys/net/netfilter/nf_conntrack_buckets")
        buckets = path.read_text() if os.access(path, os.R_OK) else ""
    assert before and buckets
    report = doctor()
    assert any("connections of at most" in f["what"] for f in report.of("conntrack"))


def test_the_archive_is_readable_and_holds_what_its_readme_says_and_no_more(lab, doctor, configs, tmp_path):
    (configs["h1"].path / "private.txt").write_text("not configuration")
    path = tmp_path / "bundle.tar"
    os.environ["SEPAL_TEST_SECRET"] = "hunter2"
    try:
        doctor("--bundle", str(path))
    finally:
        del os.environ["SEPAL_TEST_SECRET"]
        (configs["h1"].path / "private.txt").unlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert all(member.isfile() and member.name.startswith("sepal-doctor/") for member in archive)
        content = {m.name.removeprefix("sepal-doctor/"): archive.extractfile(m).read().decode() for m in archive}
    assert set(content) >= {"README.txt", "doctor.txt", "doctor.json", "state.txt", "status.json", "devices.txt",
                            "next-hops.txt", "nic.txt", "kernel.txt", "conntrack.txt", "config/sepal.yaml",
                            "config/tenants.d/blue.yaml", "rules/blue-web.txt", "rules/sepal-vxlan.txt"}
    assert "config/private.txt" not in content
    everything = "".join(content.values())
    assert "hunter2" not in everything and "not configuration" not in everything
    assert content["config/sepal.yaml"] == (configs["h1"].path / "sepal.yaml").read_text()
    assert json.loads(content["status.json"])["ok"]
    assert "tunnel to 192.0.2.2 as vni 100" in content["rules/blue-web.txt"]
    for name in ("doctor.txt", "config/", "rules/DEVICE.txt", "next-hops.txt"):
        assert name in content["README.txt"]


def test_without_hardware_no_shape_is_taken_and_nothing_is_left(lab, doctor):
    before = lab.ns("h1").run("tc filter show dev blue-web ingress")
    found = doctor("--probe").of("probe")
    assert found and all(f["state"] != "ok" for f in found)
    assert len(lab.ns("h1").run("tc filter show dev blue-web ingress").splitlines()) == len(before.splitlines())
