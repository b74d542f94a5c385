"""The simulated NIC from a test's side: load it, set it up, give it rules, send frames through it, ask what it did.

Rules go through one `tc -batch` and frames through AF_PACKET sockets of this process, for a process costs 0.2 s in the
bed. What a rule's refusal was is read twice: the words as tc's user sees them, the errno from the NIC's journal.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ETH_P_ALL = 3
SYS_PCI = Path("/sys/bus/pci/devices")
DEBUG = Path("/sys/kernel/debug")
MODULES = ("cls_flower sch_ingress act_mirred act_gact act_ct act_police act_pedit act_csum act_vlan act_tunnel_key "
           "act_skbedit vxlan 8021q pci_stub").split()
WAIT = 5.0  # seconds until a frame under emulation counts as lost


def run(*command: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done


def words(line: str) -> dict[str, str]:
    """key=value words of a line of the NIC's debugfs files."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def load(**parameters: int) -> None:
    if not (DEBUG / "tracing").exists() and not any(DEBUG.iterdir()):
        run("mount", "-t", "debugfs", "none", str(DEBUG))
    # On a kernel that has them built in there is nothing to load, and modprobe says so.
    run("modprobe", "-qa", *MODULES, check=False)
    # What the devices would send by themselves is noise to counters.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1\n")
    run("insmod", os.environ["SEPAL_ESWITCH_SIM"], *(f"{k}={v}" for k, v in parameters.items()))


def unload() -> None:
    run("rmmod", "eswitch_sim")


@dataclass
class Refusal:
    """What tc printed, and the driver's errno (0: the driver was not even asked, or took it)."""

    said: str
    errno: int


