"""The agent comes, reloads, dies, returns and goes: traffic of those who did not change never notices."""

import json
import os
import signal
import time

import pytest

from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

LATE = {"name": "blue-late", "device": "blue-late", "mac": "02:00:00:00:01:09", "addresses": ["10.0.0.9"]}


def filters(lab, host, device):
    """Handles, prios and chains as iproute2 sees them: a second opinion on what stands in the kernel."""
    shown = json.loads(lab.ns(host).run(f"tc -j filter show dev {device} ingress") or "[]")
    return sorted((f["chain"], f["pref"], f["options"].get("handle", 0)) for f in shown if "options" in f and "handle" in f["options"])



def test_a_reload_adds_a_port_without_a_lost_packet_elsewhere(lab, reconfigure):
    with reconfigure("h1") as h1, traffic.Stream(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7001) as stream:
        h1.add("blue", "ports", LATE)
        h1.reload()
        time.sleep(0.5)
    assert stream.sent > 100 and stream.lost == 0


def test_a_port_without_its_device_waits_and_follows_when_the_device_comes(lab, reconfigure):
    with reconfigure("h1") as h1:
        h1.add("blue", "ports", LATE)
        h1.reload()
        shown = json.loads(lab.ctl("h1", "show", "--json", "--config", str(h1.path)).out)
        assert {"tenant": "blue", "port": "blue-late"} in [
            {"tenant": w["tenant"], "port": w["port"]} for w in shown["waiting"]]
        lab.ns("h1").run("ip link add blue-late type dummy")
        try:
            lab.wait_until(lambda: "qdisc clsact" in lab.ns("h1").run("tc qdisc show dev blue-late"), 10,
                           "a clsact on the new device")
            lab.wait_until(lambda: filters(lab, "h1", "blue-late"), 20, "rules on the new device")
        finally:
            lab.ns("h1").run("ip link del blue-late")


def test_a_restart_with_the_same_configuration_writes_nothing(lab, agents, configs):
    before = {d: filters(lab, "h1", d) for d in ("blue-web", "sepal-vxlan", "uplink")}
    assert all(before.values())
    assert lab.agents["h1"].stop() == 0
    with traffic.Stream(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7002) as stream:
        agent = lab.start_agent("h1", configs["h1"].path)
        status = json.loads(lab.ctl("h1", "status", "--json").out)
    assert status["writes"] == 0
    assert stream.lost == 0
    assert {d: filters(lab, "h1", d) for d in before} == before
    assert agent.running


def test_with_the_agent_killed_new_connections_still_go_on(lab, agents, configs):
    lab.agents["h1"].kill()
    try:
        assert traffic.tcp_transfer(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7003, size=1000).digest_equal
        transfer = traffic.tcp_transfer(lab.ns("green-web"), lab.ns("wan"), "198.18.0.1", 7004, size=1000)
        assert transfer.peer[0] == "203.0.113.10"
        assert lab.ns("blue-app").ping("fd00:100::1", count=2).received == 2
        shown = lab.ctl("h1", "show", "--config", str(configs["h1"].path))
        assert shown.status == 0 and "blue" in shown.out
    finally:
        lab.start_agent("h1", configs["h1"].path)


def test_a_rule_deleted_by_hand_comes_back(lab, agents, configs):
    lab.agents["h1"].stop()
    agent = lab.start_agent("h1", configs["h1"].path, "--look-interval", "1")
    before = filters(lab, "h1", "blue-web")
    chain, prio, handle = next(f for f in before if f[0] >> 24 == 2)
    lab.ns("h1").run(f"tc filter del dev blue-web ingress chain {chain} prio {prio} handle {handle} flower")
    assert filters(lab, "h1", "blue-web") != before
    lab.wait_until(lambda: filters(lab, "h1", "blue-web") == before, 20, "the deleted rule")
    assert "healed: others changed our rules; put right: tenant blue" in agent.log()


def shared_actions(lab, host):
    """What `tc actions` lists of each kind that rules share: number and cookie, and how many refer to it."""
    found = {}
    for kind in ("pedit", "csum", "tunnel_key"):
        shown = json.loads(lab.ns(host).run(f"tc -j actions list action {kind}") or "[]")
        listed = next((part["actions"] for part in shown if "actions" in part), [])
        found[kind] = {a["index"]: (a.get("cookie"), a["bind"]) for a in listed if a["index"] >= 0x40000000}
    return found


def test_a_shared_action_that_somebody_changes_is_put_right(lab, agents, configs):
    lab.agents["h1"].stop()
    agent = lab.start_agent("h1", configs["h1"].path, "--look-interval", "1")
    before = shared_actions(lab, "h1")
    index = next(iter(before["tunnel_key"]))
    h1 = lab.ns("h1")
    h1.run("tc actions replace action tunnel_key set src_ip 192.0.2.66 dst_ip 192.0.2.67 id 6666 dst_port 4789 nocsum"
           f" index {index}")
    # What it was meanwhile is not asked: the next look may be faster.
    lab.wait_until(lambda: "healed: others changed our rules; put right: shared action tunnel_key" in agent.own_log(), 20,
                   "word of it in the log")
    assert "key_id 6666" not in h1.run(f"tc actions get action tunnel_key index {index}")
    assert shared_actions(lab, "h1") == before
    assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1


