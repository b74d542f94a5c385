"""The flow log with real packets: verdicts of security groups, connections that begin and end, and what is lost."""

import json
import os
import signal
import socket

import pytest

from tests.vm import traffic
from tests.vm.test_nat import INTERNET
from tests.vm.test_security_groups import APP, BOTH, DB, connects, with_groups

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

IP_AND_UDP = 28  # bytes of headers that conntrack counts beside the payload


class FlowLog:
    """The file that h1 writes, from now on."""

    def __init__(self, path):
        self.path = path

    def records(self, **wanted):
        if not self.path.exists():
            return []
        # The agent may be in the middle of a write: what has no end of line yet is no record yet.
        whole, _, _ = self.path.read_text().rpartition("\n")
        records = [json.loads(line) for line in whole.splitlines()]
        return [r for r in records if all(r.get(key) == value for key, value in wanted.items())]

    def wait(self, lab, count=1, **wanted):
        lab.wait_until(lambda: len(self.records(**wanted)) >= count, 10, f"{count} of {wanted} in {self.records()[-5:]}")
        return self.records(**wanted)


@pytest.fixture
def flows(tmp_path):
    return FlowLog(tmp_path / "flows.json")


def write_to(h1, flows, **blue):
    h1.edit("host", flow_log={"file": str(flows.path)})
    h1.edit("blue", **blue)


@pytest.mark.smoke
@BOTH
def test_a_rule_that_logs_tells_what_it_allows_and_denies(lab, reconfigure, flows, version):
    db = lab.ns("blue-db")
    with reconfigure("h1") as h1:
        write_to(h1, flows)
        with_groups(h1, {"app": {"ingress": [{"protocol": "tcp", "ports": 8080, "from": "any", "log": True},
                                             {"protocol": "tcp", "ports": 8090, "from": "any"},
                                             {"protocol": "tcp", "ports": 22, "from": "any", "action": "deny", "log": True}]}},
                    app=["app"])
        assert connects(db, lab.ns("blue-app"), APP[version], 8090)
        assert connects(db, lab.ns("blue-app"), APP[version], 8080)
        assert traffic.tcp_refused(db, APP[version], 22, timeout=1.5)
        allowed = flows.wait(lab, event="allowed")[0]
        denied = flows.wait(lab, event="denied")[0]
    assert {key: allowed[key] for key in ("tenant", "vni", "protocol", "source", "destination", "destination_port", "to")} == {
        "tenant": "blue", "vni": 100, "protocol": "tcp", "source": DB[version], "destination": APP[version], "destination_port": 8080,
        "to": "blue-app"}
    assert allowed["rule"] == "group app, ingress: allow tcp 8080 from any"
    assert allowed["source_port"] > 1024
    assert denied["rule"] == "group app, ingress: deny tcp 22 from any"
    assert denied["at"].split(":")[0].endswith("blue.yaml")
    assert {r["destination_port"] for r in flows.records()} == {8080, 22}, "nothing of rules that do not log"


def test_an_audited_group_tells_what_it_would_deny(lab, reconfigure, flows):
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        with_groups(h1, {"trial": {"mode": "audit"}}, app=["trial"])
        assert lab.ns("blue-db").ping(APP[4]).ok
        told = flows.wait(lab, event="audited")[0]
    assert told["rule"] == "ingress: no rule of its groups matches"
    assert (told["protocol"], told["icmp_type"]) == ("icmp", 8)


@pytest.mark.smoke
def test_a_connection_is_told_when_it_begins_and_when_it_ends_with_all_its_bytes(lab, reconfigure, flows):
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        h1.reload()
        sent = traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7701, count=7, size=100)
        assert len(sent.arrived) == 7 and sent.answered == 7
        began = flows.wait(lab, event="new", destination_port=7701)
        assert lab.ctl("h1", "connections", "--delete", "--tenant", "blue", "--config", str(h1.path)).status == 0
        ended = flows.wait(lab, event="ended", destination_port=7701)
    assert len(began) == len(ended) == 1
    assert began[0]["connection"] == ended[0]["connection"]
    assert (began[0]["from"], began[0]["source"], began[0]["destination"]) == ("blue-app", APP[4], DB[4])
    assert "translated" not in began[0]
    if lab.nic is None:
        assert (ended[0]["packets"], ended[0]["bytes"]) == (7, 7 * (100 + IP_AND_UDP))
        assert ended[0]["reply_packets"] == 7
    else:  # what a NIC carried since its driver was asked last is in no count
        assert 1 <= ended[0]["packets"] <= 7 and 1 <= ended[0]["reply_packets"] <= 7


