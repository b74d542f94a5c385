"""A port is a VF of a PCI function. Devices are renamed, made anew, lost with their whole NIC and come back: rules follow
the port, and who has no part in it is not touched."""

import json
import selectors
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.namespace import Namespace
from tests.lab.nic import OTHER_PCI, PCI

pytestmark = [pytest.mark.on_nic, pytest.mark.usefixtures("agents"), pytest.mark.timeout(300)]

SYSFS = Path("/sys/bus/pci/devices")
NIC_LOST = Path("/run/sepal/h1.nic-lost")
NEIGHBOURS = 32  # pairs of guests on the other card: all the VFs that it has


def writes(lab):
    return [line for line in (lab.nic.debugfs / "journal").read_text().splitlines() if " replace " in line or " destroy " in line]


def shown(lab, configs):
    answer = lab.ctl("h1", "show", "--json", "--config", str(configs["h1"].path))
    assert answer.status == 0, answer.err
    return json.loads(answer.out)


def not_in_hardware(lab, configs):
    """Rules that may be offloaded and are not."""
    return [f"{r['device']} chain {r['chain']:#x} prio {r['prio']} {r['match']}" for r in shown(lab, configs)["rules"]
            if not r["in_hw"] and not r["skip_hw"]]


def wait_until_whole(lab, configs, what):
    """All ports have their rules, and all of them that may be are in hardware."""
    def whole():
        return not shown(lab, configs)["waiting"] and not not_in_hardware(lab, configs)
    lab.wait_until(lambda: lab.ctl("h1", "plan", str(configs["h1"].path)).status == 0, 40, what)
    try:
        lab.wait_until(whole, 40, f"{what}, in hardware")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {not_in_hardware(lab, configs)}") from error


@pytest.fixture
def pings(lab):
    def check():
        for target in ("10.0.0.3", "10.0.0.2", "198.18.0.1"):
            assert lab.ns("blue-web").ping(target, count=2).received == 2, target
        assert lab.ns("green-db").ping("10.0.0.1", count=2).received == 2
    return check


def test_a_renamed_representor_keeps_its_rules_and_nothing_is_written(lab, configs, pings):
    before = shown(lab, configs)
    (lab.nic.debugfs / "journal").write_text("0\n")
    h1 = lab.ns("h1")
    h1.run(["ip", "-batch", "-"], input="link set blue-web down\nlink set blue-web name elsewhere\nlink set elsewhere up\n"
           "link set blue-app down\nlink set blue-app name blue-web\nlink set blue-web up\n")
    try:
        time.sleep(1)
        after = shown(lab, configs)
        names = {"blue-web": "elsewhere", "blue-app": "blue-web"}
        place = lambda rule, names: (names.get(rule["device"], rule["device"]), rule["chain"], rule["prio"], rule["handle"])
        assert sorted(place(r, names) for r in before["rules"]) == sorted(place(r, {}) for r in after["rules"])
        assert writes(lab) == []
        pings()
    finally:
        h1.run(["ip", "-batch", "-"], input="link set blue-web down\nlink set blue-web name blue-app\nlink set blue-app up\n"
               "link set elsewhere down\nlink set elsewhere name blue-web\nlink set blue-web up\n")


