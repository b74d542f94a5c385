"""`./dev demo`: two hypervisors and two tenants with the same addresses, built from the YAML in config/examples/lab,
checked end to end, and then one connection followed rule by rule. Exit status 0 only if every check held.

    python3 -m tests.lab.demo [--shell]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab import Lab, load, program
from tests.lab.way import Way
from tests.vm import traffic

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "config/examples/lab"
HOSTS = ("h1", "h2")
TENANTS = {"blue": range(1024, 2048), "green": range(2048, 3072)}  # name → its slice of the public ports on h1
PUBLIC, PUBLIC6 = "203.0.113.10", "2001:db8:113::10"
INTERNET = "198.18.0.1"

PICTURE = """\
   blue-web  blue-app  green-web              blue-db  green-db      guests
       \\        |        /                        \\      /
        +------ h1 -----+                          +-h2-+            hypervisors: sepald
           192.0.2.1 \\                            / 192.0.2.2
                      +-------- fabric ----------+                   underlay: VXLAN
                                  |
                                 wan   VLAN 30: public side   VLAN 40: blue's own network"""

SHELL_HELP = """\
You are in the lab. `on NAME COMMAND` runs a command in one of {names}.

  on blue-web ping -c 3 10.0.0.2              a guest reaches its neighbour on the other hypervisor
  on h1 sepalctl show --tenant blue           blue's rules on h1, group by group, with counters
  on h1 tc -s filter show dev blue-web ingress   the same as tc tells it
  on h1 sepalctl connections --tenant blue    what conntrack knows
  on h1 sepalctl plan                         edit {config}/h1, then see what would change

`exit` takes the lab down."""

SHELL_COMMANDS = """\
export PATH={bin}:$PATH
on() {{
    local where=$1 command=$2
    shift 2
    if [[ $command == sepalctl ]]; then
        set -- "$@" --instance "$where" --config "{config}/$where"
    fi
    nsenter --net="/run/netns/$where" -- "$command" "$@"
}}
"""


def shell_commands() -> str:
    """What a shell of the lab has beside bash itself: the programs, and `on`."""
    return SHELL_COMMANDS.format(bin=Path(program("sepald")).parent, config=EXAMPLES)


class Screen:
    """Progress for people: marks and colours where the terminal has them."""

    def __init__(self) -> None:
        # The bed passes output through files: ./dev tells what stands at its other end.
        terminal = os.environ.get("SEPAL_TTY", "yes" if sys.stdout.isatty() else "no") == "yes"
        utf8 = os.environ.get("SEPAL_CHARMAP", sys.stdout.encoding or "").upper() in ("UTF-8", "UTF8")
        self.colours = terminal and "NO_COLOR" not in os.environ
        self.yes, self.no, self.arrow = ("✓", "✗", "→") if utf8 else ("ok", "FAILED", "->")
        self._ascii = not utf8
        self.failed = 0
        self.held = 0

    def paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colours else text

    def line(self, text: str = "") -> None:
        if self._ascii:
            text = text.replace("→", "->").encode("ascii", "replace").decode()
        print(text, flush=True)

    def title(self, text: str) -> None:
        self.line()
        self.line(self.paint("1", text))

    def check(self, what: str, work: Callable[[], str]) -> bool:
        """Runs `work`, which returns what it saw or raises why not."""
        begin = time.monotonic()
        try:
            seen, held = work(), True
        except Exception as error:  # whatever breaks a check is a check that did not hold
            seen, held = str(error) or type(error).__name__, False
        mark = self.paint("32", self.yes) if held else self.paint("31", self.no)
        seconds = self.paint("2", f"{time.monotonic() - begin:.1f} s")
        self.line(f"  {mark} {what:<34} {seen}  {seconds}")
        self.held += held
        self.failed += not held
        return held


class Broken(Exception):
    """Why a check did not hold."""


def expect(condition: bool, why: str) -> None:
    if not condition:
        raise Broken(why)