def test_a_translation_stands_in_the_record(lab, reconfigure, flows):
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        h1.reload()
        assert traffic.udp_exchange(lab.ns("blue-app"), lab.ns("wan"), INTERNET[4], 7702, count=1).answered == 1
        told = flows.wait(lab, event="new", destination_port=7702)[0]
    assert told["source"] == APP[4]
    assert told["translated"]["source"] == "203.0.113.10"
    assert 1024 <= told["translated"].get("source_port", told["source_port"]) <= 2047


def test_a_tenant_whose_flow_log_is_off_is_not_told_of(lab, reconfigure, flows):
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        h1.reload()
        assert traffic.udp_exchange(lab.ns("green-web"), lab.ns("green-db"), "10.0.0.2", 7703, count=1).answered == 1
        assert traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7704, count=1).answered == 1
        flows.wait(lab, event="new", destination_port=7704)
        assert flows.records(destination_port=7703) == []
        h1.edit("blue", flow_log=False)
        h1.edit("green", flow_log=True)
        h1.reload()
        assert traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7705, count=1).answered == 1
        assert traffic.udp_exchange(lab.ns("green-web"), lab.ns("green-db"), "10.0.0.2", 7712, count=1).answered == 1
        flows.wait(lab, event="new", tenant="green", destination_port=7712)  # what began before it has been read by then
        assert flows.records(destination_port=7705) == []


def test_what_has_no_room_is_counted_and_the_rest_is_told(lab, reconfigure, flows):
    """The agent stands still for a burst larger than the ring: packets are judged all the same."""
    burst = 6000
    agent = lab.agents["h1"]
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        with_groups(h1, {"mute": {"ingress": [{"from": "any"}]}}, app=["mute"])
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            with lab.ns("blue-app").socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(burst):
                    sender.sendto(b"no", (DB[4], 7706))
        finally:
            os.kill(agent.pid, signal.SIGCONT)

        def told_and_lost():
            denied = len(flows.records(event="denied", destination_port=7706))
            lost = sum(r["records"] for r in flows.records(event="lost", where="ring"))
            return denied, lost

        lab.wait_until(lambda: sum(told_and_lost()) >= burst, 20, f"{burst} records, told or lost: {told_and_lost()}")
        denied, lost = told_and_lost()
    assert denied > 3000 and lost > 1000
    assert denied + lost == burst
    lab.wait_until(lambda: "flow-records-lost" in agent.log(), 5, "the same in the agent's own log")


def test_the_file_is_opened_anew_at_a_reload(lab, reconfigure, flows):
    with reconfigure("h1") as h1:
        write_to(h1, flows, flow_log=True)
        h1.reload()
        traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7707, count=1)
        flows.wait(lab, event="new", destination_port=7707)
        flows.path.rename(f"{flows.path}.1")
        h1.reload()
        traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7708, count=1)
        flows.wait(lab, event="new", destination_port=7708)
        assert flows.records(destination_port=7707) == []


def test_a_file_that_cannot_be_written_is_one_line_and_stops_nothing(lab, reconfigure, flows):
    agent = lab.agents["h1"]
    with reconfigure("h1") as h1:
        h1.edit("host", flow_log={"file": "/dev/full"})
        h1.edit("blue", flow_log=True)
        h1.reload()
        for port in (7709, 7710):
            assert traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], port, count=1).answered == 1
        lab.wait_until(lambda: "flow-log-lost" in agent.log(), 10, "the fault in the log")
        assert agent.log().count("flow-log-lost:") == 1
        assert lab.ctl("h1", "status").status == 0


@pytest.mark.smoke
def test_without_a_file_the_journal_has_it(lab, reconfigure):
    agent = lab.agents["h1"]
    with reconfigure("h1") as h1:
        h1.edit("blue", flow_log=True)
        h1.reload()
        assert traffic.udp_exchange(lab.ns("blue-app"), lab.ns("blue-db"), DB[4], 7711, count=1).answered == 1
        lab.wait_until(lambda: '"destination_port":7711' in agent.log(), 10, "the record in the log")
    line = next(line for line in agent.log().splitlines() if '"destination_port":7711' in line)
    assert json.loads(line.split("flow: ", 1)[1])["event"] == "new"
