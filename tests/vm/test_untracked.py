"""First datagrams that go past conntrack, with real packets: what they ask is answered, once and more often, and nothing
else comes in for it."""

import contextlib
import itertools
import json

import pytest

from tests.vm import traffic
from tests.vm.test_drops_follow import with_limits
from tests.vm.test_fragments_and_errors import exceeded, ip, quote, unplaced
from tests.vm.test_security_groups import APP, BOTH, DB, WEB, grown_by, with_groups

# On veth alone: with a NIC the kernel decides whether software sees a first datagram before its lookup. And the hypervisors
# of a lab are one kernel, of which act_ct (6.1) has one flow table for each zone, whatever the namespace: the NIC of one
# knows the connections that the other tracks, and to it what nobody asked for is established.
pytestmark = pytest.mark.usefixtures("judged")

SERVERS = [("blue-app", APP), ("blue-db", DB)]
ANYWHERE = pytest.mark.parametrize("server, addresses", SERVERS, ids=["within the host", "over the tunnel"])
PORTS = itertools.count(7800)  # each flow has its own
ANSWERS = {"ingress": [{"from": "any"}]}


@pytest.fixture(scope="module")
def judged(reconfigure):
    """Web may ask everybody and nobody it; everybody may ask app and it nobody. On h2 nobody judges."""
    with reconfigure("h1") as h1:
        with_groups(h1, {"asks": {"egress": [{"to": "any"}]}, "answers": ANSWERS}, web=["asks"], app=["answers"])
        yield


@contextlib.contextmanager
def flow(lab, server, address, port):
    """A socket of web's that asks, and one of the server's that is asked."""
    family = traffic.family_of(address)
    with lab.ns("blue-web").socket(family) as asker, lab.ns(server).socket(family) as asked:
        asked.bind((address, port))
        asker.connect((address, port))
        asker.settimeout(traffic.WAIT)
        asked.settimeout(traffic.WAIT)
        yield asker, asked


def ask(asker, asked, text=b"question"):
    """Whom to answer."""
    asker.send(text)
    data, peer = asked.recvfrom(100)
    assert data == text
    return peer[:2]


def answer(asked, peer, asker, text=b"answer"):
    asked.sendto(text, peer)
    assert asker.recv(100) == text


def is_silent(receiver, seconds=0.3):
    receiver.settimeout(seconds)
    try:
        receiver.recv(100)
    except TimeoutError:
        return True
    finally:
        receiver.settimeout(traffic.WAIT)
    return False


def entries(lab, host, version, port):
    """What conntrack knows on a hypervisor of datagrams to or from a port."""
    listed = lab.ns(host).run(["conntrack", "-L", "-f", f"ipv{version}", "-p", "udp"])
    return [line for line in listed.splitlines() if f"port={port} " in line]


def begun_by(entry):
    return entry.split("src=")[1].split()[0]


@pytest.mark.smoke
@BOTH
@ANYWHERE
def test_of_a_question_conntrack_knows_nothing_and_of_its_answer_only_what_comes_over_the_wire(lab, server, addresses, version):
    port = next(PORTS)
    with flow(lab, server, addresses[version], port) as (asker, asked):
        peer = ask(asker, asked)
        assert entries(lab, "h1", version, port) == []
        answer(asked, peer, asker)
        known = entries(lab, "h1", version, port)
        if server == "blue-app":
            assert known == []
        else:
            assert [begun_by(entry) for entry in known] == [DB[version]], "conntrack saw the answer first"
            assert "mark=9 " in known[0]
            told = json.loads(lab.ctl("h1", "connections", "--json").out)["connections"]
            [original] = [c["original"] for c in told if port in (c["original"].get("destination_port"), c["original"].get("source_port"))]
            assert (original["source"], original["destination_port"]) == (WEB[version], port), "told as the flow began"
            assert len(entries(lab, "h2", version, port)) == 1, "who is asked over the tunnel tracks as ever"