class Demo:
    def __init__(self, lab: Lab, screen: Screen) -> None:
        self.lab = lab
        self.screen = screen

    def run(self) -> bool:
        self.screen.line(PICTURE)
        if not self._start():
            return False
        self._across_the_tunnel()
        self._outside()
        self._keep_apart()
        self._way()
        return self.screen.failed == 0

    # --- checks -------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        self.screen.title("Two hypervisors, each with one sepald and a directory of YAML")
        started = self.screen.check("lab", self._lab_up)
        for host in HOSTS:
            started = started and self.screen.check(f"sepald on {host}", lambda host=host: self._agent_up(host))
        return started

    def _lab_up(self) -> str:
        self.lab.up()
        description = self.lab.description
        return f"{len(description.hosts)} hypervisors, {len(description.guests)} guests, and the world outside"

    def _agent_up(self, host: str) -> str:
        agent = self.lab.start_agent(host, EXAMPLES / host)
        status = next((s[len("STATUS="):] for s in reversed(agent.states) if s.startswith("STATUS=")), "ready")
        return f"{status} ({(EXAMPLES / host).relative_to(REPOSITORY)})"

    def _across_the_tunnel(self) -> None:
        self.screen.title("The same addresses in both tenants, each reaching its own guest on h2")
        for tenant in TENANTS:
            for address in ("10.0.0.2", "fd00:100::2"):
                self.screen.check(f"{tenant}-web pings {address}", lambda t=tenant, a=address: self._ping(f"{t}-web", a))
        self.screen.check("blue-web pings blue-app on h1", lambda: self._ping("blue-web", "10.0.0.3"))
        for address in ("10.0.0.2", "fd00:100::2"):
            self.screen.check(f"blue-web sends 1 MB to {address}", lambda a=address: self._transfer(a))

    def _ping(self, guest: str, address: str) -> str:
        result = self.lab.ns(guest).ping(address, count=3)
        expect(result.ok, str(result))
        return str(result).partition(": ")[2]

    def _transfer(self, address: str) -> str:
        begin = time.monotonic()
        transfer = traffic.tcp_transfer(self.lab.ns("blue-web"), self.lab.ns("blue-db"), address, 8000, size=1_000_000)
        seconds = time.monotonic() - begin
        expect(transfer.digest_equal, f"{transfer.received} bytes arrived, and not the ones sent")
        return f"arrived whole, {8 / seconds:.1f} Mbit/s"

    def _outside(self) -> None:
        self.screen.title("To the outside: one public address, a slice of its ports for each tenant")
        for tenant, ports in TENANTS.items():
            self.screen.check(f"{tenant}-web connects to {INTERNET}", lambda t=tenant, p=ports: self._snat(t, INTERNET, p))
        self.screen.check("blue-web connects over IPv6", lambda: self._snat("blue", "2001:db8:18::1", TENANTS["blue"]))
        self.screen.check(f"blue-web pings {INTERNET}", lambda: self._ping("blue-web", INTERNET))
        self.screen.title("A VLAN of blue's own on the uplink")
        self.screen.check("blue-web pings 10.40.0.1", self._vlan)

    def _snat(self, tenant: str, address: str, ports: range) -> str:
        transfer = traffic.tcp_transfer(self.lab.ns(f"{tenant}-web"), self.lab.ns("wan"), address, 8001, size=50_000)
        expect(transfer.digest_equal, f"{transfer.received} bytes arrived, and not the ones sent")
        host, port = transfer.peer
        expect(host == (PUBLIC6 if ":" in address else PUBLIC), f"the server sees {host}")
        expect(port in ports, f"the server sees port {port}, which is not in {ports.start}-{ports.stop - 1}")
        return f"server sees {host} port {port}, of {ports.start}-{ports.stop - 1}"

    def _vlan(self) -> str:
        with self.lab.ns("wan").sniff("eth0", direction="in", keep=_is_tagged_echo) as capture:
            answer = self._ping("blue-web", "10.40.0.1")
            capture.wait_for_frame(lambda frame: frame[14:16] == b"\0\x28", what="an echo request with tag 40")
        return f"{answer}, tagged 40 on the wire"

    def _keep_apart(self) -> None:
        self.screen.title("And apart")
        self.screen.check("green has no part in VLAN 40", self._no_green)
        self.screen.check("nobody gets in uncalled", self._nobody)

    def _no_green(self) -> str:
        """Green's own route to that address is the default one: translated, on the public VLAN."""
        with self.lab.ns("wan").sniff("eth0", direction="in", keep=_is_tagged_echo) as capture:
            self.lab.ns("green-web").ping("10.40.0.1", count=1, timeout=1)
        tags = sorted({int.from_bytes(frame[14:16], "big") for frame in capture.frames})
        expect(40 not in tags, "a frame of green's wore tag 40")
        expect(tags == [30], f"its request left with tags {tags}")
        return "its 10.40.0.1 is the internet's: tagged 30"

    def _nobody(self) -> str:
        refused = traffic.tcp_refused(self.lab.ns("wan"), PUBLIC, 1500, timeout=1)
        expect(refused, "a connection from outside was answered")
        return f"{PUBLIC} port 1500: no answer"

    # --- one connection, followed -------------------------------------------------------------------------------

    def _way(self) -> None:
        way = Way(self.lab, {host: EXAMPLES / host for host in HOSTS})
        self.screen.title("One UDP connection, blue-web to blue-db: the rules that counted its first packet")
        self.screen.check("first packet", lambda: self._follow(way, way.first, fresh=True))
        self.screen.title("The same connection after its answer: an established packet does without group 7")
        self.screen.check("established packet", lambda: self._follow(way, way.established, fresh=False))
        self.screen.title("The route it took, as sepalctl and as tc show it")
        self.screen.check("one rule, two views", lambda: self._two_views(way))
        way.close()

    def _follow(self, way: Way, send: Callable[[], list[Any]], *, fresh: bool) -> str:
        rules = send()
        for text in way.lines(rules):
            self.screen.line(f"    {text}")
        groups = [rule["group"] for rule in rules]
        expect({2, 3} <= set(groups), f"only groups {sorted(set(groups))} counted it")
        expect((7 in groups) == fresh, "group 7 saw it" if not fresh else "group 7 did not see it")
        return f"counted by {len(rules)} rules"

    def _two_views(self, way: Way) -> str:
        rule = way.route()
        for text in way.lines([rule]):
            self.screen.line(f"    {text}")
        command, told = way.as_tc_shows(rule)
        self.screen.line()
        self.screen.line(f"    # {command}")
        for text in told:
            self.screen.line(f"    {text}")
        expect(any("action order" in text for text in told), "tc does not show it")
        return "the cookie on its last action is how sepald knows it"