class Neighbours:
    """64 guests on the other card, two in each of 32 tenants; their representors are named as devices by the
    configuration. All first guests share one namespace, all second ones another: each has a device and a subnet of its own."""

    ENDS = ("red-a", "red-b")

    def __init__(self, lab):
        (SYSFS / OTHER_PCI / "sriov_numvfs").write_text(f"{2 * NEIGHBOURS}\n")
        lab.ns("h1").run(f"devlink dev eswitch set pci/{OTHER_PCI} mode switchdev")
        representors = {(dev / "phys_port_name").read_text().strip(): dev.name
                        for dev in (SYSFS / OTHER_PCI / "net").iterdir()}
        self.namespaces = [Namespace.create(name) for name in self.ENDS]
        outside, inside = [], [[], []]
        for pair in range(NEIGHBOURS):
            for end in (0, 1):
                vf = 2 * pair + end
                device = next((SYSFS / OTHER_PCI / f"virtfn{vf}" / "net").iterdir()).name
                outside += [f"link set {representors[f'pf0vf{vf}']} name {self.device(vf)} up",
                            f"link set {device} address {self.mac(vf)}",
                            f"link set {device} netns {self.ENDS[end]} name eth{pair}"]
                inside[end] += [f"link set eth{pair} up", f"addr add {self.address(vf)}/24 dev eth{pair}"]
        lab.ns("h1").run(["ip", "-batch", "-"], input="\n".join(outside) + "\n")
        for namespace, lines in zip(self.namespaces, inside):
            namespace.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    @staticmethod
    def device(vf):
        return f"red-{vf}"

    @staticmethod
    def mac(vf):
        return f"02:00:00:00:99:{vf + 1:02x}"

    @staticmethod
    def address(vf):
        return f"10.9.{vf // 2}.{vf % 2 + 1}"

    def document(self, pair):
        return {"apiVersion": "sepal/v1", "kind": "Tenant", "name": f"red-{pair}", "vni": 300 + pair, "subnets": [f"10.9.{pair}.0/24"],
                "ports": [{"name": self.device(vf), "device": self.device(vf), "mac": self.mac(vf), "addresses": [self.address(vf)]}
                          for vf in (2 * pair, 2 * pair + 1)]}

    def close(self):
        for namespace in self.namespaces:
            namespace.close()
        Namespace.remove(*self.ENDS)


class Calls:
    """Every pair of neighbours talks: a number from the first guest, the same back from the second. Each port sends and
    receives, so what one of them loses is missing in `lost`, (guest, how many) by guest that called."""

    EVERY = 0.2  # seconds between two calls of one pair

    def __init__(self, neighbours):
        ends = [[namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(NEIGHBOURS)] for namespace in neighbours.namespaces]
        self._callers, self._called = ends
        for pair, (caller, called) in enumerate(zip(*ends)):
            called.bind((neighbours.address(2 * pair + 1), 7501))
            caller.bind((neighbours.address(2 * pair), 0))
            caller.connect((neighbours.address(2 * pair + 1), 7501))
        self.sent = 0  # by each
        self._answered = [set() for _ in range(NEIGHBOURS)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True), threading.Thread(target=self._answer, daemon=True)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for end in (*self._callers, *self._called):
            end.close()

    def everybody_answered(self):
        return all(self._answered)

    @property
    def lost(self):
        return [(f"red-{2 * pair}", self.sent - len(answered)) for pair, answered in enumerate(self._answered)
                if len(answered) != self.sent]

    def _call(self):
        while not self._stop.wait(self.EVERY):
            for caller in self._callers:
                with suppress(OSError):  # what cannot leave stays without an answer
                    caller.send(self.sent.to_bytes(8, "big"))
            self.sent += 1

    def _answer(self):
        with selectors.DefaultSelector() as selector:
            for pair, (caller, called) in enumerate(zip(self._callers, self._called)):
                selector.register(caller, selectors.EVENT_READ, pair)
                selector.register(called, selectors.EVENT_READ, None)
            ready = []
            while ready or not self._stop.is_set():
                ready = selector.select(1)  # the last answers have that long
                for key, _ in ready:
                    data, peer = key.fileobj.recvfrom(64)
                    if key.data is None:
                        key.fileobj.sendto(data, peer)
                    else:
                        self._answered[key.data].add(data)


@pytest.fixture
def neighbours(lab, reconfigure):
    made = Neighbours(lab)
    with reconfigure("h1") as h1:
        for pair in range(NEIGHBOURS):
            h1.write(f"red-{pair}", made.document(pair))
        h1.reload()
        yield made
    made.close()


