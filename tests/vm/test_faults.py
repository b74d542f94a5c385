"""Death in the middle of an apply, refusals, devices that come and go under load."""

import json
import time

import pytest

from tests.vm import random_tenants, traffic
from tests.vm.configs import HostConfig

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

MANY = [f"many{n}" for n in range(20)]


def many_tenants(config: HostConfig) -> None:
    """Twenty tenants with one port and ninety routes each: over 5,000 rules."""
    for number, device in enumerate(MANY):
        document = {
            "apiVersion": "sepal/v1", "kind": "Tenant", "name": f"many{number}", "vni": 3000 + number,
            "subnets": ["10.9.0.0/16"],
            "ports": [{"name": "p", "device": device, "mac": f"02:00:00:09:00:{number + 1:02x}", "addresses": ["10.9.0.1"]}],
            "routes": [{"to": f"10.9.{1 + n // 200}.{n % 200}/32", "via": "192.0.2.2"} for n in range(230)]}
        config.write(f"many{number}", document)


def test_an_apply_of_5000_rules_killed_in_the_middle_is_completed_by_the_next_start(lab, configs, reconfigure):
    h1 = lab.ns("h1")
    for device in MANY:
        h1.run(f"ip link add {device} type dummy")
    with reconfigure("h1") as config:
        many_tenants(config)
        with traffic.Stream(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7301) as stream:
            for pause in (0.3, 0.8, 1.5):
                lab.agents["h1"].kill()
                lab.start_agent("h1", config.path, wait=False)
                time.sleep(pause)
                lab.agents["h1"].kill()
            lab.start_agent("h1", config.path, timeout=150)
            planned = json.loads(lab.ctl("h1", "plan", "--json", str(config.path)).out)
        assert planned["rules_wanted"] > 5000 and planned["difference"] is False
        assert lab.ctl("h1", "verify", str(config.path)).status == 0
        assert stream.sent > 500 and stream.lost == 0


def test_a_refused_rule_has_the_kernels_words_and_the_rest_is_applied(lab, configs, reconfigure):
    """A device with hw-tc-offload cannot be had here, so the kernel is made to refuse by a foreign ingress qdisc: every
    rule of that one port is refused, all others stand."""
    h1 = lab.ns("h1")
    h1.run("ip link add taken type dummy")
    h1.run("tc qdisc add dev taken handle ffff: ingress")
    h1.run("tc filter add dev taken ingress protocol arp prio 1 matchall action pass")
    port = {"name": "taken", "device": "taken", "mac": "02:00:00:00:01:77", "addresses": ["10.0.0.77"]}
    with reconfigure("h1") as config:
        config.add("blue", "ports", port)
        config.reload()
        status = lab.ctl("h1", "status", "--json")
        report = json.loads(status.out)["report"]
        assert report["refused"], "the port's rules are named as refused"
        assert all("taken" in json.dumps(refusal) for refusal in report["refused"])
        assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1
        assert "matchall" in h1.run("tc filter show dev taken ingress")
        lab.agents["h1"].stop()
        applied = lab.ctl("h1", "apply", str(config.path))
        assert applied.status == 4 and "taken" in applied.out + applied.err
        h1.run("tc qdisc del dev taken ingress")
        lab.start_agent("h1", config.path)
        assert lab.ctl("h1", "plan", str(config.path)).status == 0


def test_a_device_that_is_made_anew_gets_its_rules_back(lab, configs, reconfigure):
    h1 = lab.ns("h1")
    h1.run("ip link add again type dummy")
    port = {"name": "again", "device": "again", "mac": "02:00:00:00:01:78", "addresses": ["10.0.0.78"]}
    with reconfigure("h1") as config:
        config.add("blue", "ports", port)
        config.reload()
        with traffic.Stream(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7302) as stream:
            h1.run("ip link del again")
            h1.run("ip link add again type dummy")
            lab.wait_until(lambda: "flower" in h1.run("tc filter show dev again ingress"), 20, "rules on the new device")
            lab.wait_until(lambda: lab.ctl("h1", "plan", str(config.path)).status == 0, 20, "nothing left to do")
        assert stream.lost == 0


@pytest.mark.parametrize("seed", [7, 8])
def test_random_tenants_come_and_go_around_tenants_that_stay(lab, reconfigure, seed, tmp_path):
    """Blue and green stay as they are while others change at random: no packet of theirs is lost."""
    with reconfigure("h1") as config, traffic.Stream(lab.ns("blue-web"), lab.ns("blue-db"), "10.0.0.2", 7303) as stream:
        for step in range(4):
            random_tenants.write(tmp_path, seed * 10 + step, MANY[:6])
            for path in sorted((tmp_path / "tenants.d").iterdir()):
                text = path.read_text().replace("203.0.113.10", "203.0.113.77")
                (config.path / "tenants.d" / path.name).write_text(text.replace("2001:db8:2::", "192.0.2."))
            config.reload()
    assert stream.sent > 100 and stream.lost == 0
