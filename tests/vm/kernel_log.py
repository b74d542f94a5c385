"""What the kernel says about the simulated NIC's module: complaints in its log, and, on the kernel `offload-checked`, memory
that nobody points to any more."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

COMPLAINTS = ("WARNING:", "BUG:", "refcount_t:", "unregister_netdevice: waiting", "possible recursive locking",
              "inconsistent lock state", "suspicious RCU usage", "KASAN", "INFO: possible circular", "ODEBUG:",
              "sleeping function called")
KMEMLEAK = Path("/sys/kernel/debug/kmemleak")


def complaints() -> list[str]:
    """Those since the last question, each with the lines that follow it."""
    lines = subprocess.run(["dmesg", "--read-clear"], capture_output=True, text=True, check=True).stdout.splitlines()
    told = [n for n, line in enumerate(lines) if any(word in line for word in COMPLAINTS)]
    return ["\n".join(lines[n:n + 40]) for n in told]


def leaks() -> str:
    """Allocations of the module that were never freed; empty on a kernel that does not look for them."""
    if not KMEMLEAK.exists():
        return ""
    # What is younger than five seconds, or only on its way between lists, is not yet a leak: seen twice it is.
    for _ in range(2):
        time.sleep(6)
        KMEMLEAK.write_text("scan\n")
    found = KMEMLEAK.read_text().split("unreferenced object")
    return "unreferenced object".join(["", *(each for each in found if "eswitch_sim" in each or "esim_" in each)])
