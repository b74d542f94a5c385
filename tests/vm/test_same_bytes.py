"""One script of frames, played to two labs: guests on veth, and guests on the simulated NIC once its connections are in
hardware. What comes out, and where, is the same to the byte, but for what no two forwarders need agree on:

| field | why it may differ |
|---|---|
| UDP source port of a tunnelled frame | a hash of the inner flow, each with its own |
| IP id and header checksum of a tunnelled frame | the kernel counts ids, a NIC writes one constant |
| the port that source NAT picked | drawn at random from the tenant's slice; what is sent back goes to the one drawn |
| TTL and header checksum of a later fragment | see later_fragment() |

The script is UDP: what TCP connections carry is compared by digest in the other suites, and what their kernels put into
sequence numbers is theirs."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab import Lab, load
from tests.lab.packets import ICMP, IP, UDP, VXLAN, Dot1Q, Ether, ICMPv6TimeExceeded, IPv6, Raw
from tests.vm import traffic
from tests.vm.configs import HostConfig

pytestmark = [pytest.mark.eswitch, pytest.mark.timeout(300)]

MARK = b"same-bytes"
GATEWAY = "02:73:65:70:61:6c"
UPLINK = "02:00:00:00:f1:01"
PLACES = {"blue-web": "eth0", "blue-app": "eth0", "green-web": "eth0", "blue-db": "eth0", "green-db": "eth0", "wan": "eth0",
          "h2": "uplink"}
PUBLIC = {"203.0.113.10", "2001:db8:113::10"}
NAT_PORT = 1024  # stands for whichever was drawn


class Talk:
    """A UDP conversation, written as frames. `vlan`, `peer_mac`: how the far end's frames look when it is the outside."""

    def __init__(self, client, server, source, target, port, *, vlan=None, peer_mac=None, public=None):
        self.client, self.server, self.source, self.target, self.port = client, server, source, target, port
        self.vlan, self.peer_mac, self.public = vlan, peer_mac, public
        self.translated: int | None = None

    @property
    def name(self):
        return f"{self.client} to {self.server} {self.target}"

    def _ip(self, source, target, **fields):
        return IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target, id=4711, **fields)

    def there(self, macs, what=b"", *, change=lambda packet: packet):
        packet = self._ip(self.source, self.target) / UDP(sport=4000 + self.port % 1000, dport=self.port) / Raw(MARK + what)
        return self.client, Ether(src=macs[self.client], dst=GATEWAY) / change(packet)

    def back(self, macs, what=b"", *, change=lambda packet: packet):
        port = 4000 + self.port % 1000 if self.public is None else self.translated
        packet = self._ip(self.target, self.public or self.source) / UDP(sport=self.port, dport=port) / Raw(MARK + what)
        packet = change(packet)
        if self.vlan:
            return self.server, Ether(src=self.peer_mac, dst=UPLINK) / Dot1Q(vlan=self.vlan) / packet
        return self.server, Ether(src=macs[self.server], dst=GATEWAY) / packet


def talks():
    return [
        Talk("blue-web", "blue-db", "10.0.0.1", "10.0.0.2", 5401),
        Talk("blue-web", "blue-db", "fd00:100::1", "fd00:100::2", 5402),
        Talk("green-web", "green-db", "10.0.0.1", "10.0.0.2", 5401),
        Talk("blue-web", "blue-app", "10.0.0.1", "10.0.0.3", 5403),
        Talk("blue-web", "blue-app", "fd00:100::1", "fd00:100::3", 5404),
        Talk("blue-app", "wan", "10.0.0.3", "10.40.0.1", 5405, vlan=40, peer_mac="02:00:00:00:40:01"),
        Talk("blue-app", "wan", "fd00:100::3", "fd00:40::1", 5406, vlan=40, peer_mac="02:00:00:00:40:01"),
        Talk("blue-web", "wan", "10.0.0.1", "198.18.0.1", 5407, vlan=30, peer_mac="02:00:00:00:30:01", public="203.0.113.10"),
        Talk("blue-web", "wan", "fd00:100::1", "2001:db8:18::1", 5408, vlan=30, peer_mac="02:00:00:00:30:01",
             public="2001:db8:113::10"),
    ]


def field(name, value):
    """Sets a field of the IP header, by IPv4's name."""
    six = {"ttl": "hlim", "tos": "tc"}

    def change(packet):
        setattr(packet, name if packet.version == 4 else six[name], value)
        return packet
    return change


