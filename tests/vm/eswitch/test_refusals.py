"""Refusals, one by one: what the driver does not take, with its errno and its words. Each rule is like one that is
taken but for what it is about (see the last test), so that it cannot be refused for another reason."""

from __future__ import annotations

import os

import pytest

from tests.vm.eswitch.card import run
from tests.vm.eswitch.conftest import World

EINVAL, EOPNOTSUPP, ENOSPC, ENOENT, EEXIST, EBUSY, E2BIG = 22, 95, 28, 2, 17, 16, 7
KERNEL = tuple(int(number) for number in os.uname().release.split(".")[:2])  # drivers change their words
OUT = "action mirred egress redirect dev {rep[1]}"

# on, match, actions, errno, words; {rep[n]}, {uplink} are devices.
REFUSED = [
    # keys
    ("arp", "arp_tip 10.0.0.1", OUT, EOPNOTSUPP, "Unsupported key"),
    ("ip", "ip_proto tcp dst_port 1000-2000", OUT, EOPNOTSUPP, "Unsupported key"),
    ("ip", "ip_proto sctp dst_port 80", OUT, EINVAL, "Only UDP and TCP transports are supported for L4 matching"),
    ("ip", "ip_flags firstfrag", OUT, EOPNOTSUPP, "{flags}"),
    ("ip", "indev {rep[1]}", OUT, EOPNOTSUPP, "Can't match on the ingress filter port"),
    # connection tracking
    ("ip", "ct_state +trk+rel", OUT, EOPNOTSUPP, "matching on ct_state +rel isn't supported"),
    ("ip", "ct_state +trk+inv", OUT, EOPNOTSUPP, "matching on ct_state +inv isn't supported"),
    # whole rules
    ("ip", "", "action vlan pop", EOPNOTSUPP, "Rule must have at least one forward/drop action"),
    ("ip", "", "action ct zone 1", EOPNOTSUPP, "Rule must have at least one forward/drop action"),
    ("ip", "", "action mirred egress mirror dev {rep[1]} pipe action drop", EOPNOTSUPP,
     "Rule cannot support forward+drop action"),
    ("ip", "", "action pedit ex munge eth dst set 02:00:00:00:00:01 pipe action drop", EOPNOTSUPP,
     "Drop with modify header action is not supported"),
    ("ip", "", "action mirred egress redirect dev {rep[1]} hw_stats immediate", EOPNOTSUPP,
     "Flow action HW stats type is not supported"),
    ("ip", "", "action vlan pop pipe hw_stats delayed action mirred egress redirect dev {rep[1]} hw_stats immediate",
     EOPNOTSUPP, "Mixing HW stats types for actions is not supported"),
    ("ip", "", "action skbedit mark 1 pipe " + OUT, EOPNOTSUPP, "Not implemented offload action"),
    ("ip", "", "action skbedit priority 1 pipe " + OUT, EOPNOTSUPP, "Not implemented offload action"),
    ("ip", "", "action mirred ingress mirror dev {rep[1]} pipe " + OUT, EOPNOTSUPP, "Not implemented offload action"),
    ("ip", "", "action trap " + OUT, EOPNOTSUPP, "action trap is supported as a sole action only"),
    # where to
    ("ip", "", "action mirred egress redirect dev {rep[0]}", EOPNOTSUPP, "can't forward from a VF to itself"),
    ("ip", "", "action mirred egress redirect dev {wire}", EOPNOTSUPP,
     "devices are not on same switch HW, can't offload forwarding"),
    ("ip", "", "action mirred egress mirror dev {rep[1]} pipe " + OUT, EOPNOTSUPP,
     "can't duplicate output to same device"),
    # tags
    ("ip", "", "action vlan modify id 5 pipe " + OUT, EOPNOTSUPP,
     "VLAN rewrite action must have VLAN protocol match"),
    ("802.1Q", "vlan_id 4", "action vlan modify id 5 priority 3 pipe " + OUT, EOPNOTSUPP,
     "Changing VLAN prio is not supported"),
    ("ip", "", "action vlan push id 1 pipe action vlan push id 2 pipe action vlan push id 3 pipe " + OUT, EOPNOTSUPP,
     "Total vlans used is greater than supported"),
    # rewriting
    ("ip", "", "action pedit ex munge offset 0 u32 set 0x45000000 pipe " + OUT, EOPNOTSUPP, "legacy pedit isn't offloaded"),
    ("ip", "", "action pedit ex munge eth dst set 02:00:00:00:00:01 munge eth dst set 02:00:00:00:00:02 pipe " + OUT,
     EOPNOTSUPP, "curr_pmask and new mask same. Acting twice on same location"),
    ("ip", "", "action pedit ex munge ip src set 10.0.0.9 pipe action csum ip4h pipe " + OUT, EOPNOTSUPP,
     "can't offload re-write of non TCP/UDP"),
    ("ip", "", "action pedit ex munge ip protocol set 17 pipe " + OUT, EOPNOTSUPP,
     "attempt to offload an unsupported field"),
    ("ip", "", "action csum ip4h pipe " + OUT, EOPNOTSUPP, "TC csum action is only offloaded with pedit"),
    ("ip", "", "action pedit ex munge ip ttl add 0xff pipe action csum icmp pipe " + OUT, EOPNOTSUPP,
     "can't offload TC csum action for some header/s"),
    # meters
    ("ip", "", "action police rate 1mbit burst 10k conform-exceed drop/continue", EOPNOTSUPP,
     "Offload not supported when conform action is not pipe or ok" if KERNEL < (6, 2) else
     "Offload not supported when conform-exceed action is not pipe, ok, jump or drop"),
    ("ip", "", "action police rate 1mbit burst 10k peakrate 2mbit mtu 1500 conform-exceed drop/pipe " + OUT, EOPNOTSUPP,
     "Offload not supported when peakrate/avrate/overhead is configured"),
    ("ip", "", "action police rate 1mbit burst 10k conform-exceed drop/pipe", EOPNOTSUPP,
     "Rule must have at least one forward/drop action"),
]


