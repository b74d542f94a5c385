"""The lab itself: what the other tests stand on, proven without any program of ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, load
from tests.lab.lab import STATE_DIR
from tests.lab.namespace import NETNS_DIR


def namespaces_there() -> set[str]:
    return {path.name for path in NETNS_DIR.iterdir()} if NETNS_DIR.exists() else set()


@pytest.mark.smoke
def test_hypervisors_and_wan_reach_each_other_in_the_underlay(lab):
    for destination in ("192.0.2.2", "192.0.2.254", "2001:db8:2::2", "2001:db8:2::fe"):
        assert lab.ns("h1").ping(destination).ok, destination


def test_the_underlay_carries_1600_bytes_and_not_more(lab):
    # 20 bytes of IPv4 and 8 of ICMP go around the payload.
    assert lab.ns("h1").ping("192.0.2.2", size=1572, dont_fragment=True).ok
    assert not lab.ns("h1").ping("192.0.2.2", size=1573, dont_fragment=True, timeout=0.3).ok


def test_without_rules_a_guest_reaches_nobody(lab):
    assert lab.ns("blue-web").ping("10.0.0.2", timeout=0.5).received == 0
    assert lab.ns("blue-web").ping("fd00:100::2", timeout=0.5).received == 0


def test_a_captured_frame_has_its_vlan_tag_in_place(lab):
    frame = bytes.fromhex("02000000f201 02000000f101 8100 0028 88b5".replace(" ", "")) + b"tagged".ljust(46, b"\0")
    with lab.ns("h2").sniff("uplink", direction="in") as capture:
        lab.ns("h1").send("uplink", frame)
        assert capture.wait_for_frame(lambda seen: b"tagged" in seen) == frame


def test_wan_asks_on_vlan_30_for_a_public_address(lab):
    from tests.lab.packets import ARP, Dot1Q

    with lab.ns("h1").sniff("uplink", direction="in") as capture:
        lab.ns("wan").ping("203.0.113.10", timeout=0.1)
        question = capture.wait_for(lambda packet: ARP in packet and packet[ARP].pdst == "203.0.113.10")
    assert question[Dot1Q].vlan == 30
    assert question[ARP].psrc == "198.51.100.1"


def test_guests_write_true_checksums(lab):
    from tests.lab.packets import IP, UDP

    with lab.ns("h1").sniff("blue-web", direction="in") as capture, lab.ns("blue-web").socket() as sender:
        lab.ns("blue-web").run("ip neigh replace 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0")
        sender.sendto(b"checksum", ("10.0.0.9", 9))
        packet = capture.wait_for(lambda packet: UDP in packet and packet[UDP].dport == 9)
    written = packet[UDP].chksum
    del packet[UDP].chksum
    assert written == IP(bytes(packet[IP]))[UDP].chksum


@pytest.mark.smoke
def test_flower_with_ct_and_goto_carries_a_ping_between_guests(lab):
    """The kernel can do what the bed is for: chains, conntrack and redirect, between two representors."""
    h1 = lab.ns("h1")
    macs = {guest: lab.description.guest(guest).mac for guest in ("blue-web", "blue-app")}
    batch = []
    for device, other in (("blue-web", "blue-app"), ("blue-app", "blue-web")):
        batch += [
            f"qdisc replace dev {device} clsact",
            f"filter add dev {device} ingress protocol arp prio 1 flower action mirred egress redirect dev {other}",
            f"filter add dev {device} ingress protocol ip prio 2 flower action ct zone 9 nat pipe action goto chain 100",
            f"filter add dev {device} ingress protocol ip chain 100 prio 1 flower ct_state +trk+new"
            " action ct commit zone 9 pipe action goto chain 200",
            f"filter add dev {device} ingress protocol ip chain 100 prio 1 flower ct_state +trk+est action goto chain 200",
            f"filter add dev {device} ingress protocol ip chain 200 prio 1 flower dst_mac {macs[other]}"
            f" action mirred egress redirect dev {other}",
        ]
    try:
        h1.run(["tc", "-batch", "-"], input="\n".join(batch) + "\n")
        reply = lab.ns("blue-web").ping("10.0.0.3", count=3)
        assert reply.ok, f"{reply}\n{lab.report()}"
    finally:
        for device in macs:
            h1.run(["tc", "qdisc", "del", "dev", device, "clsact"], check=False)


@pytest.mark.smoke
def test_tcp_flows_over_a_vxlan_between_the_hypervisors(lab):
    """vxlan as the kernel makes it, on the underlay's MTU: the way sepal's own tunnel will go."""
    for host, other, address in (("h1", "192.0.2.2", "172.16.0.1/24"), ("h2", "192.0.2.1", "172.16.0.2/24")):
        lab.ns(host).run(f"ip link add probe type vxlan id 7 remote {other} dstport 4789")
        lab.ns(host).run(f"ip addr add {address} dev probe")
        lab.ns(host).run("ip link set probe up")
    try:
        with lab.ns("h2").socket(kind=socket.SOCK_STREAM) as server, lab.ns("h1").socket(kind=socket.SOCK_STREAM) as client:
            server.bind(("172.16.0.2", 7000))
            server.listen()
            client.settimeout(10)
            client.connect(("172.16.0.2", 7000))
            connection, _ = server.accept()
            with connection:
                client.sendall(b"x" * 100_000)
                received = 0
                while received < 100_000:
                    received += len(connection.recv(65536))
    finally:
        for host in ("h1", "h2"):
            lab.ns(host).run("ip link del probe")


def test_a_lab_on_an_underlay_vlan_pings_in_that_vlan():
    with Lab(load(prefix="v-", underlay_vlan=2)) as lab:
        assert lab.ns("h1").ping("192.0.2.2").ok
        assert "uplink.2" in lab.ns("h1").run("ip -br addr show to 192.0.2.1")


def test_down_leaves_nothing_behind():
    before = namespaces_there()
    with Lab(load(prefix="gone-")) as lab:
        assert namespaces_there() - before == {"gone-" + name for name in lab.description.namespaces()}
        sleeper = lab.ns("blue-db").popen(["sleep", "1000"])
    assert namespaces_there() == before
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not (STATE_DIR / "gone-.json").exists()


def test_an_exception_inside_takes_the_lab_down():
    before = namespaces_there()
    with pytest.raises(ZeroDivisionError), Lab(load(prefix="raise-")):
        _ = 1 / 0
    assert namespaces_there() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_an_ended_run_leaves_is_cleared(how):
    """By itself on Ctrl-C; by the next lab of the same prefix after kill -9."""
    before = namespaces_there()
    script = textwrap.dedent("""
        import time
        from tests.lab import Lab, load
        with Lab(load(prefix="died-")) as lab:
            lab.ns("h1").popen(["sleep", "1000"])
            print("up", flush=True)
            time.sleep(1000)
    """)
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert run.stdout.readline() == "up\n"
    run.send_signal(how)
    run.wait(30)
    if how == signal.SIGKILL:
        assert namespaces_there() != before
        Lab(load(prefix="died-")).up().down()
    assert namespaces_there() == before


def test_a_living_lab_of_the_same_prefix_is_not_touched(lab):
    state = STATE_DIR / "lab.json"
    script = "from tests.lab import Lab, load; Lab(load()).up()"
    refused = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"process {os.getpid()} has this lab up" in refused.stderr
    assert state.exists()
    assert lab.ns("h1").ping("192.0.2.2").ok


def test_a_namespace_of_somebody_else_is_refused_by_name():
    path = Path(NETNS_DIR, "other-fabric")
    path.touch()
    try:
        with pytest.raises(LabError, match="other-fabric is there and is not of a lab"):
            Lab(load(prefix="other-")).up()
    finally:
        path.unlink()
    assert not (STATE_DIR / "other-.json").exists()
