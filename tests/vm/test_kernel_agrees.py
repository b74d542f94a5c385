"""What was compiled is what the kernel says it has, over a hundred random configurations, one applied on another."""

import json

import pytest

from tests.vm import random_tenants

RUNS = 100
DEVICES = [f"dev{n}" for n in range(6)]


@pytest.mark.timeout(900)
def test_a_hundred_random_configurations_stand_in_the_kernel_as_compiled(lab, tmp_path):
    h1 = lab.ns("h1")
    for device in DEVICES:
        h1.run(f"ip link add {device} type dummy")
    rules = 0
    for seed in range(RUNS):
        random_tenants.write(tmp_path, seed, DEVICES)
        applied = lab.ctl("h1", "apply", str(tmp_path))
        assert applied.status == 0, f"seed {seed}: {applied.out}{applied.err}"
        verified = lab.ctl("h1", "verify", "--json", str(tmp_path))
        answer = json.loads(verified.out)
        assert (verified.status, answer["mismatches"]) == (0, []), f"seed {seed}"
        rules += answer["rules"]
        if seed % 10 == 9:
            planned = lab.ctl("h1", "plan", str(tmp_path))
            assert planned.status == 0, f"seed {seed}: a second apply would write: {planned.out}"
    assert rules > RUNS * 100
    assert lab.ctl("h1", "remove").status == 0


def test_verify_finds_a_rule_that_says_something_else(lab, tmp_path):
    """The check above can fail: replace one rule by hand, keeping its cookie, and it is named."""
    random_tenants.write(tmp_path, 1, DEVICES)
    assert lab.ctl("h1", "apply", str(tmp_path)).status == 0
    h1 = lab.ns("h1")
    shown = json.loads(h1.run(f"tc -j filter show dev {DEVICES[0]} ingress chain 0"))
    rule = next(f for f in shown if f.get("protocol") == "arp" and "options" in f and "handle" in f["options"])
    cookie = rule["options"]["actions"][-1]["cookie"]
    chain = rule["options"]["actions"][-1]["control_action"]["chain"]
    h1.run(f"tc filter replace dev {DEVICES[0]} ingress protocol arp prio {rule['pref']} handle {rule['options']['handle']} "
           f"flower action goto chain {chain} cookie {cookie}")
    verified = lab.ctl("h1", "verify", "--json", str(tmp_path))
    assert verified.status == 2
    mismatch, = json.loads(verified.out)["mismatches"]
    assert "police" in mismatch["wanted"] and "police" not in mismatch["kernel"]
    assert lab.ctl("h1", "plan", str(tmp_path)).status == 0, "cookies alone do not see it"
