"""sepalctl drops --follow: packets as they are dropped, by whose rule and why."""

import contextlib
import json
import signal
import subprocess

import pytest

from tests.lab.agent import program
from tests.lab.packets import IP, UDP, Ether
from tests.vm import traffic
from tests.vm.test_forged import FORGED_NEIGHBOURS, FROM_A_GUEST, GATEWAY, HONEST_NEIGHBOURS, echo, tunnelled
from tests.vm.test_limits import begin
from tests.vm.test_limits_of_a_packet import errors
from tests.vm.test_not_sent import down
from tests.vm.test_security_groups import APP, BOTH, DB, with_groups

pytestmark = pytest.mark.usefixtures("agents")


class Follower:
    def __init__(self, lab, host, config, *options):
        command = [program("sepalctl"), "--instance", lab.instance(host), "drops", "--follow", "--config", str(config.path), *options]
        self.process = lab.ns(host).popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = self.process.stderr.readline()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, self.ready + err
        return out.splitlines()


@pytest.fixture
def follow(lab, configs):
    @contextlib.contextmanager
    def begin_and_end(*options, told):
        """What was dropped while the body ran is in `told`."""
        follower = Follower(lab, "h1", configs["h1"], *options)
        assert "watching dropped packets" in follower.ready, follower.ready
        try:
            yield
        except BaseException:
            follower.process.kill()
            raise
        told.extend(follower.end())

    return begin_and_end


def with_limits(h1, name, **limits):
    document = h1.read("blue")
    for port in document["ports"]:
        if port["name"] == name:
            port["limits"] = limits
    h1.write("blue", document)
    h1.reload()


def parsed(lines):
    return [json.loads(line) for line in lines[:-1]], json.loads(lines[-1])


@pytest.mark.smoke
def test_each_packet_is_named_with_port_and_reason(lab, follow):
    lines = []
    with follow("--json", told=lines):
        lab.ns("blue-web").send("eth0", FROM_A_GUEST["a forged source address"])
        lab.ns("blue-web").send("eth0", FROM_A_GUEST["a tagged frame"])
        lab.ns("wan").send("eth0", tunnelled(300, Ether(src=GATEWAY, dst=GATEWAY) / echo("10.0.0.2", "10.0.0.1")))
        assert lab.ns("blue-app").ping(DB[4]).ok, "nothing is said of what passes"
    drops, total = parsed(lines)
    spoofed = [d for d in drops if d["reasons"] == ["spoofed"]]
    assert [(d["tenant"], d["where"]) for d in spoofed] == [("blue", "port blue-web")] * 2
    assert (spoofed[0]["source"], spoofed[0]["destination"], spoofed[0]["protocol"]) == ("10.0.0.3", "10.0.0.2", "icmp")
    assert "vlan 40" in spoofed[1]["packet"]
    unknown = [d for d in drops if d["reasons"] == ["unknown-vni"]]
    assert [(d["where"], d["tunnel_vni"]) for d in unknown] == [("tunnel", 300)]
    assert total == {"shown": len(drops), "not_shown": 0}
    # What was forged comes from web's port. The guests' kernels may say something of their own meanwhile, but no IPv4 ICMP.
    elsewhere = [d for d in drops if d.get("protocol") == "icmp" and d["where"] != "port blue-web"]
    assert [d for d in elsewhere if APP[4] in (d["source"], d["destination"])] == []
    assert [d for d in drops if len(d["reasons"]) != 1] == []


def test_what_a_guest_forged_of_neighbours_is_told_from_what_nobody_answers(lab, follow):
    lines = []
    with follow("--json", "--tenant", "blue", told=lines):
        lab.ns("blue-web").send("eth0", FORGED_NEIGHBOURS["an ARP reply for a neighbour"])
        lab.ns("blue-web").send("eth0", FORGED_NEIGHBOURS["an advertisement of a neighbour's address"])
        lab.ns("blue-web").send("eth0", HONEST_NEIGHBOURS["an announcement"])
        assert lab.ns("blue-app").ping(DB[4]).ok
    drops, _ = parsed(lines)
    spoofed = [d["packet"] for d in drops if (d["where"], d["reasons"]) == ("port blue-web", ["spoofed"])]
    assert len(spoofed) == 2
    assert "arp 10.0.0.3 is-at 02:00:00:00:01:01" in spoofed[0] and "says it has fd00:100::2" in spoofed[1]
    announced = [d for d in drops if "arp who-has 10.0.0.1 tell 10.0.0.1" in d["packet"]]
    assert [d["reasons"] for d in announced] == [["not-answered"]]


