"""Guests configure themselves: real clients, and questions that no honest client asks."""

import json
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptRDNSS

from tests.lab.packets import ARP, IP, UDP, Ether, ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6, Raw
from tests.vm.fixtures import GATEWAY_MAC
from tests.vm.test_limits import rate_limited

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

BROADCAST = "ff:ff:ff:ff:ff:ff"
MAC = "02:00:00:00:01:01"
APP_MAC = "02:00:00:00:01:03"
GATEWAY = "10.0.0.254"
UDHCPC = "busybox udhcpc -f -n -q -t 5 -T 2 -i eth0 -s /etc/udhcpc/default.script"


class Client:
    """DHCP by hand, out of blue-web or another guest."""

    def __init__(self, lab, guest="blue-web", mac=MAC):
        self.ns = lab.ns(guest)
        self.mac = mac
        self.xid = 0x1000

    def frame(self, kind, *options, mac=None, client="0.0.0.0", source="0.0.0.0", to="255.255.255.255", flags=0, relay="0.0.0.0"):
        self.xid += 1
        asks_for = bytes.fromhex((mac or self.mac).replace(":", ""))
        return (Ether(src=self.mac, dst=BROADCAST if to == "255.255.255.255" else GATEWAY_MAC) / IP(src=source, dst=to)
                / UDP(sport=68, dport=67)
                / BOOTP(op=1, chaddr=asks_for, xid=self.xid, ciaddr=client, flags=flags, giaddr=relay)
                / DHCP(options=[("message-type", kind), *options, "end"]))

    def ask(self, kind, *options, **fields):
        """The answer, or None after a while."""
        frame = self.frame(kind, *options, **fields)
        with self.ns.sniff("eth0", direction="in") as sniffer:
            self.ns.send("eth0", frame)
            try:
                return sniffer.wait_for(lambda p: BOOTP in p and p[BOOTP].op == 2 and p[BOOTP].xid == self.xid, 2)
            except TimeoutError:
                return None

    @contextmanager
    def flood(self, frame, per_second):
        """Sends the frame again and again meanwhile; yields a list that holds how often."""
        self.ns.send("eth0", frame)  # here, for the socket is made in the namespace of the thread
        end, sent = threading.Event(), [1]

        def send():
            while not end.wait(1 / per_second):
                self.ns.send("eth0", frame)
                sent[0] += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            end.set()
            thread.join()


@pytest.fixture
def client(lab):
    return Client(lab)


@pytest.fixture
def bare(lab):
    """blue-web without IPv4, as a guest is that has just booted; as the lab made it afterwards."""
    guest = lab.ns("blue-web")
    guest.run("ip -4 addr flush dev eth0")
    try:
        yield guest
    finally:
        guest.run("ip -4 addr flush dev eth0")
        guest.run("ip link set eth0 mtu 1500 up")
        guest.run("ip addr add 10.0.0.1/24 dev eth0")
        guest.run(f"ip route replace default via {GATEWAY}")


def options_of(packet):
    return {o[0]: o[1] if len(o) == 2 else o[1:] for o in packet[DHCP].options if isinstance(o, tuple)}


def default_route(guest):
    return guest.run("ip -4 route show default")


def without_gateway(h1):
    h1.edit("blue", subnets=["10.0.0.0/24", "fd00:100::/64"])
    h1.reload()


@pytest.mark.smoke
def test_udhcpc_configures_a_guest(lab, bare):
    bare.run(UDHCPC)
    assert f"via {GATEWAY}" in default_route(bare)
    assert "10.0.0.1/24" in bare.run("ip -4 addr show dev eth0")
    assert bare.ping("10.0.0.2", count=2).received == 2
    assert bare.ping("198.18.0.1", count=2).received == 2


def test_udhcpc_reaches_the_world_through_a_gateway_outside_its_network(lab, bare, reconfigure):
    with reconfigure("h1") as h1:
        without_gateway(h1)
        bare.run(UDHCPC)
        assert "via 169.254.1.1" in default_route(bare)
        assert bare.ping("10.0.0.3", count=2).received == 2
        assert bare.ping("198.18.0.1", count=2).received == 2


