"""Open vSwitch in a namespace, for comparison: its daemons from an unpacked package (tests/bench/contenders.sh), their
files in a folder of their own, the kernel datapath of that namespace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.lab.namespace import Namespace


class MissingContender(RuntimeError):
    """Something to compare with is not there; one line that says what."""


def contender(program: str) -> str:
    """Path of an unpacked program; ./dev bench says where they are."""
    directory = os.environ.get("SEPAL_CONTENDERS")
    if not directory:
        raise MissingContender("Open vSwitch and nft were not fetched: see what ./dev bench said first")
    for below in ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch"):
        path = Path(directory, below, program)
        if path.exists():
            return str(path)
    raise MissingContender(f"no {program} in {directory}")


def libraries() -> dict[str, str]:
    """The environment in which unpacked programs find what was unpacked with them."""
    return {**os.environ, "LD_LIBRARY_PATH": str(Path(os.environ.get("SEPAL_CONTENDERS", ""), "usr/lib/x86_64-linux-gnu"))}


def need_module(name: str) -> None:
    done = subprocess.run(["modprobe", name], capture_output=True, text=True)
    if done.returncode != 0:
        raise MissingContender(f"kernel module {name}: {done.stderr.strip() or 'modprobe failed'}")


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd, one bridge `br0` over devices that are in the namespace. Ports are numbered from 1, in
    the order of the devices."""

    def __init__(self, namespace: Namespace, directory: Path, devices: list[str], flows: list[str]) -> None:
        need_module("openvswitch")
        self._namespace, self._directory = namespace, directory
        self._processes: list[subprocess.Popen] = []
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        # What it calls the system's folders; all of them are this one.
        self._environment = {**libraries(), **{f"OVS_{what}DIR": str(directory) for what in ("RUN", "DB", "LOG", "SYSCONF")}}
        try:
            self._start(devices, flows)
        except BaseException:
            self.close()
            raise

    def _start(self, devices: list[str], flows: list[str]) -> None:
        database, schema = self._directory / "conf.db", Path(os.environ["SEPAL_CONTENDERS"], "usr/share/openvswitch/vswitch.ovsschema")
        self._run("ovsdb-tool", "create", str(database), str(schema))
        self._spawn("ovsdb-server", str(database), f"--remote=punix:{self._directory}/db.sock", f"--unixctl={self._directory}/db.ctl")
        self._wait_for("db.sock")
        self._run("ovs-vsctl", "--no-wait", "init")
        # It counts the CPUs when it last did 10 s ago, by the clock of the kernel; before, it believes that there are none.
        time.sleep(max(0.0, 10.5 - time.monotonic()))
        self._spawn("ovs-vswitchd", f"unix:{self._directory}/db.sock", f"--unixctl={self._directory}/vswitchd.ctl")
        self._wait_for("vswitchd.ctl")
        words = ["add-br", "br0", "--", "set", "bridge", "br0", "fail_mode=secure"]
        for number, device in enumerate(devices, 1):
            words += ["--", "add-port", "br0", device, "--", "set", "interface", device, f"ofport_request={number}"]
        self._run("ovs-vsctl", "--timeout=60", *words)
        self._run("ovs-ofctl", "add-flows", "br0", "-", input="\n".join(flows) + "\n")

    def close(self) -> None:
        """Ends the daemons; the datapath goes with its namespace."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def forget(self) -> None:
        """The datapath knows no flow any more: the next packet of each asks again."""
        self._control("dpctl/del-flows")

    def missed(self) -> int:
        """Packets for which the kernel's datapath asked ovs-vswitchd, so far."""
        return int(re.search(r"missed:(\d+)", self._control("dpctl/show"))[1])

    def flows(self) -> list[str]:
        return self._control("dpctl/dump-flows").splitlines()

    def _control(self, *words: str) -> str:
        return self._run("ovs-appctl", "-t", str(self._directory / "vswitchd.ctl"), *words)

    def _run(self, program: str, *words: str, **options: Any) -> str:
        return self._namespace.run([contender(program), *words], env=self._environment, timeout=120, **options)

    def _spawn(self, program: str, *words: str) -> None:
        with (self._directory / f"{program}.log").open("w") as log:
            self._processes.append(self._namespace.popen([contender(program), *words], env=self._environment, stdin=subprocess.DEVNULL,
                                                         stdout=log, stderr=log))

    def _wait_for(self, socket: str) -> None:
        deadline = time.monotonic() + 30
        while not (self._directory / socket).exists():
            if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                log = Path(self._directory / f"{'ovsdb-server' if socket == 'db.sock' else 'ovs-vswitchd'}.log").read_text()
                raise RuntimeError(f"Open vSwitch does not start:\n{log[-2000:]}")
            time.sleep(0.1)