def test_an_expired_ttl_of_which_nothing_is_said_has_one_reason(lab, reconfigure, follow, forge):
    lines = []
    with reconfigure("h1") as h1:
        with_limits(h1, "blue-web", arp_nd_per_second=1)
        # What was told is with the guest before the follower has ended.
        with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer, follow("--json", told=lines):
            for port in range(20):
                forge("blue-web", DB[4], IP(src="10.0.0.1", dst=DB[4], ttl=1) / UDP(sport=33000, dport=33500 + port) / b"where?")
    drops, total = parsed(lines)
    expired = [d for d in drops if d["reasons"] == ["ttl-expired"]]
    assert {(d["where"], d["source"]) for d in expired} == {("port blue-web", "10.0.0.1")}
    assert total["not_shown"] == 0
    # One a second is told, and none when the token of this second was used before.
    told = [quoted for _, quoted in errors(sniffer.packets()) if quoted.dst == DB[4]]
    assert len(told) + len(expired) == 20, "a packet whose sender is told is redirected, not dropped"
    assert len(expired) >= 10
    assert [d for d in drops if len(d["reasons"]) != 1] == []


def test_one_tenants_flood_hides_nothing_of_another(lab, follow):
    lines = []
    flood = bytes(Ether(src="02:00:00:00:02:01", dst=GATEWAY) / echo(source="10.0.0.99"))
    with follow("--json", "--tenant", "blue", "--limit", "10", told=lines):
        for _ in range(3):
            for _ in range(100):
                lab.ns("green-web").send("eth0", flood)
            lab.ns("blue-web").send("eth0", FROM_A_GUEST["a forged source address"])
    drops, total = parsed(lines)
    assert {d["tenant"] for d in drops} == {"blue"}
    assert len([d for d in drops if d["reasons"] == ["spoofed"]]) == 3
    assert total["not_shown"] < 100, "of green's none is counted"


@pytest.mark.smoke
@BOTH
def test_of_what_security_groups_deny_the_rule_is_named(lab, reconfigure, follow, version):
    lines = []
    with reconfigure("h1") as h1:
        with_groups(h1, {"app": {"ingress": [{"protocol": "tcp", "ports": 22, "from": "any", "action": "deny", "priority": 5},
                                             {"from": "any"}]}}, app=["app"])
        with follow("--json", "--tenant", "blue", told=lines):
            assert traffic.tcp_refused(lab.ns("blue-db"), APP[version], 22, timeout=1.5)
            assert traffic.tcp_refused(lab.ns("blue-app"), DB[version], 7001, timeout=1.5)
    drops, _ = parsed(lines)
    denied = {d["rule"]: d for d in drops if d["reasons"] == ["denied"]}
    assert set(denied) == {"group app, ingress: deny tcp 22 from any, priority 5", "egress: no rule of its groups matches"}
    first = denied["group app, ingress: deny tcp 22 from any, priority 5"]
    assert (first["tenant"], first["source"], first["destination"], first["destination_port"]) == ("blue", DB[version], APP[version], 22)
    assert "blue.yaml:" in first["at"]


def test_what_is_for_a_device_that_is_down_is_named_with_its_sender(lab, follow):
    lines = []
    with down(lab.ns("h1"), "blue-app"):
        with follow("--json", "--tenant", "blue", told=lines):
            begin(lab.ns("blue-web"), lab.ns("blue-app"), APP[4], 7645, 5)
    lab.wait_until(lambda: lab.ns("blue-web").ping(APP[4], timeout=1).ok, 10, "an answer of the port that is up again")
    drops, _ = parsed(lines)
    unsent = [(d["where"], d["source"], d["destination"], d["destination_port"]) for d in drops if d["reasons"] == ["not-sent"]]
    assert unsent == [("port blue-web", "10.0.0.1", APP[4], 7645)] * 5
    assert [d for d in drops if len(d["reasons"]) != 1] == []


def test_beyond_a_ports_limit_and_beyond_what_is_shown(lab, reconfigure, follow):
    lines = []
    with reconfigure("h1") as h1:
        with_limits(h1, "blue-web", new_connections_per_second=5)
        with follow("--json", "--limit", "10", told=lines):
            begin(lab.ns("blue-web"), lab.ns("blue-db"), DB[4], 7603, 100)
    drops, total = parsed(lines)
    limited = [d for d in drops if d["reasons"] == ["rate-limited"]]
    assert limited and {d["where"] for d in limited} == {"port blue-web"}
    assert total["shown"] <= 30, "ten a second"
    assert total["shown"] + total["not_shown"] >= 50


@pytest.mark.smoke
def test_it_works_while_the_daemon_is_stopped_and_in_words(lab, follow, configs):
    lines = []
    lab.agents["h1"].stop()
    try:
        with follow(told=lines):
            lab.ns("blue-web").send("eth0", FROM_A_GUEST["a forged source MAC"])
    finally:
        lab.start_agent("h1", configs["h1"].path)
    words = "tenant blue, port blue-web: spoofed: 02:00:00:00:01:03 → 02:73:65:70:61:6c icmp 10.0.0.1 → 10.0.0.2"
    assert sum(words in line for line in lines) == 1, lines
    assert lines[-1].endswith(" shown, 0 more dropped and not shown")


@pytest.mark.on_nic  # the simulated NIC's kernel is built without types, the stock ones with them
def test_a_kernel_without_types_is_said_in_one_line(lab, configs):
    answer = lab.ctl("h1", "drops", "--follow", "--config", str(configs["h1"].path))
    assert answer.status == 1
    assert "CONFIG_DEBUG_INFO_BTF" in answer.err and len(answer.err.splitlines()) == 1