@pytest.mark.parametrize("gateway", [GATEWAY, "169.254.1.1"])
def test_dhclient_configures_a_guest(lab, bare, reconfigure, tmp_path, gateway):
    files = f"-lf {tmp_path}/leases -pf {tmp_path}/pid"
    with reconfigure("h1") as h1:
        if gateway != GATEWAY:
            without_gateway(h1)
        try:
            bare.run(f"dhclient -4 -1 {files} eth0")
            assert f"via {gateway}" in default_route(bare)
            assert "10.0.0.1/24" in bare.run("ip -4 addr show dev eth0")
            assert "mtu 1550" in bare.run("ip link show dev eth0")
            assert bare.ping("198.18.0.1", count=2).received == 2
        finally:
            bare.run(f"dhclient -4 -x {files} eth0", check=False)


def test_a_client_renews_its_lease_with_the_gateway(lab, bare):
    """udhcpc asks again when it is told to, from its address and to the server alone, as it would at half of the lease."""
    udhcpc = bare.popen(["busybox", "udhcpc", "-f", "-n", "-i", "eth0", "-s", "/etc/udhcpc/default.script"],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        lab.wait_until(lambda: default_route(bare) and "10.0.0.1/24" in bare.run("ip -4 addr show dev eth0"), 20, "a lease")
        time.sleep(1)  # its script has more to do
        with bare.sniff("eth0") as sniffer:
            udhcpc.send_signal(signal.SIGUSR1)
            asked = sniffer.wait_for(lambda p: BOOTP in p and p[BOOTP].op == 1, 10)
            told = sniffer.wait_for(lambda p: BOOTP in p and p[BOOTP].op == 2, 10)
        assert (asked[IP].src, asked[IP].dst, asked[BOOTP].ciaddr) == ("10.0.0.1", GATEWAY, "10.0.0.1")
        assert options_of(told)["message-type"] == 5 and told[IP].dst == "10.0.0.1"
    finally:
        udhcpc.kill()
        udhcpc.wait()


def test_the_four_requests_are_acknowledged_or_refused(client):
    offer = client.ask("discover")
    assert options_of(offer)["message-type"] == 2
    assert (offer[BOOTP].yiaddr, offer[IP].src, offer[Ether].src) == ("10.0.0.1", GATEWAY, GATEWAY_MAC)
    selecting = client.ask("request", ("server_id", GATEWAY), ("requested_addr", "10.0.0.1"))
    assert options_of(selecting)["message-type"] == 5
    assert client.ask("request", ("server_id", "10.0.0.9"), ("requested_addr", "10.0.0.1")) is None
    rebooted = client.ask("request", ("requested_addr", "10.0.0.1"))
    assert options_of(rebooted)["message-type"] == 5
    moved = client.ask("request", ("requested_addr", "192.168.7.7"))
    assert options_of(moved)["message-type"] == 6 and moved[Ether].dst == BROADCAST
    renewing = client.ask("request", client="10.0.0.1", source="10.0.0.1", to=GATEWAY)
    assert options_of(renewing)["message-type"] == 5 and renewing[IP].dst == "10.0.0.1"
    rebinding = client.ask("request", client="10.0.0.1", source="10.0.0.1")
    assert options_of(rebinding)["message-type"] == 5


def test_inform_is_answered_and_release_is_not(client):
    inform = client.ask("inform", client="10.0.0.1", source="10.0.0.1")
    assert options_of(inform)["message-type"] == 5 and "lease_time" not in options_of(inform)
    assert client.ask("release", ("server_id", GATEWAY), client="10.0.0.1", source="10.0.0.1", to=GATEWAY) is None


def test_what_is_not_the_guests_to_ask_is_not_answered(client):
    assert client.ask("discover", mac=APP_MAC) is None
    assert client.ask("discover", relay="10.0.0.9") is None
    assert client.ask("discover") is not None


def test_network_boot(client, reconfigure):
    with reconfigure("h1") as h1:
        h1.edit("blue", guests={"boot": {"server": "198.18.0.1", "file": "pxelinux.0", "ipxe": "http://198.18.0.1/x"}})
        h1.reload()
        pxe = client.ask("discover", ("vendor_class_id", b"PXEClient:Arch:00007"))
        assert pxe[BOOTP].file.rstrip(b"\0") == b"pxelinux.0" and pxe[BOOTP].siaddr == "198.18.0.1"
        ipxe = client.ask("discover", ("vendor_class_id", b"PXEClient"), ("user_class", b"iPXE"))
        assert ipxe[BOOTP].file.rstrip(b"\0") == b"http://198.18.0.1/x"
        assert client.ask("discover")[BOOTP].siaddr == "0.0.0.0"


def test_malformed_questions_hurt_nobody(lab, client):
    whole = bytes(client.frame("discover"))
    for size in range(43, len(whole), 17):
        client.ns.send("eth0", whole[:size])
        time.sleep(0.06)  # within the port's rate
    client.ns.send("eth0", whole + bytes(1200))
    client.ns.send("eth0", Ether(src=MAC, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255")
                   / UDP(sport=68, dport=67) / Raw(b"\xff" * 600))
    time.sleep(1.2)
    assert lab.agents["h1"].running
    assert client.ask("discover") is not None


def test_a_guest_is_no_dhcp_server(lab, counters, forge):
    before = counters("h1").dropped("rogue-service")
    with lab.ns("blue-app").sniff("eth0", direction="in") as sniffer:
        forge("blue-web", "10.0.0.3", UDP(sport=67, dport=68) / Raw(b"\2" * 300))
        time.sleep(0.5)
    assert [p for p in sniffer.packets() if UDP in p and p[UDP].dport == 68] == []
    assert counters("h1").dropped("rogue-service") == before + 1


def cut_off(lab, config):
    """Packets beyond blue-web's rate. What a NIC's own policer drops, its driver tells nobody."""
    if lab.nic is None:
        return rate_limited(lab, config, "port blue-web")
    guests = [guest.name for guest in lab.description.guests_of("h1")]
    return lab.nic.port(guests.index("blue-web") + 1)["drop_police"]


def test_a_flood_is_limited_and_the_other_ports_are_answered(lab, client, configs):
    other = Client(lab, "blue-app", APP_MAC)
    before = cut_off(lab, configs["h1"])
    question = bytes(client.frame("discover"))  # once: to make one takes longer than the limit's second allows
    with client.ns.sniff("eth0", direction="in") as sniffer, client.flood(question, 500) as sent:
        time.sleep(1)
        answer = other.ask("discover")  # waits for 2 s
        time.sleep(1)
    assert answer is not None and answer[BOOTP].yiaddr == "10.0.0.3"
    answers = [p for p in sniffer.packets() if BOOTP in p and p[BOOTP].op == 2]
    assert 0 < len(answers) < sent[0] / 2
    assert cut_off(lab, configs["h1"]) - before >= sent[0] / 2
    status = json.loads(lab.ctl("h1", "status", "--json").out)
    assert status["guests"]["questions"]["DHCPDISCOVER"]["answered"] >= len(answers)


def test_answers_return_with_the_agent(lab, agents, configs, client):
    lab.agents["h1"].kill()
    try:
        assert client.ask("discover") is None
        assert lab.ns("blue-web").ping("10.0.0.3", count=1).received == 1  # ARP and all else go on
    finally:
        lab.start_agent("h1", configs["h1"].path)
    assert client.ask("discover") is not None


def told_of_web(h1, **guests):
    document = h1.read("blue")
    for port in document["ports"]:
        if port["name"] == "blue-web":
            port["guests"] = guests
    h1.write("blue", document)
    h1.reload()


def test_a_guest_hears_at_once_of_another_resolver_and_that_it_is_gone(lab, reconfigure):
    with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer:
        with reconfigure("h1") as h1:
            told_of_web(h1, dns=["2001:db8::53"])
            told = sniffer.wait_for(lambda p: ICMPv6NDOptRDNSS in p, 5)
        gone = sniffer.wait_for(lambda p: ICMPv6NDOptRDNSS in p and p[ICMPv6NDOptRDNSS].lifetime == 0, 5)
    for packet in (told, gone):
        assert (packet[Ether].src, packet[IPv6].src) == (GATEWAY_MAC, "fe80::1")
        assert (packet[IPv6].dst, packet[IPv6].hlim) == ("ff02::1", 255)
        assert packet[ICMPv6ND_RA].routerlifetime == 65535
        assert packet[ICMPv6NDOptRDNSS].dns == ["2001:db8::53"]
    assert told[ICMPv6NDOptRDNSS].lifetime == 65535


def test_a_router_that_is_switched_off_says_so(lab, reconfigure):
    with lab.ns("blue-web").sniff("eth0", direction="in") as sniffer:
        with reconfigure("h1") as h1:
            told_of_web(h1, router_advertisements=False)
            sniffer.wait_for(lambda p: ICMPv6ND_RA in p and p[ICMPv6ND_RA].routerlifetime == 0, 5)
        sniffer.wait_for(lambda p: ICMPv6ND_RA in p and p[ICMPv6ND_RA].routerlifetime == 65535, 5)


def test_a_guest_that_remembers_another_gateway_learns_where_this_one_is_when_the_agent_begins(lab, agents, configs):
    guest = lab.ns("blue-web")
    lab.agents["h1"].stop()
    for gateway in (GATEWAY, "fe80::1"):
        guest.run(f"ip neigh replace {gateway} lladdr 02:00:00:00:99:99 dev eth0 nud stale")
    with guest.sniff("eth0", direction="in") as sniffer:
        lab.start_agent("h1", configs["h1"].path)
        arp = sniffer.wait_for(lambda p: ARP in p and p[ARP].psrc == p[ARP].pdst == GATEWAY, 5)
        nd = sniffer.wait_for(lambda p: ICMPv6ND_NA in p and p[ICMPv6ND_NA].tgt == "fe80::1", 5)
    assert (arp[Ether].dst, arp[Ether].src, arp[ARP].hwsrc) == (BROADCAST, GATEWAY_MAC, GATEWAY_MAC)
    assert (nd[Ether].src, nd[IPv6].dst, nd[IPv6].hlim) == (GATEWAY_MAC, "ff02::1", 255)
    assert (nd[ICMPv6ND_NA].R, nd[ICMPv6ND_NA].S, nd[ICMPv6ND_NA].O) == (1, 0, 1)
    assert nd[ICMPv6NDOptDstLLAddr].lladdr == GATEWAY_MAC
    for gateway in (GATEWAY, "fe80::1"):
        show = f"ip neigh show {gateway} dev eth0"
        lab.wait_until(lambda show=show: GATEWAY_MAC in guest.run(show), 5, f"the MAC of {gateway}")


@pytest.mark.smoke
def test_a_router_solicitation_is_answered(lab):
    told = lab.ns("blue-web").run("rdisc6 -1 -r 3 -w 2000 eth0")
    assert "fd00:100::/64" in told and "1550" in told and "fe80::1" in told


def test_dhclient_configures_ipv6(lab, tmp_path):
    guest = lab.ns("blue-web")
    files = f"-lf {tmp_path}/leases6 -pf {tmp_path}/pid6"
    guest.run("ip addr del fd00:100::1/64 dev eth0")
    try:
        guest.run(f"dhclient -6 -1 {files} eth0")
        assert "fd00:100::1/" in guest.run("ip -6 addr show dev eth0")
    finally:
        guest.run(f"dhclient -6 -x {files} eth0", check=False)
        guest.run("ip addr replace fd00:100::1/64 dev eth0 nodad")


def test_a_guest_is_no_router(lab, counters):
    before = counters("h1").dropped("rogue-service")
    lab.ns("blue-web").send("eth0", Ether(src=MAC, dst="33:33:00:00:00:01") / IPv6(src="fe80::1:1", dst="ff02::1", hlim=255)
                            / ICMPv6ND_RA())
    assert counters("h1").dropped("rogue-service") == before + 1
