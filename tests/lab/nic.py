"""A hypervisor's simulated NIC: the module loaded, switchdev mode, a VF for each guest (tests/eswitch-sim/README.md).

Representors stay in the network namespace where their card is, the first one: so the hypervisor *is* that namespace,
and there can be one such host in a lab. Its VFs go to the guests, the far end of its cable into the fabric.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PCI = "0001:03:00.0"
OTHER_PCI = "0002:03:00.0"  # a second card, which a lab has and does not use: legacy mode, no VFs
WIRE = "wire0p0"
SPARE_VFS = 3  # for guests that a test adds
MAX_VFS = 64

_SYSFS = Path("/sys/bus/pci/devices") / PCI
_DEBUG = Path("/sys/kernel/debug")
# Built into the bed's own kernel; on others nothing would load them before the first rule.
_MODULES = ("cls_flower sch_ingress act_mirred act_gact act_ct act_police act_pedit act_csum act_vlan act_tunnel_key "
            "act_skbedit vxlan 8021q").split()


class NicError(RuntimeError):
    """The card cannot be had; one line that says what to do."""


class SimulatedNic:
    def __init__(self) -> None:
        self.debugfs = _DEBUG / "esim" / PCI
        self.vfs = 0

    def load(self, vfs: int, macs: dict[int, str]) -> None:
        """`macs`: of VFs' port functions."""
        module = os.environ.get("SEPAL_ESWITCH_SIM", "")
        if not Path(module).is_file():
            raise NicError("no simulated NIC here: SEPAL_ESWITCH_SIM does not name its module (./dev test vm -m eswitch)")
        if not any(_DEBUG.iterdir()):
            _run("mount", "-t", "debugfs", "none", str(_DEBUG))
        _run("modprobe", "-qa", *_MODULES, check=False)
        _run("insmod", module, f"max_vfs={MAX_VFS}", "cards=2")
        self.vfs = vfs
        # Switchdev first: the VFs then come with their representors.
        _run("devlink", "dev", "eswitch", "set", f"pci/{PCI}", "mode", "switchdev")
        (_SYSFS / "sriov_numvfs").write_text(f"{vfs}\n")
        _run("devlink", "-b", "-", text="".join(
            f"port function set pci/{PCI}/{vf + 1} hw_addr {mac}\n" for vf, mac in macs.items()))
        # What a rule counted is told once a second by default; a test asks sooner.
        (self.debugfs / "stats_ms").write_text("10\n")

    @staticmethod
    def unload() -> None:
        """With it go its netdevs, wherever they are, and their rules. Being unloaded already is success."""
        if Path("/sys/module/eswitch_sim").exists():
            _run("rmmod", "eswitch_sim")

    @property
    def uplink(self) -> int:
        return self._netdevs()["p0"]

    @property
    def uplink_if_there(self) -> int | None:
        """None while a reload or a recovery makes another, and in legacy mode, where ports tell no names."""
        try:
            return self._netdevs().get("p0")
        except OSError:
            return None

    @property
    def wire(self) -> int:
        return _index(Path("/sys/class/net") / WIRE)

    def representor(self, vf: int) -> int:
        return self._netdevs()[f"pf0vf{vf}"]

    def vf(self, number: int) -> int:
        return _index(next((_SYSFS / f"virtfn{number}" / "net").iterdir()))

    def port(self, number: int) -> dict[str, int]:
        """Counters of a port of the eSwitch: 0 is the wire's, n that of VF n - 1."""
        for line in (self.debugfs / "ports").read_text().splitlines():
            found = {key: int(value) for key, value in (word.split("=", 1) for word in line.split())}
            if found["port"] == number:
                return found
        raise KeyError(number)

    def _netdevs(self) -> dict[str, int]:
        """phys_port_name → index, of the uplink and the representors."""
        return {(dev / "phys_port_name").read_text().strip(): _index(dev) for dev in (_SYSFS / "net").iterdir()}


def _index(device: Path) -> int:
    return int((device / "ifindex").read_text())


def _run(*command: str, check: bool = True, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise NicError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