@pytest.fixture(scope="module")
def fates(world: World):
    """All of them in one batch: chain n of VF 0's representor."""
    w, nic = world, world.nic
    nic.fresh(w.rep[0])
    devices = {"rep": w.rep, "uplink": w.uplink, "wire": w.wire}
    lines = [f"filter add dev {w.rep[0]} ingress chain {n} protocol {proto} pref 1 flower skip_sw "
             f"{match.format(**devices)} {actions.format(**devices)}"
             for n, (proto, match, actions, _, _) in enumerate(REFUSED)]
    return list(zip(lines, nic.refusals(*lines)))


@pytest.mark.parametrize("n", range(len(REFUSED)), ids=[f"{m} {a}"[:60].replace(" ", "_") for _, m, a, _, _ in REFUSED])
def test_is_refused_in_the_drivers_words(world: World, fates, n: int) -> None:
    _, _, _, errno, said = REFUSED[n]
    line, fate = fates[n]
    old = "Match on frag first/later is not supported"
    said = said.format(flags=old if old in fate.said else "Unsupported match on control.flags 0x2")
    assert f"Error: mlx5_core: {said}" in fate.said, line
    assert fate.errno == errno, line


def test_what_they_vary_is_taken(clean: World) -> None:
    w = clean
    out = OUT.format(rep=w.rep)
    lines = [
        "protocol arp pref {n} flower skip_sw " + out,
        "protocol ip pref {n} flower skip_sw ip_proto tcp dst_port 1024/0xfc00 " + out,
        "protocol ip pref {n} flower skip_sw ip_flags frag " + out,
        f"protocol ip pref {{n}} flower skip_sw indev {w.rep[0]} dst_ip 10.0.0.1 " + out,
        "protocol ip pref {n} flower skip_sw ct_state +trk+est-rel-inv ct_mark 1/1 " + out,
        "protocol ip pref {n} flower skip_sw ct_state +trk+new ct_zone 5 " + out,
        "protocol ip pref {n} flower skip_sw ip_ttl 0/0xfe action goto chain 1",
        "protocol ipv6 pref {n} flower skip_sw ip_proto icmpv6 type 135 action goto chain 1",
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.2 action ct zone 1 nat pipe action goto chain 2",
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.3 action ct clear pipe " + out,
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.4 action pedit ex munge eth dst set 02:00:00:00:00:01 "
        "munge ip ttl add 0xff pipe action csum iph pipe " + out,
        "protocol ip pref {n} flower skip_sw ip_proto tcp action pedit ex munge ip dst set 10.9.9.9 "
        "munge tcp dport set 80 pipe action csum iph and tcp pipe " + out,
        "protocol 802.1Q pref {n} flower skip_sw vlan_id 4 vlan_prio 3 action vlan modify id 5 priority 3 pipe " + out,
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.5 action vlan push id 1 pipe action vlan push id 2 pipe " + out,
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.6 action trap",
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.7 action pass",
        "protocol ip pref {n} flower skip_sw dst_ip 10.0.0.8 action police rate 1mbit burst 10k conform-exceed drop/pipe " + out,
    ]
    clean.nic.tc(*(f"filter add dev {w.rep[0]} ingress " + line.format(n=n + 1) for n, line in enumerate(lines)))
    assert len(clean.nic.rules()) == len(lines)