def without_checksum(packet):
    if packet.version == 4:
        packet[UDP].chksum = 0
    return packet


# What an established connection may carry: all of it is hardware's.
PLAIN = {"one byte": dict(what=b"x"), "an odd number": dict(what=b"y" * 333), "full size": dict(what=b"z" * 1400),
         "marked by its sender": dict(change=field("tos", 0xb8)), "a few hops left": dict(change=field("ttl", 3)),
         "no checksum": dict(change=without_checksum)}


class Play:
    def __init__(self, lab: Lab) -> None:
        self.lab, self.talks = lab, talks()
        self.macs = {guest.name: guest.mac for guest in lab.description.guests}
        self.out: dict[str, list[str]] = {}
        self.came_up = self.in_hardware = 0

    def run(self) -> None:
        with ExitStack() as stack:
            # Somebody listens, or kernels would answer with errors at a rate of their own.
            for talk in self.talks:
                for end, address, port in ((talk.client, talk.source, 4000 + talk.port % 1000), (talk.server, talk.target, talk.port)):
                    socket = stack.enter_context(self.lab.ns(end).socket(traffic.family_of(address), 2))
                    socket.bind((address, port))
            for number in range(2):
                self._round(f"{number}".encode())
                time.sleep(2.5)  # a UDP connection is an established one two seconds after its first answer
            self._round(b"2")
            time.sleep(0.5)
            before = self._hardware()
            self._plain()
            self.came_up, self.in_hardware = (a - b for a, b in zip(self._hardware(), before))
            self._not_plain()

    def _round(self, number: bytes) -> None:
        """Each conversation, once there and once back."""
        with self._capture(f"round {number.decode()}") as sniffers:
            for talk in self.talks:
                self._send(talk.there(self.macs, number))
            for talk in self.talks:
                if talk.public and talk.translated is None:
                    packet = sniffers["wan"].wait_for(lambda p, talk=talk: p.haslayer(UDP) and p[UDP].dport == talk.port and
                                                      (IPv6 if ":" in talk.target else IP) in p, 5, talk.name)
                    talk.translated = packet[UDP].sport
            for talk in self.talks:
                self._send(talk.back(self.macs, number))

    def _plain(self) -> None:
        for name, how in PLAIN.items():
            with self._capture(name):
                for talk in self.talks:
                    self._send(talk.there(self.macs, **how))
                    self._send(talk.back(self.macs, **how))

    def _not_plain(self) -> None:
        """What leaves the fast path, and what must not get anywhere."""
        with self._capture("fragments"):
            for talk in self.talks:
                if ":" in talk.target or talk.public:
                    continue
                for frame in ((Raw(b"f" * 40), dict(flags="MF", frag=0)), (Raw(b"f" * 24), dict(flags=0, frag=6))):
                    load, bits = frame
                    head = UDP(sport=4000 + talk.port % 1000, dport=talk.port, len=72, chksum=0) if not bits["frag"] else Raw(b"")
                    ip = IP(src=talk.source, dst=talk.target, id=4712, proto=17, **bits)
                    self._send((talk.client, Ether(src=self.macs[talk.client], dst=GATEWAY) / ip / head / load), pause=0.02)
        with self._capture("nobody's"):
            for talk in self.talks:
                self._send(talk.there(self.macs, change=field("ttl", 1)))
                host, frame = talk.there(self.macs)
                frame.src = "02:00:00:00:09:09"
                self._send((host, frame))
                host, frame = talk.there(self.macs)
                self._send((host, Ether(src=frame.src, dst=frame.dst) / Dot1Q(vlan=40) / frame.payload))

    @contextmanager
    def _capture(self, what: str) -> Iterator[dict]:
        sniffers = {place: self.lab.ns(place).sniff(device, direction="in") for place, device in PLACES.items()}
        yield sniffers
        time.sleep(0.3)
        for place, sniffer in sniffers.items():
            sniffer.stop()
            frames = [normal(frame) for frame in sniffer.packets() if is_ours(frame)]
            self.out[f"{what}, at {place}"] = frames

    def _send(self, what, pause: float = 0.004) -> None:
        place, frame = what
        self.lab.ns(place).send(PLACES[place], frame)
        time.sleep(pause)

    def _hardware(self) -> tuple[int, int]:
        if not self.lab.nic:
            return 0, 0
        ports = [self.lab.nic.port(number) for number in range(4)]
        # The wire's port carries the host's own ARP and neighbour discovery as well.
        return (sum(count for port in ports[1:] for key, count in port.items() if key.startswith("miss_")),
                sum(port["hw_in"] for port in ports))