@BOTH
def test_a_second_question_makes_a_connection_that_its_answers_belong_to(lab, version):
    port = next(PORTS)
    with flow(lab, "blue-app", APP[version], port) as (asker, asked):
        peer = ask(asker, asked)
        answer(asked, peer, asker)
        assert entries(lab, "h1", version, port) == []
        ask(asker, asked, b"and another")
        [entry] = entries(lab, "h1", version, port)
        assert begun_by(entry) == WEB[version] and "[UNREPLIED]" in entry and "mark=1 " in entry
        answer(asked, peer, asker, b"another answer")
        [entry] = entries(lab, "h1", version, port)
        assert "[UNREPLIED]" not in entry
        for text in (b"third", b"fourth"):
            ask(asker, asked, text)
            answer(asked, peer, asker, text)
        assert len(entries(lab, "h1", version, port)) == 1


@pytest.mark.smoke
@BOTH
@ANYWHERE
def test_all_answers_to_one_question_arrive_and_what_nobody_asked_for_is_denied(lab, counters, server, addresses, version):
    family = traffic.family_of(WEB[version])
    with flow(lab, server, addresses[version], next(PORTS)) as (asker, asked):
        peer = ask(asker, asked)
        for text in (b"first", b"second", b"third"):
            answer(asked, peer, asker, text)
        with lab.ns("blue-web").socket(family) as bystander, grown_by(1, counters):
            bystander.bind((WEB[version], 0))
            asked.sendto(b"unasked", bystander.getsockname()[:2])
            assert is_silent(bystander)


def rate_limited(lab, host, config, port):
    told = json.loads(lab.ctl(host, "drops", "--json", "--config", str(config.path)).out)
    return sum(d["packets"] for d in told["drops"] if (d["where"], d["reason"]) == (f"port {port}", "rate-limited"))


@BOTH
@pytest.mark.parametrize("host, client, server, addresses", [
    ("h1", "blue-web", "blue-app", APP), ("h1", "blue-db", "blue-app", APP), ("h2", "blue-web", "blue-db", DB),
], ids=["within the host", "from over the tunnel", "over the tunnel"])
def test_who_may_begin_one_connection_a_second_answers_all_it_is_asked_at_once(
        lab, reconfigure, host, client, server, addresses, version):
    address, port, family = addresses[version], next(PORTS), traffic.family_of(addresses[version])
    with reconfigure(host) as config, contextlib.ExitStack() as stack:
        with_limits(config, server, new_connections_per_second=1)
        before = rate_limited(lab, host, config, server)
        asked = stack.enter_context(lab.ns(server).socket(family))
        asked.bind((address, port))
        asked.settimeout(traffic.WAIT)
        askers = [stack.enter_context(lab.ns(client).socket(family)) for _ in range(10)]
        for number, asker in enumerate(askers):
            asker.connect((address, port))
            asker.settimeout(traffic.WAIT)
            asker.send(b"question %d" % number)
        questions = [asked.recvfrom(100) for _ in askers]
        for text, peer in questions:
            asked.sendto(text, peer[:2])
        assert [asker.recv(100) for asker in askers] == [b"question %d" % number for number in range(10)]
        assert rate_limited(lab, host, config, server) == before


@BOTH
@ANYWHERE
def test_who_asks_a_closed_port_is_told(lab, server, addresses, version):
    port = next(PORTS)
    with lab.ns("blue-web").socket(traffic.family_of(WEB[version])) as asker:
        asker.settimeout(traffic.WAIT)
        asker.connect((addresses[version], port))
        asker.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            asker.recv(100)
    assert entries(lab, "h1", version, port) == []


def test_an_error_about_what_was_never_asked_reaches_nobody(lab, counters, forge):
    before = unplaced(counters)
    forge("blue-app", WEB[4], ip(4, APP[4], WEB[4]) / exceeded(4, quote(4, (WEB[4], 41900), (APP[4], next(PORTS)))))
    lab.wait_until(lambda: unplaced(counters) > before, 5, "a drop of what conntrack cannot place")