def test_what_rules_share_goes_with_the_last_rule_that_shares_it(lab, agents, reconfigure):
    before = shared_actions(lab, "h1")
    with reconfigure("h1") as h1:
        h1.add("blue", "routes", {"to": "172.21.0.0/16", "via": "192.0.2.77"})
        h1.reload()
        more = shared_actions(lab, "h1")
        assert len(more["tunnel_key"]) == len(before["tunnel_key"]) + 1
    lab.wait_until(lambda: shared_actions(lab, "h1") == before, 30, "the tunnel key that nobody uses to go")


def test_deleting_one_tenants_connections_leaves_the_others(lab, agents, configs):
    for tenant in ("blue", "green"):
        assert lab.ns(f"{tenant}-web").ping("10.0.0.2", count=1).received == 1
        traffic.udp_exchange(lab.ns(f"{tenant}-web"), lab.ns(f"{tenant}-db"), "10.0.0.2", 7005, count=1)

    def connections(tenant):
        answer = lab.ctl("h1", "connections", "--tenant", tenant, "--json", "--config", str(configs["h1"].path))
        assert answer.status == 0, answer.err
        return len(json.loads(answer.out)["connections"])

    green = connections("green")
    assert connections("blue") >= 1 and green >= 1
    assert lab.ctl("h1", "connections", "--tenant", "blue", "--delete", "--config", str(configs["h1"].path)).status == 0
    assert connections("blue") == 0
    assert connections("green") == green


def test_a_foreign_filter_in_our_place_is_named_and_not_touched(lab, agents, configs):
    lab.agents["h1"].stop()
    h1 = lab.ns("h1")
    before = filters(lab, "h1", "blue-app")
    h1.run("tc filter add dev blue-app ingress protocol ip prio 500 flower dst_ip 10.9.9.9 action drop")
    lab.start_agent("h1", configs["h1"].path)
    shown = lab.ctl("h1", "show", "--foreign", "--json")
    foreign = json.loads(shown.out)["foreign"]
    assert [(f["device"], f["prio"]) for f in foreign] == [("blue-app", 500)]
    assert "10.9.9.9" in h1.run("tc filter show dev blue-app ingress prio 500")
    h1.run("tc filter del dev blue-app ingress prio 500")
    assert filters(lab, "h1", "blue-app") == before


def test_a_second_writer_is_refused_and_told_who_holds_the_lock(lab, agents, configs):
    second = lab.ns("h1").popen([lab_program("sepald"), "--config", str(configs["h1"].path), "--instance", "h1"],
                                stderr=-1, text=True)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 5
    assert str(lab.agents["h1"].pid) in err


def test_a_broken_configuration_changes_nothing_and_says_why(lab, agents, reconfigure):
    before = {d: filters(lab, "h1", d) for d in ("blue-web", "green-web", "uplink")}
    with reconfigure("h1") as h1:
        h1.edit("blue", vni=0, colour="blue")
        os.kill(lab.agents["h1"].pid, signal.SIGHUP)
        lab.wait_until(lambda: "colour" in lab.agents["h1"].log(), 15, "the fault in the log")
        checked = lab.ctl("h1", "validate", str(h1.path))
        assert checked.status == 3
        assert "blue.yaml:" in checked.err + checked.out and "vni" in checked.err + checked.out
        assert {d: filters(lab, "h1", d) for d in before} == before
        assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1


def test_plan_tells_what_would_change_and_apply_without_a_daemon_does_it(lab, agents, configs):
    lab.agents["h1"].stop()
    config = configs["h1"]
    assert lab.ctl("h1", "plan", str(config.path)).status == 0
    config.add("blue", "routes", {"to": "172.20.0.0/16", "via": "blackhole"})
    try:
        planned = lab.ctl("h1", "plan", str(config.path))
        assert planned.status == 2 and "172.20.0.0/16" in planned.out
        applied = lab.ctl("h1", "apply", str(config.path))
        assert applied.status == 0, applied.err
        assert lab.ctl("h1", "plan", str(config.path)).status == 0
    finally:
        config.restore("blue")
        lab.start_agent("h1", config.path)


def test_remove_leaves_nothing_of_ours_and_everything_else(lab, agents, configs):
    """The last test of this module: h1 is as it was before the first start."""
    h1 = lab.ns("h1")
    h1.run("tc filter add dev blue-app ingress protocol ip prio 500 flower dst_ip 10.9.9.9 action drop")
    h1.run("tc actions add action csum tcp index 2147483647")
    assert all(shared_actions(lab, "h1").values())
    lab.agents["h1"].stop()
    removed = lab.ctl("h1", "remove")
    assert removed.status == 0, removed.err
    assert "sepal-vxlan" not in h1.run("ip link")
    for device in ("blue-web", "green-web", "uplink"):
        assert h1.run(f"tc filter show dev {device} ingress") == ""
        assert "clsact" not in h1.run(f"tc qdisc show dev {device}")
    kept = h1.run("tc filter show dev blue-app ingress")
    assert "10.9.9.9" in kept and kept.count("handle") == 1
    assert not os.path.exists("/sys/fs/bpf/sepal/h1")
    assert shared_actions(lab, "h1") == {"pedit": {}, "csum": {2147483647: (None, 0)}, "tunnel_key": {}}
    h1.run("tc actions delete action csum index 2147483647")
    assert lab.ns("blue-web").ping("10.0.0.2", count=1, timeout=1).received == 0


def lab_program(name):
    from tests.lab import program
    return program(name)
