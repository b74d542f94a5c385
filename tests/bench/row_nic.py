"""What a NIC adds and what it takes over, on the simulated one: `./dev bench --nic`.

The simulated NIC executes rules on the same emulated CPUs, so nothing here says how fast a card is. The shares do not
depend on that; the costs are the agent's and the kernel's tc, with a driver under them that does little.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.lab import Lab, load
from tests.lab.nic import MAX_VFS, PCI

from .bed import REPOSITORY, TMP, program
from .measure import Row, interleave, say
from .world import Shape, tenant

EXAMPLES = REPOSITORY / "config/examples/lab"
CONNECTIONS = 1000
AT_ONCE = 10
SEGMENT = 1448
WORLD = Shape(ports=6, routes4=150, routes6=20)
HOST = f"""\
apiVersion: sepal/v1
kind: Host
nic: {{pci: "{PCI}", vfs: {MAX_VFS}}}
underlay: {{device: uplink, address: 192.0.2.1, mtu: 1600}}
"""


def rows_nic(rounds: int, quick: bool) -> list[Row]:
    with Lab(load(simulated_nic="h1"), Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench-nic") as lab:
        rows = _rows_filling(lab, rounds)
    with Lab(load(simulated_nic="h1"), Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench-nic") as lab:
        lab.start_agent("h1", _example())
        rows += _rows_share(lab, CONNECTIONS // 10 if quick else CONNECTIONS)
    return rows


# --- who carries the packets ----------------------------------------------------------------------------------------


def _example() -> Path:
    """The lab's example for h1, its guests on VFs."""
    from tests.vm.configs import HostConfig  # imports yaml, which the other rows do without

    class OnVfs:
        description = load(simulated_nic="h1")

    return HostConfig(TMP / "share", "h1", OnVfs()).path


def _rows_share(lab: Lab, connections: int) -> list[Row]:
    rows = []
    for packets in (10, 100, 1000):
        before = _carried(lab)
        begin = time.monotonic()
        _many(lab, connections, packets)
        all_packets, in_software = (after - b for after, b in zip(_carried(lab), before))
        share = 100 * (1 - in_software / all_packets)
        say(f"share: {connections} connections of {packets} packets in {time.monotonic() - begin:.0f} s: {share:.2f} %")
        last = packets == 1000
        rows.append(Row(f"{connections} TCP connections of {packets} packets: share in hardware", f"{share:.2f} %",
                        "≥ 99 %" if last else "", share >= 99 if last else None,
                        f"{all_packets} packets with handshakes, acknowledgements and ends; {in_software} of them by software"))
    return rows


def _carried(lab: Lab) -> tuple[int, int]:
    """Packets the guests' VFs have sent; those among them that came up to software."""
    numbers = range(1, len(lab.description.guests_of("h1")) + 1)
    ports = [lab.nic.port(number) for number in numbers]
    sent = sum(int((Path("/sys/class/net") / guest.name / "statistics/rx_packets").read_text())
               for guest in lab.description.guests_of("h1"))
    return sent, sum(count for port in ports for key, count in port.items() if key.startswith("miss_"))


def _many(lab: Lab, connections: int, packets: int) -> None:
    """From blue-web to blue-app, some at once; each sends so many full segments and ends in order."""
    data = bytes(SEGMENT)
    listener = lab.ns("blue-app").socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("10.0.0.3", 7600))
    listener.listen(AT_ONCE)

    def serve() -> None:
        for _ in range(connections // AT_ONCE):
            peer, _ = listener.accept()
            with peer:
                while peer.recv(1 << 16):
                    pass

    def ask() -> None:
        for _ in range(connections // AT_ONCE):
            with lab.ns("blue-web").socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(60)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.connect(("10.0.0.3", 7600))
                for _ in range(packets):
                    client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                client.recv(1)

    threads = [threading.Thread(target=work) for work in [serve] * AT_ONCE + [ask] * AT_ONCE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listener.close()


# --- what a rule in hardware costs ----------------------------------------------------------------------------------


def _rows_filling(lab: Lab, rounds: int) -> list[Row]:
    directory = TMP / "nic"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "tenants.d").mkdir(parents=True)
    (directory / "sepal.yaml").write_text(HOST)
    text = tenant(WORLD, 0)
    for port in range(WORLD.ports):
        text = text.replace(f"device: {WORLD.device(0, port)},", f"vf: {port},")
    (directory / "tenants.d/t000.yaml").write_text(text)
    devices = ["uplink", *(dev.name for dev in (Path("/sys/bus/pci/devices") / PCI / "net").iterdir() if dev.name != "uplink")]

    def fill(offload: str) -> dict[str, Any]:
        for device in devices:
            lab.ns("h1").run(f"ethtool -K {device} hw-tc-offload {offload}")
        lab.ns("h1").run([program("sepal-bench"), "prepare", str(directory)])
        sample = _metered(lab, "sepal", str(directory))
        sample["in_hw"] = int(dict(word.split("=") for word in (lab.nic.debugfs / "totals").read_text().split())["rules"])
        lab.ns("h1").run(["tc", "-force", "-batch", "-"], check=False,
                         input="".join(f"qdisc del dev {device} clsact\n" for device in devices))
        lab.ns("h1").run("ip link del sepal-vxlan")
        return sample

    fill("on")
    samples = interleave(rounds, {"software": lambda: fill("off"), "hardware": lambda: fill("on")}, "rules into the NIC")
    rules = samples.by_name["hardware"][0]["rules"]
    in_hw = samples.by_name["hardware"][0]["in_hw"]
    assert in_hw > rules / 3, "the simulated NIC took hardly any rule: the row would say nothing"
    # Tunnel devices have no switch of their own: their rules follow the uplink's.
    assert samples.by_name["software"][0]["in_hw"] == 0
    per_second = {name: rules * 1000 / samples.median(name, "write_ms") for name in samples.by_name}
    added = [(hard["user_ms"] - soft["user_ms"]) * 1000 / in_hw
             for hard, soft in zip(samples.by_name["hardware"], samples.by_name["software"], strict=True)]
    kernel = [(hard["system_ms"] - soft["system_ms"]) * 1000 / in_hw
              for hard, soft in zip(samples.by_name["hardware"], samples.by_name["software"], strict=True)]
    added.sort(), kernel.sort()
    ratio = samples.ratio("hardware", "software", "write_ms")
    return [
        Row(f"{rules} rules, {in_hw} of them into the simulated NIC: time against all in software", str(ratio), "", None,
            f"{per_second['hardware']:.0f} against {per_second['software']:.0f} rules/s"),
        Row("… added CPU time of the agent itself, per rule in hardware", f"{added[len(added) // 2]:.0f} µs", "", None,
            f"{added[0]:.0f}..{added[-1]:.0f}; by the kernel on its behalf, with the simulated driver, {kernel[len(kernel) // 2]:.0f} µs"),
    ]


def _metered(lab: Lab, *words: str) -> dict[str, Any]:
    """A step of sepal-bench, and the CPU time it took."""
    process = lab.ns("h1").popen([program("sepal-bench"), *words], stdout=subprocess.PIPE, text=True)
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"sepal-bench {' '.join(words)} ended with {process.returncode}")
    return {**json.loads(told), "user_ms": usage.ru_utime * 1000, "system_ms": usage.ru_stime * 1000}