def test_a_tenant_whose_connections_are_written_down_has_them_all(lab, reconfigure, tmp_path):
    port = next(PORTS)
    with reconfigure("h1") as h1:
        h1.edit("host", flow_log={"file": str(tmp_path / "flows.json")})
        h1.edit("blue", flow_log=True)
        h1.reload()
        with flow(lab, "blue-app", APP[4], port) as (asker, asked):
            answer(asked, ask(asker, asked), asker)
        assert [begun_by(entry) for entry in entries(lab, "h1", 4, port)] == [WEB[4]]


def test_what_answers_a_question_that_is_forbidden_meanwhile_is_dropped(lab, reconfigure, counters):
    forbidden, kept = next(PORTS), next(PORTS)

    def may_ask(h1, *ports):
        asks = {"egress": [{"protocol": "udp", "ports": list(ports), "to": "any"}]}
        with_groups(h1, {"asks": asks, "answers": ANSWERS}, web=["asks"], app=["answers"])

    with (reconfigure("h1") as h1, flow(lab, "blue-app", APP[4], forbidden) as (asker, asked),
          flow(lab, "blue-app", APP[4], kept) as (other_asker, other_asked)):
        may_ask(h1, forbidden, kept)
        peer, other_peer = ask(asker, asked), ask(other_asker, other_asked)
        may_ask(h1, kept)
        answer(other_asked, other_peer, other_asker)
        with grown_by(1, counters):
            asked.sendto(b"late", peer)
            assert is_silent(asker)
    assert entries(lab, "h1", 4, forbidden) == []


def test_a_flow_is_counted_once_however_it_goes_on(lab, reconfigure):
    once, often = next(PORTS), next(PORTS)
    web, app = lab.ns("blue-web"), lab.ns("blue-app")
    with reconfigure("h1") as h1:
        with_groups(h1, {"app": {"ingress": [{"protocol": "udp", "ports": port, "from": "any"} for port in (once, often)]}},
                    app=["app"])
        assert len(traffic.udp_exchange(web, app, APP[4], once, count=1, answer=False).arrived) == 1
        assert traffic.udp_exchange(web, app, APP[4], often, count=5).answered == 5
        told = json.loads(lab.ctl("h1", "drops", "--tenant", "blue", "--json", "--config", str(h1.path)).out)
    counts = {rule["rule"]: (rule["allowed"], rule["denied"]) for rule in told["security_groups"]}
    for port in (once, often):
        assert counts[f"group app, ingress: allow udp {port} from any"] == (1, 0)


def test_explain_tells_of_the_first_datagram_and_of_the_second(lab, configs):
    answer = lab.ctl("h1", "explain", "--json", "blue/blue-web", "udp", WEB[4], f"{APP[4]}:53", "--config", str(configs["h1"].path))
    assert answer.status == 0, answer.out + answer.err
    ways = json.loads(answer.out)["ways"]
    assert [(way["title"], way["end"]) for way in ways] == [("first packet", "sent"), ("second packet", "sent"), ("established", "sent")]
    groups = [[stop["chain"] >> 24 & 7 for stop in way["stops"]] for way in ways]
    assert groups == [[0, 3, 4], [0, 2, 7, 3, 4], [0, 2, 3, 4]]
    assert {stop["kernel"] for way in ways for stop in way["stops"]} == {"as wanted"}


def test_with_the_agent_killed_questions_are_answered_and_the_next_agent_knows_what_was_asked(lab, configs):
    with flow(lab, "blue-app", APP[4], next(PORTS)) as (asker, asked):
        peer = ask(asker, asked)
        lab.agents["h1"].kill()
        try:
            for (server, addresses), version in itertools.product(SERVERS, (4, 6)):
                port = next(PORTS)
                with flow(lab, server, addresses[version], port) as (other_asker, other_asked):
                    other_peer = ask(other_asker, other_asked)
                    assert entries(lab, "h1", version, port) == []
                    answer(other_asked, other_peer, other_asker)
        finally:
            lab.start_agent("h1", configs["h1"].path)
        answer(asked, peer, asker)
