"""`sepalctl nic` on a card with real SR-IOV and devlink underneath: the simulated eSwitch, whose PCI functions, sysfs
files and devlink instance are the kernel's own. Run where SEPAL_ESWITCH_SIM names its module.

Each test begins with the card as after power-on: legacy mode, no VFs, no record."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.agent import program

pytestmark = pytest.mark.eswitch

PCI = "0001:03:00.0"
SYSFS = Path("/sys/bus/pci/devices") / PCI
DRIVERS = Path("/sys/bus/pci/drivers")
DEBUG = Path("/sys/kernel/debug/esim") / PCI
WEB_MAC, DB_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
# Programs of a debug build are traced below, where leaks cannot be looked for.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess:
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=120)


def devlink_json(*arguments: str) -> dict:
    return json.loads(run("devlink", "-j", *arguments).stdout)


@pytest.fixture(scope="module")
def module() -> Iterator[None]:
    path = os.environ.get("SEPAL_ESWITCH_SIM", "")
    if not Path(path).is_file():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")
    if not Path("/sys/kernel/debug/tracing").exists():
        run("mount", "-t", "debugfs", "none", "/sys/kernel/debug", check=False)
    run("modprobe", "-qa", "cls_flower", "act_mirred", "act_ct", "vxlan", check=False)
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1\n")
    run("insmod", path, "max_vfs=8")
    yield
    run("rmmod", "eswitch_sim")


class Card:
    """The one physical function, and sepalctl for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.driver = (SYSFS / "driver").resolve().name

    def configure(self, vfs: int, only: str = "", macs: tuple[str, ...] = (WEB_MAC, DB_MAC)) -> None:
        only = f", only: {only}" if only else ""
        ports = "".join(
            f'  - {{name: p{n}, vf: {n}, mac: "{mac}", addresses: [10.0.0.{n + 1}]}}\n' for n, mac in enumerate(macs))
        (self.directory / "sepal.yaml").write_text(
            "apiVersion: sepal/v1\nkind: Host\n"
            f'nic: {{pci: "{PCI}", vfs: {vfs}{only}}}\n'
            "underlay: {device: uplink, address: 192.0.2.1}\n---\n"
            "apiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 100\nsubnets: [10.0.0.0/24]\n"
            f"ports:\n{ports}")

    def arguments(self, command: str, *more: str) -> list[str]:
        return [program("sepalctl"), "nic", command, str(self.directory), "--state-dir", str(self.state),
                "--run-dir", str(self.directory / "run"), *more]

    def ctl(self, command: str, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.arguments(command, *more), capture_output=True, text=True, timeout=150,
                              env=ENVIRONMENT)

    def apply(self) -> dict:
        done = self.ctl("apply", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def show(self) -> dict:
        done = self.ctl("show", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["nic"]

    # --- the card, by other means than ours

    @staticmethod
    def power_on() -> None:
        """As after power-on. What VFs went where is undone first."""
        (SYSFS / "sriov_drivers_autoprobe").write_text("1\n")
        for handle, port in devlink_json("port", "show")["port"].items():
            if port.get("flavour") == "pcivf":
                run("devlink", "port", "function", "set", handle, "hw_addr", f"02:ff:00:00:00:{port['vfnum']:02x}")
        (SYSFS / "sriov_numvfs").write_text("0\n")
        run("devlink", "dev", "eswitch", "set", f"pci/{PCI}", "mode", "legacy")
        run("devlink", "dev", "param", "set", f"pci/{PCI}", "name", "flow_steering_mode", "value", "dmfs", "cmode", "runtime")
        for device in (SYSFS / "net").iterdir():
            run("ip", "link", "set", device.name, "down")
            run("ethtool", "-K", device.name, "hw-tc-offload", "off", check=False)
        for knob in ("delay_us/mode_set", "delay_us/sriov", "delay_us/hw_addr"):
            if (DEBUG / knob).exists():
                (DEBUG / knob).write_text("0\n")

    @staticmethod
    def sriov(count: int) -> None:
        (SYSFS / "sriov_numvfs").write_text(f"{count}\n")

    @staticmethod
    def mode(mode: str) -> None:
        run("devlink", "dev", "eswitch", "set", f"pci/{PCI}", "mode", mode)

    @staticmethod
    def function(vf: int) -> Path:
        return (SYSFS / f"virtfn{vf}").resolve()

    def driver_of(self, vf: int) -> str:
        link = self.function(vf) / "driver"
        return link.resolve().name if link.exists() else ""

    def essence(self) -> dict:
        """What devlink, sysfs, ip and ethtool tell of it, without numbers and names that change with each birth."""
        ports = {}
        links = {link["ifname"]: link for link in json.loads(run("ip", "-j", "link", "show").stdout)}
        for handle, port in devlink_json("port", "show")["port"].items():
            if not handle.startswith(f"pci/{PCI}/"):
                continue
            name = "uplink" if port["flavour"] == "physical" else f"vf{port['vfnum']}"
            ports[name] = {"mac": port.get("function", {}).get("hw_addr"), "flags": None}
            if "netdev" in port:
                link = links[port["netdev"]]
                features = run("ethtool", "-k", port["netdev"]).stdout
                ports[name]["up"] = "UP" in link["flags"]
                ports[name]["offload"] = re.search(r"hw-tc-offload: (\w+)", features)[1]
        eswitch = devlink_json("dev", "eswitch", "show", f"pci/{PCI}")["dev"][f"pci/{PCI}"]
        count = int((SYSFS / "sriov_numvfs").read_text())
        macs = {}
        for vf in range(count):
            devices = list((self.function(vf) / "net").iterdir()) if (self.function(vf) / "net").exists() else []
            macs[vf] = (devices[0] / "address").read_text().strip() if devices else None
        return {"ports": ports, "eswitch": eswitch, "count": count,
                "autoprobe": (SYSFS / "sriov_drivers_autoprobe").read_text().strip(),
                "drivers": [self.driver_of(vf) for vf in range(count)],
                "macs": [macs[vf] if vf < 2 else None for vf in range(count)]}


@pytest.fixture
def card(module, tmp_path: Path) -> Iterator[Card]:
    Card.power_on()
    card = Card(tmp_path)
    card.configure(3)
    yield card
    Card.power_on()


def expect_up(card: Card, count: int) -> dict:
    end = card.essence()
    assert end["eswitch"]["mode"] == "switchdev"
    assert end["count"] == count and end["autoprobe"] == "1"
    assert end["drivers"] == [card.driver] * count
    assert end["macs"][:2] == [WEB_MAC, DB_MAC]
    assert set(end["ports"]) == {"uplink", *(f"vf{n}" for n in range(count))}
    assert all(port["up"] and port["offload"] == "on" for port in end["ports"].values())
    return end


def test_a_bare_card_is_brought_up_and_a_second_time_is_nothing(card: Card) -> None:
    assert card.ctl("plan").returncode == 2
    card.apply()
    expect_up(card, 3)
    assert card.ctl("plan").returncode == 0
    journal = (DEBUG / "journal").read_text()
    assert card.apply()["done"] == []
    assert (DEBUG / "journal").read_text() == journal


def test_vfs_first_and_switchdev_first_end_alike(card: Card) -> None:
    ends = []
    for prepare in ("nothing", "vfs", "switchdev", "both"):
        card.power_on()
        if prepare in ("vfs", "both"):
            card.sriov(3)
        if prepare in ("switchdev", "both"):
            card.mode("switchdev")
        card.apply()
        ends.append(expect_up(card, 3))
    assert all(end == ends[0] for end in ends)


def test_another_number_of_vfs_goes_through_none(card: Card) -> None:
    card.apply()
    card.configure(5)
    card.apply()
    expect_up(card, 5)


def test_what_was_found_is_put_back(card: Card) -> None:
    card.sriov(2)
    before = card.essence()
    card.apply()
    expect_up(card, 3)
    done = card.ctl("reset")
    assert done.returncode == 0, done.stdout + done.stderr
    after = card.essence()
    for one in (before, after):
        one["macs"] = None  # VFs made anew have new ones
    assert after == before
    assert not list(card.state.iterdir())
    assert "was not changed" in card.ctl("reset").stdout


def test_a_vf_in_a_guests_namespace_or_in_use_is_named_and_nothing_changes(card: Card) -> None:
    card.sriov(3)
    guest, busy = (next((card.function(vf) / "net").iterdir()).name for vf in (0, 1))
    run("ip", "netns", "add", "guest")
    try:
        run("ip", "link", "set", guest, "netns", "guest")
        run("ip", "link", "set", busy, "up")
        before = card.essence()
        done = card.ctl("apply")
        assert done.returncode == 1
        assert re.search(r"VF 0 \(\S+\) is in another network namespace", done.stderr), done.stderr
        assert re.search(rf"VF 1 \(\S+\) is in use: {busy} is up", done.stderr), done.stderr
        assert "VF 2" not in done.stderr
        assert card.essence() == before
        assert not card.state.exists()
    finally:
        run("ip", "netns", "del", "guest")
        time.sleep(0.5)  # the VF's netdev goes with the namespace, or comes back from it
        card.sriov(0)


def test_only_the_vfs_given_are_touched(card: Card) -> None:
    card.sriov(4)
    for vf in range(4):
        (DRIVERS / card.driver / "unbind").write_text(card.function(vf).name)
    card.mode("switchdev")
    for vf in (2, 3):
        Path("/sys/bus/pci/drivers_probe").write_text(card.function(vf).name)
    before = card.essence()
    card.configure(8, only="[0-1]")
    card.apply()
    after = card.essence()
    assert after["count"] == 4
    assert after["drivers"] == [card.driver] * 4
    assert after["macs"][:2] == [WEB_MAC, DB_MAC]
    for vf in ("vf2", "vf3"):
        assert after["ports"][vf] == before["ports"][vf]
    assert after["ports"]["vf0"]["up"] and after["ports"]["vf1"]["up"]


def test_slow_steps_are_waited_for(card: Card) -> None:
    (DEBUG / "delay_us/mode_set").write_text("3000000\n")
    (DEBUG / "delay_us/sriov").write_text("2000000\n")
    (DEBUG / "delay_us/hw_addr").write_text("500000\n")
    card.apply()
    expect_up(card, 3)


def test_the_drivers_words_reach_the_user(card: Card) -> None:
    card.mode("switchdev")
    uplink = next((SYSFS / "net").iterdir()).name
    run("ip", "link", "set", uplink, "up")
    (DEBUG / "fail/mode_set").write_text("1000 16\n")  # EBUSY
    try:
        done = subprocess.run(["devlink", "dev", "eswitch", "set", f"pci/{PCI}", "mode", "legacy"], capture_output=True, text=True)
        assert done.returncode != 0
        words = done.stderr.splitlines()
        (DEBUG / "fail/mode_set").write_text("0 16\n")
        card.mode("legacy")
        (DEBUG / "fail/mode_set").write_text("1000 16\n")
        refused = card.ctl("apply")
        assert refused.returncode == 1
        assert "set the eSwitch's mode to switchdev" in refused.stderr
        assert "busy" in refused.stderr.lower()
        for said in words:
            if said.startswith("Error: "):
                assert said.removeprefix("Error: ") in refused.stderr
    finally:
        (DEBUG / "fail/mode_set").write_text("0 16\n")
    card.apply()
    expect_up(card, 3)


def killed_at(card: Card, call: str, nth: int) -> bool:
    """Runs apply and kills it as it enters its n-th such system call; False: it ended before."""
    done = subprocess.run(["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={call}",
                           "-e", f"inject={call}:signal=KILL:when={nth}", *card.arguments("apply")],
                          capture_output=True, text=True, timeout=150, env=ENVIRONMENT)
    if done.returncode in (0, 4):
        return False
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stdout + done.stderr
    return True


# What a request does: of rtnetlink its type tells (linux/rtnetlink.h), of a generic family the first byte behind the
# header. Those are port, feature, eswitch mode and parameter set, as linux/devlink.h and linux/ethtool_netlink.h number them.
NETLINK_ROUTE, GENL_ID_CTRL = 0, 0x10
ROUTE_CHANGES = {16, 19}
GENERIC_CHANGES = {0x06, 0x0c, 0x1e, 0x27}


def changing_sends(card: Card) -> tuple[list[int], int]:
    """Which of an apply's sends ask the kernel to change something (the others only look), and how many writes to files
    it makes: one run from the same beginning, not disturbed. All numbers stay raw: whether strace can name a message's
    type depends on what the kernel tells it of the socket."""
    trace = card.directory / "trace"
    done = subprocess.run(["strace", "-qq", "-f", "-xx", "-X", "raw", "-s", "8", "-o", str(trace), "-e", "trace=socket,sendmsg,write",
                           *card.arguments("apply")], capture_output=True, text=True, timeout=150, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    sends, writes, found, protocols = 0, 0, [], {}
    for line in trace.read_text().splitlines():
        if opened := re.search(r" socket\(0x10, [^,]+, (\w+)\) += (\d+)", line):
            protocols[opened[2]] = int(opened[1], 16)
        elif " write(" in line:
            writes += 1
        elif sent := re.search(r" sendmsg\((\d+), .*sa_family=0x10\b", line):
            sends += 1
            for kind, first in re.findall(r'nlmsg_type=(\w+),.*?\}, "\\x(..)', line):
                number, route = int(kind, 16), protocols[sent[1]] == NETLINK_ROUTE
                if number in ROUTE_CHANGES if route else number != GENL_ID_CTRL and int(first, 16) in GENERIC_CHANGES:
                    found.append(sends)
    return found, writes


# Between two changes the card is the same whatever has been asked meanwhile: so a kill at each change and at each write to
# a file (lock, record, sysfs) leaves every state behind that a kill anywhere can leave.
@pytest.mark.timeout(900)
def test_killed_at_any_change_the_next_run_ends_in_the_same_state(card: Card) -> None:
    card.configure(2)
    sends, writes = changing_sends(card)
    wanted = expect_up(card, 2)
    # Steering mode, eswitch mode, a MAC for each of two VFs, and three devices brought up; what else a card needs on top.
    assert len(sends) >= 7 and writes >= 5, (sends, writes)
    for call, nth in [("sendmsg", n) for n in sends] + [("write", n + 1) for n in range(writes)]:
        card.power_on()
        for record in card.state.glob("*.json"):
            record.unlink()
        assert killed_at(card, call, nth), f"{call} {nth} was not reached"
        card.apply()
        assert card.essence() == wanted, f"killed at {call} {nth}"