def is_ours(frame) -> bool:
    data = bytes(frame)
    return MARK in data or b"f" * 24 in data


def is_time_exceeded(frame) -> bool:
    return ICMPv6TimeExceeded in frame or (ICMP in frame and frame[ICMP].type == 11)


def later_fragment(packet):
    """The IP header of a fragment that is not the first; None for other packets. When the kernel behind the capture reassembles
    and fragments anew (ip_fraglist_prepare() in net/ipv4/ip_output.c), it writes its own header over a later fragment's, whose
    bytes the captured copy shares: whether that happened before it was read is chance."""
    ip = packet[VXLAN][IP] if VXLAN in packet and IP in packet[VXLAN] else packet[IP] if IP in packet else None
    return ip if ip is not None and ip.frag > 0 else None


def normal(frame) -> str:
    """The frame in hex, with the fields of the table above put to one value, after looking that they are right."""
    again = Ether(bytes(frame))
    if (later := later_fragment(again)) is not None:
        later.ttl = later.chksum = 0
    if VXLAN in again:
        assert again[UDP].sport >= 1024
        again[UDP].sport = 0
        if IP in again and again[IP].haslayer(UDP):
            again[IP].id = 0
            right = again[IP].chksum
            del again[IP].chksum
            ip = Ether(bytes(again))[IP]
            again[IP].chksum = 0
            assert ip.chksum is not None and right is not None
    elif UDP in again:
        layer = IPv6 if IPv6 in again else IP
        for field_name, address in (("sport", again[layer].src), ("dport", again[layer].dst)):
            if address in PUBLIC:
                assert 1024 <= getattr(again[UDP], field_name) < 2048
                had = again[UDP].chksum
                if had:
                    del again[UDP].chksum
                    assert Ether(bytes(again))[UDP].chksum == had, frame.summary()
                    again = Ether(bytes(again))
                setattr(again[UDP], field_name, NAT_PORT)
                again[UDP].chksum = 0
    return bytes(again).hex()


@pytest.fixture(scope="module")
def plays(tmp_path_factory):
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    made = {}
    for way, host in (("software", None), ("nic", "h1")):
        logs = tmp_path_factory.mktemp(f"logs-{way}")
        with Lab(load(simulated_nic=host), logs) as lab:
            directory = Path(tmp_path_factory.mktemp(f"config-{way}"))
            for each in lab.description.hosts:
                lab.start_agent(each.name, HostConfig(directory, each.name, lab).path)
            lab.ns("h1").ping("192.0.2.2")
            made[way] = Play(lab)
            made[way].run()
    return made


def test_every_frame_comes_out_the_same_and_at_the_same_places(plays):
    software, nic = ({where: Counter(frames) for where, frames in plays[way].out.items()} for way in ("software", "nic"))
    assert software.keys() == nic.keys()
    different = [f"{where}: {way} alone has {frame}" for where in software
                 for way, frames in (("software", software[where] - nic[where]), ("the NIC", nic[where] - software[where]))
                 for frame in frames.elements()]
    assert not different, "\n".join(different)


def test_the_script_says_something(plays):
    """Each conversation's frames arrived, in both directions; what must not get anywhere did not."""
    for play in plays.values():
        out = play.out
        for number in range(3):
            assert sum(len(frames) for where, frames in out.items()
                       if where.startswith(f"round {number}") and not where.endswith("at h2")) == 2 * len(play.talks)
        for name in PLAIN:
            arrived = sum(len(frames) for where, frames in out.items() if where.startswith(name) and not where.endswith("at h2"))
            assert arrived == 2 * len(play.talks), name
        assert sum(len(frames) for where, frames in out.items() if where.startswith("fragments")) > 0
        told = [Ether(bytes.fromhex(frame)) for where, frames in out.items() if where.startswith("nobody's") for frame in frames]
        assert all(is_time_exceeded(frame) for frame in told), "whose TTL ends is told, and nothing else gets anywhere"
        assert len(told) == len(play.talks)


def test_the_nic_carried_the_established_connections_itself(plays):
    assert plays["software"].in_hardware == 0
    assert plays["nic"].in_hardware >= 2 * len(PLAIN) * len(talks())
    assert plays["nic"].came_up == 0
