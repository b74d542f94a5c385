"""Ports without `mac` in the configuration: the guest shows it, and may come back with another."""

import json
import time

import pytest

from tests.lab.packets import ARP, IP, UDP, Ether
from tests.vm.fixtures import GATEWAY_MAC

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

DB, APP = "10.0.0.2", "10.0.0.3"
MAC, OTHER_MAC = "02:00:00:00:01:01", "02:00:00:00:01:77"
RELEARNT_AFTER = 10  # seconds


def leave_open(h1, name="blue-web"):
    document = h1.read("blue")
    for port in document["ports"]:
        if port["name"] == name:
            del port["mac"]
    h1.write("blue", document)
    h1.reload()


def notes(lab):
    return json.loads(lab.ctl("h1", "status", "--json").out)["report"]["notes"]


def unknown(lab):
    return any("blue-web" in note and "MAC address is not known" in note for note in notes(lab))


def silence(guest):
    """The guest's kernel says nothing of itself: what is learnt is learnt from what the test sends."""
    guest.run("ip link set eth0 arp off")


@pytest.fixture
def web(lab):
    """blue-web's guest; its MAC address as it was, afterwards."""
    guest = lab.ns("blue-web")
    try:
        yield guest
    finally:
        guest.run("ip link set eth0 arp on")
        if MAC not in guest.run("ip -o link show dev eth0"):
            guest.run(f"ip link set eth0 address {MAC}")


@pytest.mark.smoke
def test_the_first_word_of_a_guest_opens_its_port(lab, web, reconfigure):
    with reconfigure("h1") as h1:
        silence(web)
        leave_open(h1)
        assert unknown(lab)
        assert lab.ns("blue-app").ping("10.0.0.1", count=1, timeout=1).received == 0, "nobody knows where it is"
        web.run("ip link set eth0 arp on")
        web.run("ip neigh flush dev eth0")
        lab.wait_until(lambda: web.ping(DB, count=1, timeout=1).received == 1, 10, "the guest's first answer")
        assert not unknown(lab)
        assert lab.ns("blue-app").ping("10.0.0.1", count=2).received == 2
        assert lab.ns("blue-db").ping("10.0.0.1", count=2).received == 2


def test_a_probe_and_dhcp_show_it_too(lab, web, reconfigure):
    with reconfigure("h1") as h1:
        silence(web)
        leave_open(h1)
        web.send("eth0", Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc="10.0.0.66", pdst="10.0.0.254"))
        time.sleep(0.5)
        assert unknown(lab), "it speaks for an address that is not its own"
        web.send("eth0", Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", pdst="10.0.0.1"))
        lab.wait_until(lambda: not unknown(lab), 10, "what a probe shows")


def test_it_is_kept_over_a_restart_and_used_by_commands_without_the_daemon(lab, web, reconfigure, configs):
    with reconfigure("h1") as h1:
        leave_open(h1)
        web.run("ip neigh flush dev eth0")
        lab.wait_until(lambda: web.ping(DB, count=1, timeout=1).received == 1, 10, "the guest's first answer")
        assert not unknown(lab)  # and its pass is over
        lab.agents["h1"].stop()
        try:
            silence(web)
            assert lab.ctl("h1", "plan", "--config", str(configs["h1"].path)).status == 0, "nothing differs"
        finally:
            lab.start_agent("h1", configs["h1"].path)
        assert not unknown(lab)
        assert json.loads(lab.ctl("h1", "status", "--json").out)["writes"] == 0
        web.run("ip link set eth0 arp on")
        assert lab.ns("blue-app").ping("10.0.0.1", count=2).received == 2


def test_a_guest_that_comes_back_with_another_address_is_followed(lab, web, reconfigure, counters):
    with reconfigure("h1") as h1:
        leave_open(h1)
        web.run("ip neigh flush dev eth0")
        lab.wait_until(lambda: web.ping(DB, count=1, timeout=1).received == 1, 10, "the guest's first answer")
        web.run(f"ip link set eth0 address {OTHER_MAC}")
        before = counters("h1").dropped(tenant="blue", reason="spoofed")
        web.send("eth0", Ether(src=OTHER_MAC, dst=GATEWAY_MAC) / IP(src="10.0.0.1", dst=DB) / UDP(sport=9, dport=9) / b"who?")
        assert counters("h1").dropped(tenant="blue", reason="spoofed") == before + 1, "not yet"

        def reaches():
            web.run("ip neigh flush dev eth0")
            return web.ping(DB, count=1, timeout=1).received == 1

        lab.wait_until(reaches, RELEARNT_AFTER + 10, "the guest by its new address")
        assert lab.ns("blue-app").ping("10.0.0.1", count=2).received == 2


def test_the_address_of_another_port_is_not_given_away(lab, web, reconfigure):
    with reconfigure("h1") as h1:
        silence(web)
        leave_open(h1)
        app_mac = "02:00:00:00:01:03"
        web.send("eth0", Ether(src=app_mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=app_mac, psrc="10.0.0.1", pdst="10.0.0.254"))
        lab.wait_until(lambda: "that is the MAC address of port blue-app" in lab.agents["h1"].own_log(), 10, "a word in the log")
        assert unknown(lab)
        assert lab.ns("blue-app").ping(DB, count=2).received == 2