def test_all_vfs_made_anew_get_their_rules_back_and_64_other_ports_lose_nothing(lab, configs, neighbours, pings):
    pings()
    with Calls(neighbours) as calls:
        lab.wait_until(calls.everybody_answered, 30, "an answer to every guest on the other card")
        (SYSFS / PCI / "sriov_numvfs").write_text("0\n")
        lab.wait_until(lambda: shown(lab, configs)["waiting"], 20, "ports that wait")
        (SYSFS / PCI / "sriov_numvfs").write_text(f"{lab.nic.vfs}\n")
        lab.give_vfs_to_guests()
        wait_until_whole(lab, configs, "rules on the new representors")
    assert calls.sent > 20 and calls.lost == []
    pings()


class PathUnit:
    """What sepal-nic.path and sepal-nic-again.service do: sepald's word starts `sepalctl nic apply`."""

    def __init__(self, lab, config, state):
        self._lab, self._arguments = lab, ("nic", "apply", str(config.path), "--state-dir", str(state))
        self.runs = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def apply(self):
        self.runs.append(self._lab.ctl("h1", *self._arguments))
        return self.runs[-1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        seen = self._written()
        while not self._stop.wait(0.05):
            now = self._written()
            if now is not None and now != seen:
                self.apply()
            seen = now

    @staticmethod
    def _written():
        try:
            return NIC_LOST.stat().st_mtime_ns
        except FileNotFoundError:
            return None


def reset(lab):
    (lab.nic.debugfs / "reset").write_text("1\n")


def reload_(lab):
    lab.ns("h1").run(f"devlink dev reload pci/{PCI}")


@pytest.mark.parametrize("how", [reset, reload_], ids=["the recovery of a fatal error", "devlink dev reload"])
def test_a_nic_that_falls_out_of_service_under_traffic_comes_back_whole(lab, configs, reconfigure, pings, tmp_path, how):
    pings()
    with reconfigure("h1") as h1:
        h1.edit("host", nic={"pci": PCI, "vfs": lab.nic.vfs})
        h1.reload()
        falls_and_comes_back(lab, configs, tmp_path, how)
    pings()


def falls_and_comes_back(lab, configs, tmp_path, how):
    unit = PathUnit(lab, configs["h1"], tmp_path / "state")
    done = unit.apply()
    assert done.status == 0, done.out + done.err
    wait_until_whole(lab, configs, "all in place before")
    uplink = lab.nic.uplink
    client = lab.ns("blue-web").socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.05)
    with lab.ns("blue-db").socket(socket.AF_INET, socket.SOCK_DGRAM) as server, client, unit:
        server.bind(("10.0.0.2", 7502))
        server.settimeout(0.05)
        assert answered(client, server)
        fell = time.monotonic()
        how(lab)
        # The host's own network configuration, as soon as the new uplink is there.
        lab.wait_until(lambda: lab.nic.uplink_if_there not in (None, uplink), 20, "a new uplink")
        lab.configure_uplink("h1")
        lab.wait_until(lambda: answered(client, server), 60, "an answer over the tunnel")
        flowing = time.monotonic()
        wait_until_whole(lab, configs, "everything back")
        whole = time.monotonic()
    print(f"after {how.__name__.strip('_')}: traffic after {flowing - fell:.1f} s, all in hardware after {whole - fell:.1f} s")
    assert [run.status for run in unit.runs if run.status == 0]
    assert "nic-lost" in lab.agents["h1"].log() or "is not in switchdev mode" in lab.agents["h1"].log()
    lab.wait_until(lambda: not NIC_LOST.exists(), 15, "sepald's word withdrawn")


def answered(client, server):
    """A datagram of a connection that goes on all the while, and its answer."""
    try:
        client.sendto(b"still there?", ("10.0.0.2", 7502))
        _, peer = server.recvfrom(100)
        server.sendto(b"yes", peer)
        client.recv(100)
        return True
    except (TimeoutError, socket.timeout, OSError):
        return False
