"""Loading and unloading: other shapes of the card, with rules in place, and what it refuses by the kernel it is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import kernel_log
from tests.vm.eswitch.card import DEBUG, Nic, load, run, unload
from tests.vm.eswitch.conftest import need_module


@pytest.mark.parametrize("cards,pfs", [(2, 1), (1, 2)])
def test_several_ports_load_and_unload_with_rules_in_place(cards: int, pfs: int) -> None:
    need_module()
    load(kernel_limits=0, max_vfs=64, cards=cards, pfs=pfs)
    names = sorted(p.name for p in (DEBUG / "esim").iterdir())
    assert names == (["0001:03:00.0", "0002:03:00.0"] if cards == 2 else ["0001:03:00.0", "0001:03:00.1"])
    run("ip", "link", "add", "esim-vx", "type", "vxlan", "external", "dstport", "4789")
    try:
        for name in names:
            nic = Nic(name)
            nic.sriov(2)
            nic.mode("switchdev")
            rep, other = (nic.by_port_name()[f"pf{int(name[-1])}vf{n}"] for n in range(2))
            nic.tc(f"qdisc add dev {rep} clsact",
                   f"filter add dev {rep} ingress protocol ip pref 1 flower action ct zone 3 nat pipe action goto chain 1",
                   f"filter add dev {rep} ingress chain 1 protocol ip pref 1 flower skip_sw ct_state +trk+est "
                   f"action mirred egress redirect dev {other}")
            assert len(nic.rules()) == 2
        nic.tc("qdisc add dev esim-vx clsact",
               "filter add dev esim-vx ingress protocol ip pref 1 flower enc_key_id 5 enc_dst_port 4789 action drop")
        assert "in_hw_count 2" in run("tc", "filter", "show", "dev", "esim-vx", "ingress").stdout
        unload()
        assert "in_hw" not in run("tc", "filter", "show", "dev", "esim-vx", "ingress").stdout
    finally:
        run("ip", "link", "del", "esim-vx")
    assert not (DEBUG / "esim").exists() and kernel_log.complaints() == []


def test_a_card_that_is_pulled_and_put_back_is_new() -> None:
    need_module()
    load(kernel_limits=0, max_vfs=8)
    try:
        nic = Nic()
        nic.sriov(2)
        nic.mode("switchdev")
        rep = nic.by_port_name()["pf0vf0"]
        nic.tc(f"qdisc add dev {rep} clsact", f"filter add dev {rep} ingress protocol ip pref 1 flower skip_sw action drop")
        (nic.sysfs / "remove").write_text("1")
        assert not nic.debugfs.exists()
        Path("/sys/bus/pci/rescan").write_text("1")
        assert set(nic.by_port_name()) == {"p0"} and nic.rules() == []
        nic.sriov(2)
        nic.mode("switchdev")
        assert set(nic.by_port_name()) == {"p0", "pf0vf0", "pf0vf1"}
    finally:
        unload()
    assert kernel_log.complaints() == []


def test_on_a_kernel_that_restores_nothing_it_refuses_what_the_driver_would() -> None:
    """As built by the distribution: no connections without NET_TC_SKB_EXT, and nothing at all from 6.3 on."""
    need_module()
    load(max_vfs=2)
    try:
        nic = Nic()
        nic.mode("switchdev")
        uplink = nic.by_port_name()["p0"]
        nic.tc(f"qdisc add dev {uplink} clsact")
        plain, ct = nic.refusals(
            f"filter add dev {uplink} ingress protocol ip pref 1 flower skip_sw action drop",
            f"filter add dev {uplink} ingress protocol ip pref 2 flower skip_sw action ct zone 1 pipe action goto chain 1")
        restores = nic.totals()["restart"] != "none"
        old = tuple(map(int, Path("/proc/sys/kernel/osrelease").read_text().split("-")[0].split(".")[:2])) < (6, 3)
        assert bool(plain.said) == (not restores and not old)
        assert bool(ct.said) == (not restores)
        if not restores and old:
            assert "mlx5 tc ct offload isn't enabled." in ct.said
    finally:
        unload()
