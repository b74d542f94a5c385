"""sepald and sepalctl in a hypervisor of the lab: started as systemd would, READY=1 awaited, log kept."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .namespace import Namespace


class AgentFailed(RuntimeError):
    """The daemon ended or did not become ready; the message holds the end of its log."""


def program(name: str) -> str:
    """A built program; SEPAL_BIN is set by ./dev."""
    directory = Path(os.environ.get("SEPAL_BIN", Path(__file__).parents[2] / "build/release/agent"))
    path = directory / name
    if not path.exists():
        raise AgentFailed(f"{path} is not built; run: ./dev build release")
    return str(path)


@dataclass
class Control:
    """What sepalctl said."""

    status: int
    out: str
    err: str


class Agent:
    """One sepald in the network namespace of a hypervisor. Made by Lab.start_agent()."""

    def __init__(self, namespace: Namespace, instance: str, config: Path | str, log: Path, *arguments: str) -> None:
        self.instance = instance
        self.config = Path(config)
        self.log_path = log
        self.states: list[str] = []  # every line it told systemd: READY=1, STATUS=..., RELOADING=1
        self._directory = tempfile.TemporaryDirectory(prefix="sepal-notify-")
        # A path, not an abstract address: those do not reach from one network namespace into another.
        notify_path = str(Path(self._directory.name) / "notify")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(notify_path)
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_begin = log.stat().st_size if log.exists() else 0
        command = [program("sepald"), "--config", str(config), "--instance", instance, *arguments]
        with log.open("ab") as output:
            self.process = namespace.popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "NOTIFY_SOCKET": notify_path},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def log(self) -> str:
        """All of its file, with what earlier agents wrote there."""
        return self.log_path.read_text(errors="replace")

    def own_log(self) -> str:
        return self.log_path.read_bytes()[self._log_begin:].decode(errors="replace")

    def wait_ready(self, timeout: float = 60) -> None:
        self._wait_for("READY=1", timeout, len(self.states))

    def reload(self, timeout: float = 60) -> None:
        """SIGHUP, then READY=1 again."""
        self._drain()
        begin = len(self.states)
        self.process.send_signal(signal.SIGHUP)
        self._wait_for("READY=1", timeout, begin)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; the exit status. Rules stay."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> int:
        """SIGKILL: no chance to tidy up."""
        return self._end(signal.SIGKILL, 30)

    def _end(self, how: signal.Signals, timeout: float) -> int:
        if self.running:
            self.process.send_signal(how)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AgentFailed(f"{self.instance}: did not end {timeout} s after {how.name}\n{self._log_end()}") from None
        self._drain()
        self._notify.close()
        self._directory.cleanup()
        return status

    def _wait_for(self, state: str, timeout: float, begin: int) -> None:
        deadline = time.monotonic() + timeout
        while state not in self.states[begin:]:
            if not self.running:
                raise AgentFailed(f"{self.instance}: ended with {self.process.returncode}\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise AgentFailed(f"{self.instance}: no {state} in {timeout} s\n{self._log_end()}")
            select.select([self._notify], [], [], 0.1)
            self._drain()

    def _drain(self) -> None:
        while self._notify.fileno() >= 0 and select.select([self._notify], [], [], 0)[0]:
            self.states += self._notify.recv(1 << 16).decode(errors="replace").split("\n")

    def _log_end(self) -> str:
        return "\n".join(["its log ends:", *self.log().splitlines()[-20:]])
