"""Connections in the simulated hardware: from act_ct's flow table into its own, with translation, and back out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.lab.packets import ICMP, IP, TCP, UDP, Ether, IPv6, Raw
from tests.vm.eswitch.card import WAIT
from tests.vm.eswitch.conftest import World

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
ZONES = iter(range(100, 200))  # one per test: connections outlive the rules


@dataclass
class Flow:
    """A client behind VF 0 that a server behind VF 1 sees as `public`, and their frames."""

    v6: bool = False
    tcp: bool = False

    @property
    def addresses(self) -> tuple[str, str, str]:
        return ("fd00::1", "fd00::2", "2001:db8::5") if self.v6 else ("10.0.0.1", "10.0.0.2", "203.0.113.5")

    def _frame(self, src: str, dst: str, sport: int, dport: int, macs: tuple[str, str], **tcp: object) -> bytes:
        ip = (IPv6 if self.v6 else IP)(src=src, dst=dst)
        l4 = TCP(sport=sport, dport=dport, **tcp) if self.tcp else UDP(sport=sport, dport=dport)
        load = Raw(b"sepal" * 10) if tcp.get("flags", "A") == "A" else Raw(b"")
        return bytes(Ether(src=macs[0], dst=macs[1]) / ip / l4 / load)

    def request(self, **tcp: object) -> tuple[bytes, bytes]:
        """As the client sends it, as the server gets it."""
        client, server, public = self.addresses
        return (self._frame(client, server, 1000, 2000, (A, B), **tcp),
                self._frame(public, server, 3000, 2000, (A, B), **tcp))

    def answer(self, **tcp: object) -> tuple[bytes, bytes]:
        client, server, public = self.addresses
        return (self._frame(server, public, 2000, 3000, (B, A), **tcp),
                self._frame(server, client, 2000, 1000, (B, A), **tcp))


def rules(w: World, flow: Flow, zone: int, established: str = "", flags: str = "") -> list[str]:
    """ct in chain 0, what is established in chain 2 (`established` in place of the redirect), new in software."""
    proto, public = "ipv6" if flow.v6 else "ip", flow.addresses[2]
    lines = []
    for a, b in ((0, 1), (1, 0)):
        to = f"action mirred egress redirect dev {w.rep[b]}"
        on = f"filter add dev {w.rep[a]} ingress"
        lines += [
            f"{on} chain 0 protocol {proto} pref 1 flower action ct zone {zone} nat pipe action goto chain 2",
            f"{on} chain 2 protocol {proto} pref 1 flower {flags} ct_state +trk+est {established or to}",
            f"{on} chain 2 protocol {proto} pref 2 flower skip_hw ct_state +trk+new action ct commit zone {zone} "
            f"nat src addr {public} port 3000-3000 pipe {to}",
        ]
    return lines


def establish(w: World, flow: Flow) -> None:
    """Talks until both directions are in hardware."""
    nic = w.nic
    ask, reply = {}, {}
    if flow.tcp:
        for device, far, (sent, got) in ((0, 1, flow.request(flags="S", seq=99)),
                                         (1, 0, flow.answer(flags="SA", seq=299, ack=100))):
            assert nic.send(w.vf[device], sent, to=(w.vf[far],))[w.vf[far]] == [got]
        ask, reply = {"flags": "A", "seq": 100, "ack": 300}, {"flags": "A", "seq": 300, "ack": 100}
    end = time.monotonic() + 15
    while len(nic.read("ct")) < 2 and time.monotonic() < end:
        sent, got = flow.request(**ask)
        assert nic.send(w.vf[0], sent, to=(w.vf[1],))[w.vf[1]] == [got]
        sent, got = flow.answer(**reply)
        assert nic.send(w.vf[1], sent, to=(w.vf[0],))[w.vf[0]] == [got]
        time.sleep(0.2)
    assert len(nic.read("ct")) == 2


FLOWS = [Flow(), Flow(v6=True), Flow(tcp=True), Flow(v6=True, tcp=True)]


@pytest.mark.parametrize("flow", FLOWS, ids=["udp", "udp6", "tcp", "tcp6"])
def test_an_established_connection_is_translated_in_hardware(clean: World, flow: Flow) -> None:
    w, nic = clean, clean.nic
    nic.tc(*rules(w, flow, next(ZONES)))
    establish(w, flow)
    tcp = {"flags": "A", "seq": 100, "ack": 300} if flow.tcp else {}
    before = nic.port(1), nic.port(2)
    sent, got = flow.request(**tcp)
    assert nic.send(w.vf[0], *[sent] * 20, to=(w.vf[1],))[w.vf[1]] == [got] * 20
    tcp = {"flags": "A", "seq": 300, "ack": 100} if flow.tcp else {}
    sent, got = flow.answer(**tcp)
    assert nic.send(w.vf[1], *[sent] * 20, to=(w.vf[0],))[w.vf[0]] == [got] * 20
    after = nic.port(1), nic.port(2)
    for old, new in zip(before, after):
        assert new["hw_in"] == old["hw_in"] + 20
        assert all(new[k] == old[k] for k in old if k.startswith("miss_") or k == "slow_tx")


def test_the_end_of_a_connection_goes_through_software_and_out_of_hardware(clean: World) -> None:
    w, nic, flow = clean, clean.nic, Flow(tcp=True)
    nic.tc(*rules(w, flow, next(ZONES)))
    establish(w, flow)
    before = nic.port(1)["miss_ct"]
    sent, got = flow.request(flags="FA", seq=100, ack=300)
    assert nic.send(w.vf[0], sent, to=(w.vf[1],))[w.vf[1]] == [got]
    assert nic.port(1)["miss_ct"] == before + 1
    end = time.monotonic() + WAIT
    while nic.read("ct") and time.monotonic() < end:
        time.sleep(0.1)
    assert nic.read("ct") == []


def test_echoes_are_never_in_hardware(clean: World) -> None:
    w, nic, flow = clean, clean.nic, Flow()
    nic.tc(*rules(w, flow, next(ZONES)))
    before = nic.port(1)["miss_ct"]
    frames = [Ether(src=A, dst=B) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7, seq=n) / Raw(b"echo" * 10) for n in range(4)]
    assert len(nic.send(w.vf[0], *frames, to=(w.vf[1],))[w.vf[1]]) == 4
    assert nic.port(1)["miss_ct"] == before + 4 and nic.read("ct") == []


def test_a_connection_that_hardware_does_not_take_stays_right_in_software(clean: World) -> None:
    w, nic, flow = clean, clean.nic, Flow()
    nic.write("cap_ct", 0)
    try:
        nic.tc(*rules(w, flow, next(ZONES)))
        for _ in range(8):
            sent, got = flow.request()
            assert nic.send(w.vf[0], sent, to=(w.vf[1],))[w.vf[1]] == [got]
            sent, got = flow.answer()
            assert nic.send(w.vf[1], sent, to=(w.vf[0],))[w.vf[0]] == [got]
            time.sleep(0.4)
        assert any("ct_add" in line and "result=-28" in line for line in nic.read("journal"))
        assert nic.read("ct") == []
    finally:
        nic.write("cap_ct", 1 << 20)


def test_a_zone_without_an_offloaded_rule_has_no_connections_in_hardware(clean: World) -> None:
    w, nic, flow = clean, clean.nic, Flow()
    nic.tc(*(line if "skip_hw" in line else line.replace(" flower ", " flower skip_hw ")
             for line in rules(w, flow, next(ZONES))))
    for _ in range(8):
        sent, got = flow.request()
        assert nic.send(w.vf[0], sent, to=(w.vf[1],))[w.vf[1]] == [got]
        sent, got = flow.answer()
        assert nic.send(w.vf[1], sent, to=(w.vf[0],))[w.vf[0]] == [got]
        time.sleep(0.3)
    assert nic.read("ct") == []


# --- what software is given when hardware leaves off behind ct ---------------------------------------------------


@pytest.fixture
def restoring(clean: World) -> World:
    if clean.nic.totals()["restart"] == "none":
        pytest.skip("this kernel restores neither chains nor connections: it has no NET_TC_SKB_EXT")
    return clean


def test_a_miss_behind_a_hit_comes_up_with_chain_and_connection(restoring: World) -> None:
    w, nic, flow = restoring, restoring.nic, Flow()
    nic.tc(*rules(w, flow, next(ZONES), flags="skip_hw"))
    establish(w, flow)
    before = nic.port(1)
    sent, got = flow.request()
    assert nic.send(w.vf[0], *[sent] * 5, to=(w.vf[1],))[w.vf[1]] == [got] * 5
    after = nic.port(1)
    assert (after["miss_chain"] - before["miss_chain"], after["miss_ct"] - before["miss_ct"]) == (5, 0)


def test_an_address_rewritten_behind_a_hit_loses_the_packet_at_a_miss(restoring: World) -> None:
    w, nic, flow = restoring, restoring.nic, Flow()
    nic.tc(*rules(w, flow, next(ZONES)))
    establish(w, flow)
    nic.tc(f"filter del dev {w.rep[0]} ingress chain 2 protocol ip pref 1",
           f"filter add dev {w.rep[0]} ingress chain 2 protocol ip pref 1 flower ct_state +trk+est ip_proto udp "
           "action pedit ex munge ip dst set 10.0.0.77 pipe action csum iph and udp pipe action goto chain 3",
           f"filter add dev {w.rep[0]} ingress chain 3 protocol ip pref 1 flower skip_hw "
           f"action mirred egress redirect dev {w.rep[1]}")
    before = nic.port(1)["drop_restore"]
    assert nic.send(w.vf[0], flow.request()[0], to=(w.vf[1],))[w.vf[1]] == []
    assert nic.port(1)["drop_restore"] == before + 1
