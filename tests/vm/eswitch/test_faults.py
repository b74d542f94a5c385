"""Faults on request, the journal, the trace."""

from __future__ import annotations

import threading
import time

from tests.lab.packets import IP, UDP, Ether, Raw
from tests.vm.eswitch.card import run
from tests.vm.eswitch.conftest import World

UDP_FRAME = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(b"x" * 40)


def rule(w: World, n: int, flags: str = "skip_sw") -> str:
    return (f"filter add dev {w.rep[0]} ingress protocol ip pref {n} flower {flags} dst_ip 10.0.0.{n} "
            f"action mirred egress redirect dev {w.rep[1]}")


def test_the_nth_rule_fails_as_asked(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("fail/replace", "2 28 3")
    assert set(nic.try_tc(*(rule(w, n) for n in range(1, 9)))) == {3, 4}
    assert len(nic.rules()) == 6


def test_a_full_table_takes_a_rule_again_once_one_has_gone(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("cap_rules", 2)
    try:
        assert set(nic.try_tc(rule(w, 1), rule(w, 2), rule(w, 3))) == {2}
        # A replacement goes in before what it replaces goes out.
        show = f"filter replace dev {w.rep[0]} ingress protocol ip pref 1 handle 1 flower skip_sw dst_ip 10.0.0.1 action drop"
        assert set(nic.try_tc(show)) == {0}
        nic.tc(f"filter del dev {w.rep[0]} ingress protocol ip pref 2", rule(w, 3))
    finally:
        nic.write("cap_rules", 1 << 20)


def test_a_named_key_or_action_is_refused(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("refuse", "ipv4,pedit")
    [refused] = nic.refusals(rule(w, 1))
    assert refused.errno == 95 and "Unsupported key" in refused.said
    nic.write("refuse", "redirect")
    [refused] = nic.refusals(rule(w, 1))
    assert "Not implemented offload action" in refused.said
    nic.write("refuse", "ipv6")
    nic.tc(rule(w, 1))


def test_a_busy_eswitch_says_so_and_recovers(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("busy", 1)
    [refused] = nic.refusals(rule(w, 1))
    nic.write("busy", 0)
    assert refused.errno == 16
    nic.tc(rule(w, 1))


def test_a_change_of_mode_makes_rules_wait(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("delay_us/mode_set", 1_500_000)
    try:
        change = threading.Thread(target=nic.mode, args=("legacy",))
        change.start()
        time.sleep(0.7)
        [refused] = nic.refusals(rule(w, 1))
        change.join()
        assert refused.errno == 16
    finally:
        nic.write("delay_us/mode_set", 0)
        w.__init__(nic)


def test_a_firmware_that_lost_its_rules_leaves_tc_believing(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(rule(w, 2))
    nic.write("lose_all", 1)
    before = nic.port(1)["miss_chain"]
    assert nic.send(w.vf[0], UDP_FRAME, to=(w.vf[1],))[w.vf[1]] == []
    assert nic.port(1)["miss_chain"] == before + 1
    assert "in_hw in_hw_count 1" in run("tc", "filter", "show", "dev", w.rep[0], "ingress").stdout
    nic.tc(f"filter del dev {w.rep[0]} ingress protocol ip pref 2", rule(w, 2))
    assert nic.send(w.vf[0], UDP_FRAME, to=(w.vf[1],))[w.vf[1]] == [bytes(UDP_FRAME)]


def test_the_journal_tells_the_order_of_a_replacement(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(rule(w, 1))
    nic.write("journal", 0)
    nic.tc(f"filter replace dev {w.rep[0]} ingress protocol ip pref 1 handle 1 flower skip_sw dst_ip 10.0.0.1 action drop")
    assert [line.split()[1] for line in nic.read("journal")] == ["replace", "destroy"]


def test_the_trace_names_the_rules_a_packet_met(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(rule(w, 2))
    nic.write("tracing", 1)
    nic.send(w.vf[0], UDP_FRAME)
    nic.write("tracing", 0)
    assert nic.read("trace")[-1].endswith("0/2 out2")


def test_device_managed_steering_runs_out_of_masks(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("caps/smfs", 0)
    try:
        masks = [f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw dst_ip 10.0.0.{{}}/{32 - n} action drop"
                 for n in range(16)]
        nic.tc(*(m.format(0) for m in masks))
        # The sixteenth group has room for one rule.
        [refused] = nic.refusals(masks[15].format(0).replace("10.0.0.0", "11.0.0.0").replace("ingress", "ingress chain 0"))
        assert refused.errno == 28
    finally:
        nic.write("caps/smfs", 1)


def test_a_vf_that_goes_takes_its_rules_along(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(rule(w, 1), f"filter add dev {w.uplink} ingress protocol ip pref 1 flower skip_sw action mirred egress redirect dev {w.rep[0]}")
    nic.sriov(0)
    assert len(nic.rules()) == 1
    w.__init__(nic)
    nic.tc(f"qdisc add dev {w.rep[0]} clsact")
    assert nic.send(w.wire, UDP_FRAME, to=(w.vf[0],))[w.vf[0]] == [bytes(UDP_FRAME)]