def _is_tagged_echo(frame: bytes) -> bool:
    """802.1Q, IPv4, ICMP."""
    return frame[12:14] == b"\x81\x00" and frame[16:18] == b"\x08\x00" and frame[27] == 1


def shell(lab: Lab, screen: Screen) -> None:
    """An interactive shell with the lab around it."""
    config = EXAMPLES.relative_to(REPOSITORY)
    names = ", ".join(lab.description.namespaces())
    greeting = SHELL_HELP.format(names=names, config=config)
    text = f"PS1='lab# '\n{shell_commands()}cat <<'END'\n\n{greeting}\n\nEND\n"
    rc = Path("/tmp/sepal-demo.rc")
    rc.write_text(text)
    subprocess.run(["bash", "--rcfile", str(rc), "-i"], cwd=REPOSITORY)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--shell", action="store_true", help="stay in the lab with a shell")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    lab = Lab(load())
    begin = time.monotonic()
    try:
        held = Demo(lab, screen).run()
        count = screen.held + screen.failed
        screen.title(f"{screen.held} of {count} checks held, in {time.monotonic() - begin:.0f} s")
        if not held:
            for host, agent in lab.agents.items():
                screen.line(f"log of sepald on {host}: {agent.log_path}")
        if options.shell and lab.agents:
            shell(lab, screen)
    finally:
        lab.down()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
