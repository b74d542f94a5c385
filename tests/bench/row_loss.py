"""Packets that a paced stream of tenants that do not change loses while all around them does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import Lab, load

from .bed import REPOSITORY, TMP, Bed, program
from .measure import Row, say, settle
from .world import Shape, tenant

EXAMPLES = REPOSITORY / "config/examples/lab"
RATES = [10_000, 7_500, 5_000, 4_000, 3_000, 2_000, 1_000, 500]
# The tenant that changes: 8 x (100 + 8 ports) routes and egress rules, 8 blocks of its own, and the tunnel's.
BUSY, BUSY_NUMBER = Shape(ports=8, routes4=120, routes6=0), 7


class Stream:
    """blue-web on h1 to blue-db on h2: through both hypervisors' rules and the tunnel."""

    def __init__(self, lab: Lab, rate: int, client: str = "blue-web", server: str = "blue-db") -> None:
        words = ["10.0.0.2", "7900"]
        self.receiver = lab.ns(server).popen([program("sepal-stream"), "receive", *words], stdout=subprocess.PIPE,
                                             text=True)
        self.receiver.stdout.readline()
        self.sender = lab.ns(client).popen([program("sepal-stream"), "send", *words, str(rate)],
                                           stdout=subprocess.PIPE, text=True)

    def end(self) -> tuple[int, int, str]:
        """Sent, lost, and what the two ends said."""
        self.sender.send_signal(signal.SIGTERM)
        sent = json.loads(self.sender.communicate()[0])
        time.sleep(0.5)
        self.receiver.send_signal(signal.SIGTERM)
        received = json.loads(self.receiver.communicate()[0].strip().splitlines()[-1])
        return sent["sent"], sent["sent"] - received["received"], f"{sent} {received}"


def rows_loss(rounds: int) -> list[Row]:
    directory = TMP / "loss-h1"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(EXAMPLES / "h1", directory)
    busy = directory / "tenants.d" / "busy.yaml"

    with Lab(load(), Path(os.environ.get("SEPAL_OUT", "/tmp")) / "logs" / "bench") as lab:
        devices = [BUSY.device(BUSY_NUMBER, port) for port in range(BUSY.ports)]
        lab.ns("h1").run(["ip", "-batch", "-"], input="\n".join(Bed.commands_for(devices)))
        for host, config in (("h1", directory), ("h2", EXAMPLES / "h2")):
            lab.start_agent(host, config)
        rate = _sustained(lab)
        events = _events(lab, directory, busy)
        rows = [Row("paced stream while nothing happens", f"{rate}/s without loss", "10,000/s", None,
                    "the most this machine carries; the events below are measured at half of it" if rate < 10_000 else "")]
        rate = rate if rate >= 10_000 else rate // 2
        lost: dict[str, list[int]] = {name: [] for name in events}
        sent: dict[str, list[int]] = {name: [] for name in events}
        for number in range(rounds):
            for name, (before, during, after) in events.items():
                before()
                settle()
                stream = Stream(lab, rate)
                time.sleep(0.5)
                during()
                time.sleep(0.5)
                count, missing, said = stream.end()
                after()
                lost[name].append(missing)
                sent[name].append(count)
                say(f"loss, round {number + 1} of {rounds}: {name}: {missing} of {count} lost" +
                    (f" ({said})" if missing else ""))
    for name in events:
        rows.append(Row(f"packets lost over: {name}", str(sum(lost[name])), "0", sum(lost[name]) == 0,
                        f"of {sum(sent[name])} at {rate}/s"))
    return rows


def _sustained(lab: Lab) -> int:
    for rate in RATES:
        settle()
        stream = Stream(lab, rate)
        time.sleep(3)
        sent, lost, said = stream.end()
        say(f"loss: {rate}/s while nothing happens: {lost} of {sent} lost")
        if lost == 0 and sent >= 0.95 * 3 * rate:
            return rate
    raise RuntimeError("this machine carries no stream without loss")


Step = Callable[[], None]


def _events(lab: Lab, directory: Path, busy: Path) -> dict[str, tuple[Step, Step, Step]]:
    """name → (before, what is measured, after); each leaves a running agent without the busy tenant."""

    def nothing() -> None: ...

    def write(moved: str) -> None:
        busy.write_text(tenant(BUSY, BUSY_NUMBER, moved=moved))

    def with_tenant() -> None:
        write("")
        lab.agents["h1"].reload(300)

    def without_tenant() -> None:
        busy.unlink(missing_ok=True)
        lab.agents["h1"].reload(300)

    def replace() -> None:
        write("elsewhere")
        lab.agents["h1"].reload(300)

    def killed() -> None:
        write("")
        os.kill(lab.agents["h1"].pid, signal.SIGHUP)
        # In mid-apply: some of its rules stand, and not all.
        deadline = time.monotonic() + 60
        while _filters(lab, BUSY.device(BUSY_NUMBER, 0)) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        lab.agents["h1"].kill()
        time.sleep(0.5)
        lab.start_agent("h1", directory, timeout=300)

    def restart() -> None:
        lab.agents["h1"].stop()
        lab.start_agent("h1", directory, timeout=300)

    def stop() -> None:
        lab.agents["h1"].stop()
        time.sleep(0.5)

    def start() -> None:
        lab.start_agent("h1", directory, timeout=300)

    return {
        "a reload that adds a tenant of 1,000 rules": (nothing, with_tenant, nothing),
        "1,000 rules replaced": (nothing, replace, nothing),
        "a reload that removes that tenant": (nothing, without_tenant, nothing),
        "kill -9 in mid-apply, and the next start": (nothing, killed, without_tenant),
        "restart": (nothing, restart, nothing),
        "stop": (nothing, stop, start),
    }


def _filters(lab: Lab, device: str) -> int:
    shown = lab.ns("h1").run(["tc", "filter", "show", "dev", device, "ingress"], check=False)
    return shown.count("handle")
