"""`sepalctl offload` without a NIC: every rule is in software, and says why."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("agents")


@pytest.fixture
def ctl(lab, configs):
    def ask(*words, status=0):
        answer = lab.ctl("h1", *words, "--json", "--config", str(configs["h1"].path))
        assert answer.status == status, answer.out + answer.err
        return json.loads(answer.out)
    return ask


def test_every_rule_is_software_and_says_why(ctl):
    rules = ctl("show")["rules"]
    assert {rule["placement"] for rule in rules} == {"software", "software only"}
    assert all(rule["why"] for rule in rules)
    for rule in rules:
        assert rule["cause"] == ("by-design" if rule["skip_hw"] else "no-nic"), rule
        assert rule["wanted_in_hw"] is False and rule["in_hw_count"] == 0


def test_where_no_nic_is_named_nothing_is_wanted_in_hardware(ctl):
    told = ctl("offload")
    assert told["nic"] is False and told["as_wanted"] is True
    assert told["wanted"] == told["held"] == 0 and told["not_as_wanted"] == []
    assert {block["cause"] for block in told["blocks"]} == {"no-nic"}
    assert sum(reason["rules"] for reason in told["by_design"]) == told["software_only"]


def test_the_shares_of_a_host_without_a_nic_are_nothing(lab, ctl):
    before = {t["tenant"]: t["traffic"] for t in ctl("offload")["tenants"]}
    assert lab.ns("blue-web").ping("10.0.0.3", count=3).received == 3
    after = {t["tenant"]: t for t in ctl("offload")["tenants"]}
    assert after["blue"]["traffic"]["packets"] - before["blue"]["packets"] >= 6
    assert after["blue"]["traffic"]["hw_packets"] == 0
    assert after["blue"]["connections"]["never"] >= 1, "ICMP never is in hardware"


def test_a_rule_deleted_by_hand_ends_it_with_two(lab, ctl):
    lab.agents["h1"].stop()
    lab.ns("h1").run("tc filter del dev blue-web ingress chain 0x3000064 prio 1")
    told = ctl("offload", status=2)
    assert told["differing"] > 0 and told["as_wanted"] is True


def test_it_works_with_the_daemon_stopped_and_without_a_configuration(lab, tmp_path):
    if lab.agents["h1"].running:
        lab.agents["h1"].stop()
    answer = lab.ctl("h1", "offload", "--config", str(tmp_path))
    assert answer.status == 0, answer.err
    assert "no readable configuration" in answer.out and "software by design" in answer.out


def test_one_tenant_alone_fits_a_screen(lab, configs):
    answer = lab.ctl("h1", "offload", "--tenant", "blue", "--config", str(configs["h1"].path))
    assert "green" not in answer.out
    assert len(answer.out.splitlines()) <= 40, answer.out
