"""Ways from one guest to another on one machine, to be compared in one boot: a bare redirect, a bridge with nftables, Open
vSwitch, sepal. Each has two guests of its own; the frames of tests/bench/generator.cpp go from one to the other.

What a guest receives ends before its own network stack, which would answer, the same way for all."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import Namespace

from .bed import TMP, program
from .hypervisor import GATEWAY_MAC, Hypervisor, Tenant
from .openvswitch import OpenVSwitch, contender, libraries, need_module

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:0b:01", "02:00:00:00:0b:02"
SERVICE, SOURCES = 8000, 60_000  # as the generator numbers its flows
SERVICES = 100  # ports that policies allow, beginning with the first
NOTED_SECONDS = 30  # how long sepal's notes are kept

TABLE = """\
table bridge filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state new accept
  }
}
"""


@dataclass
class Notes:
    """What sepal remembers of datagrams that it let go past conntrack."""

    _gone: float = 0  # by the monotonic clock

    def wait(self) -> None:
        time.sleep(max(0.0, self._gone - time.monotonic()))

    def taken(self) -> None:
        self._gone = time.monotonic() + NOTED_SECONDS


@dataclass
class Contender:
    """A run's flows are none of an earlier run, but for where `forget` leaves nothing of those at all (`again`). What a run of
    datagrams leaves in `notes`, the next one that leaves its own there waits for."""

    namespace: Namespace  # where conntrack and the switch are
    client: str  # ends, in the generator's words
    server: str
    again: bool = False
    switch: OpenVSwitch | None = None
    notes: Notes | None = None
    used: int = field(default=0, init=False)

    def run(self, command: str, **options: float) -> dict[str, Any]:
        """One run of the generator, and what the switch had to do for it: `tracked` connections, `asked` user space."""
        asked = self.switch.missed() if self.switch else 0
        notes = self.notes if command == "datagrams" else None
        if notes:
            notes.wait()
        told = self.generate(command, **options)
        if notes:
            notes.taken()
        told["tracked"] = self._tracked()
        told["asked"] = self.switch.missed() - asked if self.switch else 0
        self.forget()
        return told

    def generate(self, command: str, **options: float) -> dict[str, Any]:
        options.setdefault("flows", SOURCES - 100)  # some come before the count begins
        words = [program("sepal-generator"), command, self.client, self.server, f"first={self.used}"]
        told = generated([*words, *(f"{name}={value}" for name, value in options.items())])
        if not self.again:
            self.used = (self.used + told["flows"]) % (SOURCES * (SERVICES - 2))
        return told

    def forget(self) -> None:
        """No connection is left of a run; nor is work on one, which would fall into the next contender's run: up to a second
        after its connection, a flow table lets go of a flow."""
        self.namespace.run("conntrack -F")
        if self.switch:
            self.switch.forget()
        deadline = time.monotonic() + 10
        while self._tracked() > 0 and time.monotonic() < deadline:
            time.sleep(0.1)

    def _tracked(self) -> int:
        with self.namespace.enter():
            return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def generated(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def end(namespace: Namespace, mac: str, next_hop: str, *addresses: str) -> str:
    return ",".join([f"/run/netns/{namespace.name}", mac, next_hop, *addresses])


def deafen(guest: Namespace) -> None:
    """What arrives at eth0 is seen by packet sockets and by nobody else."""
    guest.run(["tc", "-batch", "-"], input="qdisc add dev eth0 clsact\nfilter add dev eth0 ingress matchall action drop\n")


class Switches:
    """`with Switches() as switches`: makes contenders; ends and removes all of them at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Switches:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def redirect(self, masks: int = 0) -> Contender:
        """The floor: frames change the device and that is all; behind so many flower rules, each with a mask of its own, that no
        frame matches."""
        made = self._make(f"redirect{masks}")
        lines = []
        for here, there in (("a", "b"), ("b", "a")):
            lines.append(f"qdisc add dev {here} clsact\n")
            lines += [f"filter add dev {here} ingress prio {n + 1} protocol ip flower dst_ip 203.0.113.0/{24 + n} action drop\n" for n in range(masks)]
            lines.append(f"filter add dev {here} ingress prio 100 matchall action mirred egress redirect dev {there}\n")
        made.namespace.run(["tc", "-batch", "-"], input="".join(lines))
        return made

    def bridge(self) -> Contender:
        need_module("nf_conntrack_bridge")
        made = self._make("bridge")
        made.namespace.run(["ip", "-batch", "-"], input="link add name br0 type bridge mcast_snooping 0\nlink set dev a master br0\n"
                           "link set dev b master br0\nlink set dev br0 up\n")
        made.namespace.run([contender("nft"), "-f", "-"], input=TABLE, env=libraries())
        return made

    def datapath(self) -> Contender:
        """Open vSwitch as it is fastest: any connection may begin, so that its kernel datapath decides alone."""
        made = self._make("datapath")
        begins = "table=1,priority=10,ip,ct_state=+trk+new,in_port=1,actions=ct(commit),output:2"
        made.switch = self._open_vswitch(made, [begins])
        return made

    def router(self) -> Contender:
        """Open vSwitch that does with a packet what sepal does: looks whose it is, gives it new MAC addresses and a smaller TTL."""
        made = self._make("router", next_hop=GATEWAY_MAC)
        ends = ((1, 2, CLIENT_MAC, CLIENT, SERVER_MAC), (2, 1, SERVER_MAC, SERVER, CLIENT_MAC))
        flows = []
        for here, there, mac, address, to in ends:
            out = f"mod_dl_src:{GATEWAY_MAC},mod_dl_dst:{to},dec_ttl,output:{there}"
            flows.append(f"table=0,priority=10,ip,in_port={here},dl_src={mac},nw_src={address},actions=ct(table=1)")
            flows.append(f"table=1,priority=20,ip,ct_state=+trk+est,in_port={here},actions={out}")
            if here == 1:
                flows.append(f"table=1,priority=10,ip,ct_state=+trk+new,in_port=1,actions=ct(commit),{out}")
        made.switch = self._run_switch(made, flows)
        return made

    def act_ct(self) -> Contender:
        """The least that flower and act_ct can be: two chains, one rule for what is established and one for what is new. They
        look at the state and nothing else: an `eth_type` beside it makes the mask 56 times as long."""
        made = self._make("actct")
        made.namespace.run(["tc", "-batch", "-"], input="".join(
            f"qdisc add dev {here} clsact\n"
            f"filter add dev {here} ingress prio 1 protocol all matchall action ct zone 1 pipe action goto chain 1\n"
            f"filter add dev {here} ingress chain 1 prio 1 protocol all flower ct_state +trk+est action mirred egress redirect dev {there}\n"
            f"filter add dev {here} ingress chain 1 prio 2 protocol all flower ct_state +trk+new action ct commit zone 1 pipe "
            f"action mirred egress redirect dev {there}\n"
            for here, there in (("a", "b"), ("b", "a"))))
        return made

    def act_ct_router(self) -> Contender:
        """The least that flower and act_ct can be that does with a packet what sepal does: one rule looks whose it is, one at the
        state, one finds the way and gives it new MAC addresses and a smaller TTL. Each mask is as short as it can be."""
        made = self._make("actctr", next_hop=GATEWAY_MAC)
        ends = (("a", "b", CLIENT_MAC, CLIENT, SERVER_MAC, SERVER), ("b", "a", SERVER_MAC, SERVER, CLIENT_MAC, CLIENT))
        made.namespace.run(["tc", "-batch", "-"], input="".join(
            f"qdisc add dev {here} clsact\n"
            f"filter add dev {here} ingress prio 1 protocol ip flower src_mac {mac} src_ip {address} action ct zone 1 pipe action goto chain 1\n"
            f"filter add dev {here} ingress chain 1 prio 1 protocol all flower ct_state +trk+est action goto chain 2\n"
            f"filter add dev {here} ingress chain 1 prio 2 protocol all flower ct_state +trk+new action ct commit zone 1 pipe "
            f"action goto chain 2\n"
            f"filter add dev {here} ingress chain 2 prio 1 protocol ip flower dst_ip {to} action pedit ex munge eth src set {GATEWAY_MAC} "
            f"munge eth dst set {to_mac} munge ip ttl add 255 pipe action csum ip4h pipe action mirred egress redirect dev {there}\n"
            for here, there, mac, address, to_mac, to in ends))
        return made

    def policy(self) -> Contender:
        """Open vSwitch with rules about all of the five-tuple: what its kernel datapath learns from one connection says nothing
        about the next, so that each asks ovs-vswitchd. In two tables: 1,024 rules do it, not one for each source port."""
        made = self._make("policy")
        made.again = True  # its rules are about one destination port
        begins = []
        for protocol in ("tcp", "udp"):
            new = f"{protocol},ct_state=+trk+new,in_port=1,nw_src={CLIENT},nw_dst={SERVER},tp_dst={SERVICE}"
            begins += [f"table=1,priority=10,{new},tp_src={byte << 8}/0xff00,actions=resubmit(,2)" for byte in range(256)]
            begins += [f"table=2,priority=10,{new},tp_src={byte}/0x00ff,actions=ct(commit),output:2" for byte in range(256)]
        made.switch = self._open_vswitch(made, begins)
        return made

    def sepal(self, rules: dict[str, int]) -> dict[str, Contender]:
        """One hypervisor, a tenant of two ports for each name; so many rules in the tenant's security groups."""
        groups = {"a": "security_groups: [clients]", "b": "security_groups: [servers]"}
        lab = self._stack.enter_context(Hypervisor("first", [Tenant(name, "ab", groups, _rules(count)) for name, count in rules.items()]))
        for name in rules:
            for port in "ab":
                deafen(lab.guest(name, port))
        notes = Notes()  # the host's, whoever took them
        return {name: Contender(lab.ns("h1"), lab.end(name, "a"), lab.end(name, "b"), notes=notes) for name in rules}

    def void(self) -> Contender:
        """Where frames end as soon as they are sent."""
        made = self._make("void")
        made.namespace.run(["tc", "-batch", "-"], input="qdisc add dev a clsact\nfilter add dev a ingress matchall action drop\n")
        return made

    def _make(self, name: str, next_hop: str | None = None) -> Contender:
        """Namespaces of a switch and of two guests, whose other ends are its devices `a` and `b`."""
        prefix = f"bench-{os.getpid()}-{name}"
        spaces = []
        for suffix in ("", "-a", "-b"):
            spaces.append(Namespace.create(prefix + suffix))
            self._stack.callback(Namespace.remove, prefix + suffix)
            for scope in ("all", "default"):
                spaces[-1].sysctl(f"net/ipv6/conf/{scope}/disable_ipv6", 1)
        switch, *guests = spaces
        macs = (CLIENT_MAC, SERVER_MAC)
        switch.run(["ip", "-batch", "-"], input="".join(
            f"link add name {device} type veth peer name eth0 address {mac} netns {guest.name}\nlink set dev {device} up\n"
            for device, mac, guest in zip("ab", macs, guests)))
        for guest in guests:
            guest.run("ip link set eth0 up")
            deafen(guest)
        return Contender(switch, end(guests[0], macs[0], next_hop or macs[1], CLIENT), end(guests[1], macs[1], next_hop or macs[0], SERVER))

    def _open_vswitch(self, made: Contender, begins: list[str]) -> OpenVSwitch:
        flows = ["table=0,priority=10,ip,actions=ct(table=1)", "table=1,priority=30,ip,ct_state=+trk+inv,actions=drop"]
        flows += [f"table=1,priority=20,ip,ct_state=+trk+est,in_port={here},actions=output:{there}" for here, there in ((1, 2), (2, 1))]
        return self._run_switch(made, flows + begins)

    def _run_switch(self, made: Contender, flows: list[str]) -> OpenVSwitch:
        switch = OpenVSwitch(made.namespace, TMP / made.namespace.name, ["a", "b"], flows)
        self._stack.callback(switch.close)
        return switch


def _rules(count: int) -> list[str]:
    """Half of them are the clients' and half the servers'. Two of each half are about what the generator sends; the others
    are about so many other ports and networks."""
    lines = []
    for group, direction, other in (("clients", "egress", "to"), ("servers", "ingress", "from")):
        lines += [f"  {group}:", f"    {direction}:"]
        rules = [(protocol, f"{SERVICE}-{SERVICE + SERVICES - 1}", "10.0.0.0/24") for protocol in ("tcp", "udp")]
        rules += [(("tcp", "udp")[n % 2], str(10_000 + n), f"10.{1 + n // 250}.{n % 250}.0/24") for n in range(count // 2 - len(rules))]
        lines += [f"      - {{protocol: {protocol}, ports: {ports}, {other}: {network}}}" for protocol, ports, network in rules]
    return lines