def test_without_skip_sw_a_refused_rule_stays_in_software(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower ct_state +trk+rel action drop")
    assert nic.rules() == []
    assert "not_in_hw" in run("tc", "filter", "show", "dev", w.rep[0], "ingress").stdout


def test_the_core_refuses_what_has_no_hook(clean: World) -> None:
    [fate] = clean.nic.refusals(f"filter add dev {clean.rep[0]} egress protocol ip pref 1 flower skip_sw action drop")
    assert fate.said and fate.errno == 0


def test_a_device_with_its_offload_off_takes_nothing(clean: World) -> None:
    w = clean
    run("ethtool", "-K", w.rep[0], "hw-tc-offload", "off")
    [fate] = w.nic.refusals(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw action drop")
    run("ethtool", "-K", w.rep[0], "hw-tc-offload", "on")
    assert "TC offload is disabled on net device" in fate.said and fate.errno == EOPNOTSUPP


def test_tunnel_rules_without_their_port_are_refused(clean: World) -> None:
    nic = clean.nic
    run("ip", "link", "add", "esim-vx", "type", "vxlan", "external", "dstport", "4789")
    try:
        nic.tc("qdisc add dev esim-vx clsact")
        lines = [
            "filter add dev esim-vx ingress chain 1 protocol ip pref 1 flower verbose enc_key_id 5 enc_dst_ip 192.0.2.1 action drop",
            "filter add dev esim-vx ingress chain 2 protocol ip pref 1 flower verbose enc_key_id 5 enc_dst_port 4790 action drop",
            "filter add dev esim-vx ingress chain 3 protocol ip pref 1 flower verbose enc_key_id 5 enc_dst_port 4789 "
            "action tunnel_key unset pipe action goto chain 4",
            "filter add dev esim-vx ingress chain 5 protocol ip pref 1 flower verbose enc_key_id 5 enc_dst_port 4789 action drop",
        ]
        assert [f.errno for f in nic.refusals(*lines)] == [EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, 0]
        said = [line.split("text=")[1] if "text=" in line else line for line in nic.read("journal")]
        assert "mlx5_core: Failed to parse tunnel attributes" in said
        assert any("must include enc_dst_port condition" in line for line in said)
        assert any("is not registered as a VXLAN port" in line for line in said)
        assert "mlx5_core: Decap with goto isn't supported" in said
    finally:
        run("ip", "link", "del", "esim-vx")


# --- what depends on the card -----------------------------------------------------------------------------------

CAPABILITIES = [
    ("ignore_flow_level", "chain 4", "action drop", "Requested chain is out of supported range"),
    ("ignore_flow_level", "chain 3", "action goto chain 2", "Goto lower numbered chain isn't supported"),
    ("ignore_flow_level", "chain 3 pref 17", "action drop", "Requested priority is out of supported range"),
    ("reg_c1_loopback", "chain 1", "action drop", "Requested chain is out of supported range"),
    ("multi_fdb_encap", "chain 1", "action drop", "Requested chain is out of supported range"),
    ("multi_path", "chain 1", "action mirred egress mirror dev {rep[2]} pipe " + OUT,
     "current firmware doesn't support split rule for port mirroring"),
    ("vlan_actions", "chain 1", "action vlan push id 3 pipe " + OUT, "firmware vlan actions is not supported"),
    ("ct", "chain 1", "action ct zone 1 pipe action goto chain 2", "mlx5 tc ct offload isn't enabled."),
]


@pytest.mark.parametrize("cap,place,actions,said", CAPABILITIES, ids=[f"{c[0]}_{c[1]}" for c in CAPABILITIES])
def test_a_card_without_the_capability_refuses(clean: World, cap: str, place: str, actions: str, said: str) -> None:
    w, nic = clean, clean.nic
    place = place if "pref" in place else place + " pref 1"
    line = f"filter add dev {w.rep[0]} ingress {place} protocol ip flower skip_sw {actions.format(rep=w.rep)}"
    line = line.replace(f"{place} protocol ip", f"{place.split(' pref')[0]} protocol ip pref {place.split('pref ')[1]}")
    nic.write(f"caps/{cap}", 0)
    try:
        [fate] = nic.refusals(line)
    finally:
        nic.write(f"caps/{cap}", 1)
    assert f"mlx5_core: {said}" in fate.said and fate.errno == EOPNOTSUPP
    nic.tc(line)


def test_too_many_rewrites_do_not_fit(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.write("caps/max_modify_header_actions", 3)
    try:
        [fate] = nic.refusals(
            f"filter add dev {w.rep[0]} ingress chain 1 protocol ip pref 1 flower skip_sw action pedit ex munge eth src set "
            "02:00:00:00:00:01 munge eth dst set 02:00:00:00:00:02 pipe " + OUT.format(rep=w.rep))
    finally:
        nic.write("caps/max_modify_header_actions", 32)
    assert "too many pedit actions, can't offload" in fate.said and fate.errno == ENOSPC


def test_the_same_ct_rule_on_a_second_port_of_a_shared_block_fails(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.try_tc(*(f"qdisc del dev {rep} clsact" for rep in w.rep))
    nic.tc(*(f"qdisc add dev {rep} ingress_block 12 clsact" for rep in w.rep[:2]),
           "filter add block 12 protocol ip pref 1 flower action ct zone 9 nat pipe action goto chain 1",
           "filter add block 12 protocol ip pref 2 flower dst_ip 10.0.0.1 action drop")
    shown = run("tc", "filter", "show", "block", "12").stdout
    counts = [line.strip() for line in shown.splitlines() if "in_hw_count" in line]
    assert counts == ["in_hw in_hw_count 1", "in_hw in_hw_count 2"]
