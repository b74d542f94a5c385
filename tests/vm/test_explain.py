"""explain against what happens: the rules it names are the rules whose counters move."""

import json

import pytest

from tests.lab.packets import IP, TCP, UDP, IPv6

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

KEY = ("chain", "prio", "handle")


@pytest.fixture
def explained(lab, configs):
    def ask(*words):
        answer = lab.ctl("h1", "explain", "--json", *words, "--config", str(configs["h1"].path))
        assert answer.status == 0, answer.out + answer.err
        return json.loads(answer.out)["ways"]
    return ask


def is_of_the_kernels_own(rule):
    """What a guest's kernel sends at any time: ARP, neighbour discovery, reports of its multicast groups."""
    report = rule.get("drop") == "multicast" or ("eth_type ipv6" in rule["match"] and "ip_ttl 0/0xfe" in rule["match"])
    return rule["group"] == 6 or "arp" in rule["match"] or "icmp_type" in rule["match"] or report


def counted(counters, before):
    """Rules of blue-web's block that counted more than before, {(chain, prio, handle)}, but for the noise."""
    moved = set()
    old = {(r["device"], *(r[k] for k in KEY)): r["packets"] for r in before.rules}
    for rule in counters("h1").rules:
        key = (rule["device"], *(rule[k] for k in KEY))
        if rule["device"] == "blue-web" and rule["packets"] > old.get(key, 0) and not is_of_the_kernels_own(rule):
            moved.add(key[1:])
    return moved


@pytest.mark.parametrize("words, packet", [
    (("tcp", "10.0.0.1:5901", "10.0.0.2:80"), IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5901, dport=80, flags="S")),
    (("udp", "10.0.0.1:5902", "10.0.0.3:53"), IP(src="10.0.0.1", dst="10.0.0.3") / UDP(sport=5902, dport=53)),
    (("udp", "[fd00:100::1]:5903", "[fd00:100::2]:53"), IPv6(src="fd00:100::1", dst="fd00:100::2") / UDP(sport=5903, dport=53)),
    (("tcp", "10.0.0.1:5904", "198.18.0.1:443"), IP(src="10.0.0.1", dst="198.18.0.1") / TCP(sport=5904, dport=443, flags="S")),
    (("udp", "10.0.0.1:5905", "10.0.0.77:53"), IP(src="10.0.0.1", dst="10.0.0.77") / UDP(sport=5905, dport=53)),
    (("udp", "10.0.0.99:5906", "10.0.0.2:53"), IP(src="10.0.0.99", dst="10.0.0.2") / UDP(sport=5906, dport=53)),
    (("udp", "10.0.0.1:5907", "10.0.0.2:53", "--ttl", "1"), IP(src="10.0.0.1", dst="10.0.0.2", ttl=1) / UDP(sport=5907, dport=53)),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_the_rules_it_names_are_the_rules_that_count_the_packet(counters, forge, explained, words, packet):
    ways = explained("blue/blue-web", *words)
    assert {stop["kernel"] for way in ways for stop in way["stops"]} == {"as wanted"}
    named = {tuple(stop[key] for key in KEY) for stop in ways[0]["stops"]}
    before = counters("h1")
    forge("blue-web", packet.dst, packet)
    moved = counted(counters, before)
    # The other end may answer, and the guest answer that (a reset): later packets of the connection are its second way.
    allowed = named | {tuple(stop[key] for key in KEY) for way in ways[1:] for stop in way["stops"]}
    assert named <= moved <= allowed


def test_a_rule_deleted_by_hand_is_missing_from_the_way(lab, configs):
    lab.agents["h1"].stop()  # else its next look may put the rule back before the question
    lab.ns("h1").run("tc filter del dev blue-web ingress chain 0x3000064 prio 1")
    answer = lab.ctl("h1", "explain", "blue/blue-web", "udp", "10.0.0.1", "10.0.0.2:53", "--config", str(configs["h1"].path))
    assert answer.status == 2
    assert "the kernel has no such rule" in answer.out