class Nic:
    """One physical function."""

    def __init__(self, pci: str = "0001:03:00.0", wire: str = "wire0p0") -> None:
        self.pci, self.wire = pci, wire
        self.sysfs, self.debugfs = SYS_PCI / pci, DEBUG / "esim" / pci
        self._sockets: dict[str, socket.socket] = {}

    # --- set-up -------------------------------------------------------------------------------------------

    def sriov(self, n: int) -> None:
        (self.sysfs / "sriov_numvfs").write_text(f"{n}\n")

    def devlink(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """`{}` among the arguments stands for the handle."""
        return run("devlink", *(a.replace("{}", f"pci/{self.pci}") for a in arguments), check=check)

    def mode(self, mode: str) -> None:
        self.devlink("dev", "eswitch", "set", "{}", "mode", mode)

    def by_port_name(self) -> dict[str, str]:
        """phys_port_name → netdev, of the PF's device: uplink and representors."""
        found = {}
        for dev in (self.sysfs / "net").iterdir():
            try:
                found[(dev / "phys_port_name").read_text().strip()] = dev.name
            except OSError:
                continue  # gone, or without a port
        return found

    def vf(self, n: int) -> str:
        return next((self.sysfs / f"virtfn{n}/net").iterdir()).name

    def up(self, *devices: str) -> None:
        run("ip", "-batch", "-", text="".join(f"link set {d} up\n" for d in devices))

    # --- debugfs ------------------------------------------------------------------------------------------

    def read(self, name: str) -> list[str]:
        return (self.debugfs / name).read_text().splitlines()

    def write(self, name: str, value: object) -> None:
        (self.debugfs / name).write_text(f"{value}\n")

    def port(self, number: int) -> dict[str, int]:
        """Counters: 0 is the wire's port, n that of VF n - 1."""
        for line in self.read("ports"):
            found = words(line)
            if int(found["port"]) == number:
                return {k: int(v) for k, v in found.items()}
        raise KeyError(number)

    def totals(self) -> dict[str, str]:
        return words(self.read("totals")[0])

    def rules(self) -> list[dict[str, str]]:
        return [words(line) for line in self.read("rules")]

    # --- rules --------------------------------------------------------------------------------------------

    def tc(self, *lines: str) -> None:
        """Each line as after `tc`; any error is a failure."""
        refused = self.try_tc(*lines)
        if refused:
            raise AssertionError("\n".join(f"{lines[n]}: {said}" for n, said in refused.items()))

    def try_tc(self, *lines: str) -> dict[int, str]:
        """Index of each line that was refused → what tc said about it."""
        done = run("tc", "-force", "-batch", "-", check=False, text="".join(line + "\n" for line in lines))
        refused, said = {}, []
        for line in done.stderr.splitlines():
            failed = re.match(r"Command failed -:(\d+)", line)
            if failed:
                refused[int(failed[1]) - 1] = " ".join(said)
                said = []
            else:
                said.append(line)
        return refused

    def refusals(self, *lines: str) -> list[Refusal]:
        """For each filter, which must be distinguishable by its chain and prio, how it fared."""
        self.write("journal", 0)
        refused = self.try_tc(*lines)
        asked = {}
        for entry in self.read("journal"):
            if " replace " in entry:
                fields = words(entry)
                asked[fields["chain"], fields["prio"]] = -int(fields["result"])
        result = []
        for n, line in enumerate(lines):
            chain = re.search(r" chain (\d+)", line)
            prio = re.search(r" pref (\d+)", line)
            place = chain[1] if chain else "0", prio[1] if prio else ""
            result.append(Refusal(refused.get(n, ""), asked.get(place, 0)))
        return result

    def fresh(self, *devices: str) -> None:
        """Each device with an empty clsact."""
        self.try_tc(*(f"qdisc del dev {d} clsact" for d in devices))
        self.tc(*(f"qdisc add dev {d} clsact" for d in devices))

    # --- frames -------------------------------------------------------------------------------------------

    def _socket(self, device: str) -> socket.socket:
        if device not in self._sockets:
            self._sockets[device] = s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            # Tags the kernel took out of a frame come beside it (PACKET_AUXDATA).
            s.setsockopt(263, 8, 1)
            s.bind((device, ETH_P_ALL))
            s.setblocking(False)
        return self._sockets[device]

    def close(self) -> None:
        for s in self._sockets.values():
            s.close()
        self._sockets = {}

    def _take(self, device: str) -> list[bytes]:
        frames = []
        while True:
            try:
                frame, control, _, address = self._socket(device).recvmsg(65536, 256)
            except BlockingIOError:
                return frames
            if address[2] == 4:  # PACKET_OUTGOING: our own
                continue
            for level, kind, data in control:
                # struct tpacket_auxdata: status, len, snaplen, mac, net, tci, tpid
                status = int.from_bytes(data[0:4], "little")
                if (level, kind) == (263, 8) and status & 0x10:
                    frame = frame[:12] + data[18:20][::-1] + data[16:18][::-1] + frame[12:]
            frames.append(frame)

    def _work(self) -> int:
        """Frames the NIC is through with."""
        done = 0
        for line in self.read("ports"):
            port = {k: int(v) for k, v in words(line).items()}
            done += sum(v for k, v in port.items() if k == "hw_in" or k.startswith("miss_chain"))
            done += port["legacy"] + port["drop_broken"] + port["slow_tx"]
        return done

    def send(self, device: str, *frames: object, to: tuple[str, ...] = ()) -> dict[str, list[bytes]]:
        """Sends frames out of a device, one after another; what then came in at each of `to`. Waits until the NIC has
        dealt with them, so an empty list is a fact, not impatience."""
        for each in to:
            self._socket(each)
            self._take(each)
        sender = self._socket(device)
        before = self._work()
        for frame in frames:
            sender.send(bytes(frame))
        end = time.monotonic() + WAIT
        while self._work() < before + len(frames) and time.monotonic() < end:
            time.sleep(0.005)
        # From the NIC's hands to the socket is a softirq.
        readers = [self._socket(each) for each in to]
        if readers:
            select.select(readers, [], [], 0.05)
        time.sleep(0.02)
        return {each: self._take(each) for each in to}
