"""What the simulated hardware does with frames; that a packet stayed in it is read from its counters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.packets import IP, UDP, VXLAN, Dot1Q, Ether, IPv6, Raw
from tests.vm.eswitch.card import WAIT, run
from tests.vm.eswitch.conftest import World

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def udp(sport: int = 1000, dport: int = 2000, *, ttl: int = 64, payload: bytes = b"sepal" * 10) -> Ether:
    return Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2", ttl=ttl) / UDP(sport=sport, dport=dport) / Raw(payload)


def test_a_redirect_stays_in_hardware_and_is_counted(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw dst_ip 10.0.0.2 "
           f"action mirred egress redirect dev {w.rep[1]}")
    before, target = nic.port(1), nic.port(2)["hw_out"]
    got = nic.send(w.vf[0], *[udp()] * 5, to=(w.vf[1], w.rep[0]))
    assert got == {w.vf[1]: [bytes(udp())] * 5, w.rep[0]: []}
    after = nic.port(1)
    assert after["hw_in"] - before["hw_in"] == 5 and after["miss_chain"] == before["miss_chain"]
    assert nic.port(2)["hw_out"] - target == 5
    # Firmware tells its counters once a second.
    end = time.monotonic() + WAIT
    shown = ""
    while time.monotonic() < end and "Sent hardware 460 bytes" not in shown:
        shown = run("tc", "-s", "filter", "show", "dev", w.rep[0], "ingress").stdout
    assert "in_hw in_hw_count 1" in shown and "Sent hardware 460 bytes 5 pkt" in shown


def test_a_miss_comes_to_the_representor_and_software_sends_it_on(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_hw "
           f"action mirred egress redirect dev {w.rep[1]}")
    before = nic.port(1)["miss_chain"], nic.port(2)["slow_tx"]
    assert nic.send(w.vf[0], udp(), to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]
    assert (nic.port(1)["miss_chain"], nic.port(2)["slow_tx"]) == (before[0] + 1, before[1] + 1)


def test_a_rule_without_a_vlan_key_does_not_match_tagged_frames(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol all pref 1 flower skip_sw src_mac {A} "
           f"action mirred egress redirect dev {w.rep[1]}")
    tagged = Ether(src=A, dst=B) / Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(b"x" * 40)
    assert nic.send(w.vf[0], tagged, to=(w.vf[1],))[w.vf[1]] == []
    # A rule without any key matches everything.
    nic.fresh(w.rep[0])
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol all pref 1 flower skip_sw action mirred egress redirect dev {w.rep[1]}")
    assert nic.send(w.vf[0], tagged, to=(w.vf[1],))[w.vf[1]] == [bytes(tagged)]


def test_rewriting_keeps_every_checksum_right(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw ip_proto udp "
           "action pedit ex munge eth src set 02:00:00:00:00:01 munge eth dst set 02:00:00:00:00:02 "
           "munge ip ttl add 0xff munge ip src set 192.0.2.9 munge udp dport set 4321 pipe action csum iph and udp pipe "
           f"action mirred egress redirect dev {w.rep[1]}")
    [frame] = nic.send(w.vf[0], udp(), to=(w.vf[1],))[w.vf[1]]
    wanted = (Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="192.0.2.9", dst="10.0.0.2", ttl=63)
              / UDP(sport=1000, dport=4321) / Raw(b"sepal" * 10))
    assert frame == bytes(wanted)
    # TTL 0 is sent as well: hardware does not look whether one has expired.
    [frame] = nic.send(w.vf[0], udp(ttl=1), to=(w.vf[1],))[w.vf[1]]
    assert IP(frame[14:]).ttl == 0


def test_tags_are_pushed_towards_the_wire_and_popped_from_it(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw action vlan push id 30 pipe "
           f"action mirred egress redirect dev {w.uplink}",
           f"filter add dev {w.uplink} ingress protocol 802.1Q pref 1 flower skip_sw vlan_id 30 vlan_ethtype ip "
           f"action vlan pop pipe action mirred egress redirect dev {w.rep[1]}")
    [frame] = nic.send(w.vf[0], udp(), to=(w.wire,))[w.wire]
    tagged = Ether(src=A, dst=B) / Dot1Q(vlan=30) / udp().payload
    assert frame == bytes(tagged)
    assert nic.send(w.wire, tagged, to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]


def test_a_mirror_sends_a_copy_and_goes_on(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw "
           f"action mirred egress mirror dev {w.rep[2]} pipe action mirred egress redirect dev {w.rep[1]}")
    got = nic.send(w.vf[0], udp(), to=(w.vf[1], w.vf[2]))
    assert got == {w.vf[1]: [bytes(udp())], w.vf[2]: [bytes(udp())]}


def test_chains_and_priorities_are_followed(clean: World) -> None:
    w, nic = clean, clean.nic
    to = "action mirred egress redirect dev"
    nic.tc(f"filter add dev {w.rep[0]} ingress chain 0 protocol ip pref 1 flower skip_sw action goto chain 100",
           f"filter add dev {w.rep[0]} ingress chain 100 protocol ip pref 2 flower skip_sw dst_ip 10.0.0.0/24 {to} {w.rep[2]}",
           f"filter add dev {w.rep[0]} ingress chain 100 protocol ip pref 1 flower skip_sw dst_ip 10.0.0.2 {to} {w.rep[1]}")
    got = nic.send(w.vf[0], udp(), to=(w.vf[1], w.vf[2]))
    assert got == {w.vf[1]: [bytes(udp())], w.vf[2]: []}
    assert nic.totals()["ambiguous"] == "0"


def test_a_software_rule_does_not_shadow_a_worse_one_in_hardware(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_hw dst_ip 10.0.0.2 action drop",
           f"filter add dev {w.rep[0]} ingress protocol ip pref 2 flower action mirred egress redirect dev {w.rep[1]}")
    assert nic.send(w.vf[0], udp(), to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]


def test_a_miss_in_a_chain_resumes_where_the_kernel_can(clean: World) -> None:
    w, nic = clean, clean.nic
    to = "action mirred egress redirect dev"
    nic.tc(f"filter add dev {w.rep[0]} ingress chain 0 protocol ip pref 1 flower skip_sw action goto chain 5",
           f"filter add dev {w.rep[0]} ingress chain 0 protocol ip pref 2 flower skip_hw {to} {w.rep[2]}",
           f"filter add dev {w.rep[0]} ingress chain 5 protocol ip pref 1 flower skip_hw {to} {w.rep[1]}")
    got = nic.send(w.vf[0], udp(), to=(w.vf[1], w.vf[2]))
    if nic.totals()["restart"] == "none":
        assert got == {w.vf[1]: [], w.vf[2]: [bytes(udp())]}
    else:
        assert got == {w.vf[1]: [bytes(udp())], w.vf[2]: []}


@pytest.mark.parametrize("unit", ["rate 8kbit burst 1000", "pkts_rate 10 pkts_burst 5"])
def test_police_lets_its_burst_through_and_drops_the_rest(clean: World, unit: str) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw action police {unit} "
           f"conform-exceed drop/pipe action mirred egress redirect dev {w.rep[1]}")
    before = nic.port(1)["drop_police"]
    # 78 bytes of IP each: 12 make 936 of 1000 bytes.
    got = nic.send(w.vf[0], *[udp()] * 40, to=(w.vf[1],))[w.vf[1]]
    assert 5 <= len(got) < 40
    assert nic.port(1)["drop_police"] - before == 40 - len(got)


def test_frames_longer_than_the_port_are_dropped(clean: World) -> None:
    w, nic = clean, clean.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw action mirred egress redirect dev {w.rep[1]}")
    run("ip", "link", "set", w.vf[0], "mtu", "3000")
    try:
        before = nic.port(1)["drop_mtu"]
        assert nic.send(w.vf[0], udp(payload=b"x" * 2000), to=(w.vf[1],))[w.vf[1]] == []
        assert nic.port(1)["drop_mtu"] == before + 1
    finally:
        run("ip", "link", "set", w.vf[0], "mtu", "1500")


# --- VXLAN ----------------------------------------------------------------------------------------------------

VTEP, REMOTE, REMOTE_MAC = "192.0.2.1", "192.0.2.2", "02:00:00:00:00:fe"


@pytest.fixture
def tunnel(clean: World):
    run("ip", "-batch", "-", text=f"addr add {VTEP}/24 dev {clean.uplink}\n"
        "link add esim-vxlan type vxlan external dstport 4789 noudpcsum\nlink set esim-vxlan up\n")
    clean.nic.tc("qdisc add dev esim-vxlan clsact")
    yield clean
    clean.nic.try_tc(*(f"qdisc del dev {d} clsact" for d in clean.rep))
    run("ip", "-batch", "-", text=f"link del esim-vxlan\naddr del {VTEP}/24 dev {clean.uplink}\n")


def wrapped(vni: int, inner: Ether, source: str = REMOTE) -> Ether:
    return Ether(src=REMOTE_MAC, dst="02:e5:17:00:00:00") / IP(src=source, dst=VTEP) / UDP(
        sport=50000, dport=4789, chksum=0) / VXLAN(vni=vni, flags=8) / inner


ENC = f"enc_key_id 100 enc_dst_ip {VTEP} enc_dst_port 4789"


def test_decapsulation_and_its_repeated_keys(tunnel: World) -> None:
    w, nic = tunnel, tunnel.nic
    nic.tc(f"filter add dev esim-vxlan ingress chain 0 protocol ip pref 1 flower {ENC} action goto chain 7",
           f"filter add dev esim-vxlan ingress chain 7 protocol ip pref 2 flower {ENC} dst_ip 10.0.0.2 "
           f"action tunnel_key unset pipe action mirred egress redirect dev {w.rep[1]}",
           # Without the source that chain 0 did not ask for either, it would be the same number.
           f"filter add dev esim-vxlan ingress chain 7 protocol ip pref 1 flower {ENC} enc_src_ip {REMOTE} "
           "dst_ip 10.0.0.2 action drop")
    assert all(rule["tunnel"] == "1" for rule in nic.rules()) and len(nic.rules()) == 3
    assert nic.send(w.wire, wrapped(100, udp()), to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]
    assert nic.send(w.wire, wrapped(101, udp()), to=(w.vf[1],))[w.vf[1]] == []


def test_an_uplink_rule_catches_decapsulated_packets_in_the_same_chain(tunnel: World) -> None:
    w, nic = tunnel, tunnel.nic
    nic.tc(f"filter add dev esim-vxlan ingress chain 0 protocol ip pref 1 flower {ENC} action goto chain 9",
           f"filter add dev {w.uplink} ingress chain 9 protocol ip pref 1 flower skip_sw dst_ip 10.0.0.2 "
           f"action mirred egress redirect dev {w.rep[2]}",
           f"filter add dev esim-vxlan ingress chain 9 protocol ip pref 2 flower {ENC} "
           f"action mirred egress redirect dev {w.rep[1]}")
    got = nic.send(w.wire, wrapped(100, udp()), to=(w.vf[1], w.vf[2]))
    assert got == {w.vf[1]: [], w.vf[2]: [bytes(udp())]}


def test_a_miss_behind_the_tunnel_comes_by_the_tunnel_device(tunnel: World) -> None:
    w, nic = tunnel, tunnel.nic
    redirect = f"action tunnel_key unset pipe action mirred egress redirect dev {w.rep[1]}"
    nic.tc(f"filter add dev esim-vxlan ingress chain 0 protocol ip pref 1 flower {ENC} action goto chain 7",
           f"filter add dev esim-vxlan ingress chain 7 protocol ip pref 2 flower skip_hw {ENC} {redirect}")
    before = nic.port(0)["miss_chain"]
    assert nic.send(w.wire, wrapped(100, udp()), to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]
    assert nic.port(0)["miss_chain"] == before + 1


def test_skip_sw_is_never_possible_on_a_tunnel_device(tunnel: World) -> None:
    [refused] = tunnel.nic.refusals(
        f"filter add dev esim-vxlan ingress protocol ip pref 1 flower skip_sw {ENC} action drop")
    assert refused.said and refused.errno == 0


def test_encapsulation_waits_for_the_neighbour(tunnel: World) -> None:
    w, nic = tunnel, tunnel.nic
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw "
           f"action tunnel_key set id 100 src_ip {VTEP} dst_ip {REMOTE} dst_port 4789 nocsum pipe "
           "action mirred egress redirect dev esim-vxlan")
    [encap] = nic.read("encaps")
    assert "state=slow" in encap
    before = nic.port(1)["miss_slow"]
    assert all(f[12:14] == b"\x08\x06" for f in nic.send(w.vf[0], udp(), to=(w.wire,))[w.wire])
    assert nic.port(1)["miss_slow"] == before + 1
    run("ip", "neigh", "replace", REMOTE, "lladdr", REMOTE_MAC, "dev", w.uplink, "nud", "permanent")
    end = time.monotonic() + WAIT
    while "state=slow" in nic.read("encaps")[0] and time.monotonic() < end:
        time.sleep(0.02)
    [frame] = [f for f in nic.send(w.vf[0], udp(), to=(w.wire,))[w.wire] if f[12:14] == b"\x08\x00"]
    outer = Ether(frame)
    assert (outer.src, outer.dst) == ("02:e5:17:00:00:00", REMOTE_MAC)
    assert (outer[IP].src, outer[IP].dst, outer[UDP].dport, outer[UDP].chksum) == (VTEP, REMOTE, 4789, 0)
    assert frame[42:50] == bytes.fromhex("0800000000006400") and frame[50:] == bytes(udp())
    sum_right = IP(bytes(outer[IP]))
    del sum_right.chksum
    assert bytes(sum_right) == bytes(outer[IP])
    assert nic.port(1)["miss_slow"] == before + 1
    run("ip", "neigh", "del", REMOTE, "dev", w.uplink)


def test_an_ipv6_underlay_works_both_ways(tunnel: World) -> None:
    w, nic = tunnel, tunnel.nic
    here, there = "2001:db8::1", "2001:db8::2"
    Path(f"/proc/sys/net/ipv6/conf/{w.uplink}/disable_ipv6").write_text("0\n")
    run("ip", "-batch", "-", text=f"addr add {here}/64 dev {w.uplink} nodad\n"
        f"neigh replace {there} lladdr {REMOTE_MAC} dev {w.uplink} nud permanent\n")
    nic.tc(f"filter add dev {w.rep[0]} ingress protocol ip pref 1 flower skip_sw "
           f"action tunnel_key set id 100 src_ip {here} dst_ip {there} dst_port 4789 nocsum pipe "
           "action mirred egress redirect dev esim-vxlan",
           f"filter add dev esim-vxlan ingress protocol ip pref 1 flower enc_key_id 100 enc_dst_ip {here} enc_dst_port 4789 "
           f"action tunnel_key unset pipe action mirred egress redirect dev {w.rep[1]}")
    [frame] = [f for f in nic.send(w.vf[0], udp(), to=(w.wire,))[w.wire] if f[12:14] == b"\x86\xdd" and f[20] == 17]
    outer = Ether(frame)
    assert (outer[IPv6].src, outer[IPv6].dst, outer[UDP].chksum, frame[70:]) == (here, there, 0, bytes(udp()))
    back = Ether(src=REMOTE_MAC, dst=outer.src) / IPv6(src=there, dst=here) / UDP(
        sport=50000, dport=4789, chksum=0) / VXLAN(vni=100, flags=8) / udp()
    assert nic.send(w.wire, back, to=(w.vf[1],))[w.vf[1]] == [bytes(udp())]
    run("ip", "addr", "del", f"{here}/64", "dev", w.uplink)
