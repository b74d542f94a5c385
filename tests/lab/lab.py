"""The lab: a description made of network namespaces and veth, used by the tests, the demo and the benchmarks.

    with Lab(load()) as lab:
        lab.start_agent("h1", "config/examples/lab/h1")
        assert lab.ns("blue-web").ping("10.0.0.2").ok

Every namespace is visible to `ip netns`. What a lab leaves behind when its process is killed is cleared by the
next one of the same prefix: it is written down in /run/sepal-lab before it is made.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from .agent import Agent, Control, program
from .description import Description, Guest
from .namespace import NETNS_DIR, Namespace
from .nic import SPARE_VFS, SimulatedNic
from .rtnl import KernelRefused, Link, Rtnl

T = TypeVar("T")

STATE_DIR = Path("/run/sepal-lab")
UPLINK_INDEX, UPLINK_VLAN_INDEX, FIRST_REPRESENTOR_INDEX = 10, 11, 20
GUEST_INDEX = 2
BRIDGE_INDEX, FIRST_PORT_INDEX, CABLE_INDEX = 2, 10, 9
WAN_INDEX, INTERNET_INDEX, FIRST_WAN_VLAN_INDEX = 2, 3, 10

# Quiet by default: no duplicate address detection (an address works at once), no router discovery.
SYSCTLS = {
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv6/conf/default/accept_ra": 0,
    "net/ipv6/conf/default/router_solicitations": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
}


class LabError(RuntimeError):
    """The lab cannot be made; one line that says what to do."""


class Lab:
    def __init__(self, description: Description, log_dir: Path | str | None = None) -> None:
        self.description = description
        self.agents: dict[str, Agent] = {}
        self.log_dir = Path(log_dir or Path(os.environ.get("SEPAL_OUT", "/tmp"), "logs"))
        self._namespaces: dict[str, Namespace] = {}
        self._processes: list[subprocess.Popen] = []
        self._agents_started = 0
        self.nic = SimulatedNic() if description.simulated_nic else None

    # --- up and down --------------------------------------------------------------------------------------

    def up(self) -> Lab:
        self._claim()
        atexit.register(self.down)
        try:
            for name in self.description.namespaces():
                make = Namespace.adopt if self._is_simulated(name) else Namespace.create
                self._namespaces[name] = make(self.description.prefix + name)
                self._settle(name)
            if self.nic:
                _forget_connections()
                guests = self.description.guests_of(self.description.simulated_nic)
                self.nic.load(len(guests) + SPARE_VFS, {vf: guest.mac for vf, guest in enumerate(guests)})
            self._make_fabric()
            for host in self.description.hosts:
                self._make_host(host.name)
            if self.description.wan:
                self._make_wan()
            self._silence_checksum_offload()
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """Ends what runs in the lab and removes it; being down already is success."""
        atexit.unregister(self.down)
        for agent in self.agents.values():
            if agent.running:
                agent.kill()
        self.agents.clear()
        for namespace in self._namespaces.values():
            namespace.close()
        self._namespaces.clear()
        if self._state_file.exists():
            self._clear(json.loads(self._state_file.read_text()))
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(self, *_: Any) -> None:
        self.down()

    @property
    def _state_file(self) -> Path:
        return STATE_DIR / f"{self.description.prefix or 'lab'}.json"

    def _claim(self) -> None:
        """Writes down what will be made; first clears what a dead run of the same prefix left."""
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces: run as root")
        STATE_DIR.mkdir(exist_ok=True)
        if self._state_file.exists():
            state = json.loads(self._state_file.read_text())
            if state["pid"] != os.getpid() and _starttime(state["pid"]) == state["starttime"]:
                raise LabError(f"process {state['pid']} has this lab up; end it, or give this one another prefix")
            self._clear(state)
        names = [self.description.prefix + name for name in self.description.namespaces()]
        for name in names:
            if (NETNS_DIR / name).exists():
                raise LabError(f"a namespace {name} is there and is not of a lab: remove it or give a prefix")
        instances = [self.description.prefix + host.name for host in self.description.hosts]
        state = {
            "pid": os.getpid(),
            "starttime": _starttime(os.getpid()),
            "namespaces": names,
            "instances": instances,
            "adopted": None,
        }
        if self.description.simulated_nic:
            state["adopted"] = self.description.prefix + self.description.simulated_nic
            state["links"] = sorted(_links())
        self._state_file.write_text(json.dumps(state))

    def _is_simulated(self, name: str) -> bool:
        return name == self.description.simulated_nic

    def _clear(self, state: dict[str, Any]) -> None:
        if state.get("adopted"):
            self._clear_adopted(state)
        for name in state["namespaces"]:
            if Namespace.exists(name) and name != state.get("adopted"):
                namespace = Namespace(name)
                for pid in namespace.pids():
                    _kill(pid)
                namespace.close()
        Namespace.remove(*state["namespaces"])
        # What a daemon keeps outside its network namespace: pinned objects, lock, socket, learnt state.
        for instance in state["instances"]:
            for path in (f"/sys/fs/bpf/sepal/{instance}", f"/run/sepal/{instance}", f"/var/lib/sepal/{instance}"):
                shutil.rmtree(path, ignore_errors=True)
            for path in (*Path("/run/sepal").glob(f"{instance}.*"), *Path("/var/lib/sepal").glob(f"{instance}.*")):
                path.unlink(missing_ok=True)
        self._state_file.unlink(missing_ok=True)

    def _clear_adopted(self, state: dict[str, Any]) -> None:
        """Of the first namespace what is ours: the card, devices that were not there before, connections."""
        SimulatedNic.unload()
        rtnl = Rtnl()
        for name, index in _links().items():
            if name not in state["links"]:
                rtnl.delete_link(index)
                with suppress(KernelRefused):  # one that a kernel module made for itself
                    rtnl.commit()
        rtnl.close()
        _forget_connections()

    # --- parts of the making ------------------------------------------------------------------------------

    def _settle(self, name: str) -> None:
        with self._namespaces[name].enter():
            for sysctl, value in SYSCTLS.items():
                Path("/proc/sys", sysctl).write_text(f"{value}\n")
            # Others before us in the first namespace may have wanted silence.
            if self._is_simulated(name):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("0\n")
            rtnl = Rtnl()
            rtnl.set_link(1, up=True)
            rtnl.commit()
            rtnl.close()

    def _rtnl(self, name: str) -> Rtnl:
        with self._namespaces[name].enter():
            return Rtnl()

    def _make_fabric(self) -> None:
        """The bridge and, from its side, each veth into it: the bridge's end is the one that gets a master."""
        description = self.description
        rtnl = self._rtnl("fabric")
        rtnl.add_bridge(Link("fabric", BRIDGE_INDEX, mtu=description.underlay_mtu))
        ends = [(host.name, Link("uplink", UPLINK_INDEX, host.mac)) for host in description.hosts]
        ends = [(name, end) for name, end in ends if not self._is_simulated(name)]
        if description.wan:
            ends.append(("wan", Link("eth0", WAN_INDEX, description.wan.mac)))
        for offset, (name, end) in enumerate(ends):
            end.mtu = description.underlay_mtu
            port = Link(name, FIRST_PORT_INDEX + offset, mtu=end.mtu, master=BRIDGE_INDEX)
            rtnl.add_veth(port, end, self._namespaces[name].fileno())
        rtnl.commit()
        if self.nic:
            self._join_cable(rtnl)
        rtnl.close()

    def _join_cable(self, fabric: Rtnl) -> None:
        """The far end of the simulated NIC's cable becomes a port of the bridge, as a host's veth is."""
        host = str(self.description.simulated_nic)
        here = self._rtnl(host)
        here.move_link(self.nic.wire, Link(host, CABLE_INDEX), self._namespaces["fabric"].fileno())
        here.commit()
        here.close()
        fabric.set_link(CABLE_INDEX, mtu=self.description.underlay_mtu, master=BRIDGE_INDEX, up=True)
        fabric.commit()

    def _make_host(self, name: str) -> None:
        description = self.description
        self.configure_uplink(name)
        rtnl = self._rtnl(name)
        guests = description.guests_of(name)
        for offset, guest in enumerate(guests):
            if self._is_simulated(name):
                self._add_guest_on_vf(rtnl, offset, guest)
            else:
                self._add_guest(rtnl, FIRST_REPRESENTOR_INDEX + offset, guest)
        rtnl.commit()
        rtnl.close()
        for guest in guests:
            self._configure_guest(guest)

    def configure_uplink(self, name: str) -> None:
        """Name, MTU and addresses: what a hypervisor's own network configuration does whenever its uplink appears."""
        description = self.description
        host = description.host(name)
        rtnl = self._rtnl(name)
        uplink, underlay = UPLINK_INDEX, UPLINK_INDEX
        if self._is_simulated(name):
            uplink = underlay = self.nic.uplink
            rtnl.set_link(uplink, up=False)
            rtnl.set_link(uplink, name="uplink", mac=host.mac, mtu=description.underlay_mtu)
        rtnl.set_link(uplink, up=True)
        if description.underlay_vlan is not None:
            # In the first namespace small numbers are taken by the card's own devices.
            underlay = UPLINK_VLAN_INDEX + (1000 if self._is_simulated(name) else 0)
            link = Link(f"uplink.{description.underlay_vlan}", underlay, mtu=description.underlay_mtu)
            rtnl.add_vlan(link, uplink, description.underlay_vlan)
        for address in host.addresses:
            rtnl.add_address(underlay, address)
        rtnl.commit()
        rtnl.close()

    def _add_guest(self, rtnl: Rtnl, index: int, guest: Guest) -> None:
        # Down at first: up with IPv6 on, a representor would greet its guest with the host's own ND.
        representor = Link(guest.name, index, mtu=guest.mtu, up=False)
        eth0 = Link("eth0", GUEST_INDEX, guest.mac, guest.mtu)
        rtnl.add_veth(representor, eth0, self._namespaces[guest.name].fileno())
        rtnl.commit()
        self._namespaces[guest.host].sysctl(f"net/ipv6/conf/{guest.name}/disable_ipv6", 1)
        rtnl.set_link(index, up=True)

    def give_vfs_to_guests(self) -> None:
        """VFs that were made anew are their guests' again; their representors keep the names the kernel gave them."""
        host = str(self.description.simulated_nic)
        for vf, guest in enumerate(self.description.guests_of(host)):
            rtnl = self._rtnl(host)
            rtnl.set_link(self.nic.vf(vf), mac=guest.mac, mtu=guest.mtu)
            rtnl.move_link(self.nic.vf(vf), Link("eth0", GUEST_INDEX), self._namespaces[guest.name].fileno())
            rtnl.set_link(self.nic.representor(vf), mtu=guest.mtu, up=True)
            rtnl.commit()
            rtnl.close()
            self._configure_guest(guest)

    def _add_guest_on_vf(self, rtnl: Rtnl, vf: int, guest: Guest) -> None:
        """The representor gets the guest's name for the tests' sake alone: sepald finds it by the VF's number."""
        index = self.nic.representor(vf)
        rtnl.set_link(index, name=guest.name, mtu=guest.mtu)
        rtnl.set_link(self.nic.vf(vf), mac=guest.mac, mtu=guest.mtu)
        rtnl.move_link(self.nic.vf(vf), Link("eth0", GUEST_INDEX), self._namespaces[guest.name].fileno())
        rtnl.commit()
        self._namespaces[guest.host].sysctl(f"net/ipv6/conf/{guest.name}/disable_ipv6", 1)
        rtnl.set_link(index, up=True)

    def _configure_guest(self, guest: Guest) -> None:
        rtnl = self._rtnl(guest.name)
        rtnl.set_link(GUEST_INDEX, up=True)
        for address in guest.addresses:
            rtnl.add_address(GUEST_INDEX, address)
        for gateway in guest.gateways:
            rtnl.add_route("::/0" if ":" in gateway else "0.0.0.0/0", GUEST_INDEX, gateway)
        rtnl.commit()
        rtnl.close()

    def _make_wan(self) -> None:
        wan = self.description.wan
        assert wan
        rtnl = self._rtnl("wan")
        rtnl.set_link(WAN_INDEX, up=True)
        for address in wan.addresses:
            rtnl.add_address(WAN_INDEX, address)
        for offset, vlan in enumerate(wan.vlans):
            index = FIRST_WAN_VLAN_INDEX + offset
            rtnl.add_vlan(Link(f"vlan{vlan.vlan}", index, vlan.mac, mtu=1500), WAN_INDEX, vlan.vlan)
            for address in vlan.addresses:
                rtnl.add_address(index, address)
            for prefix in vlan.on_link:
                rtnl.add_route(prefix, index)
        if wan.internet:
            rtnl.add_dummy(Link("internet", INTERNET_INDEX))
            for address in wan.internet:
                rtnl.add_address(INTERNET_INDEX, address)
        rtnl.commit()
        rtnl.close()
        self.ns("wan").sysctl("net/ipv4/ip_forward", 1)
        self.ns("wan").sysctl("net/ipv6/conf/all/forwarding", 1)

    def _silence_checksum_offload(self) -> None:
        """Between veth ends nobody would ever write a checksum: captures would show partial ones, and a rewrite by
        tc on the way would be judged on them."""
        if not self.description.guest_offloads:
            for guest in self.description.guests:
                if not self._is_simulated(guest.host):  # a VF offers none
                    self.ns(guest.name).tx_checksum_off("eth0")
        if self.description.wan:
            self.ns("wan").tx_checksum_off("eth0")

    # --- use ----------------------------------------------------------------------------------------------

    def ns(self, name: str) -> Namespace:
        """A namespace by its name in the description: a host, a guest, `wan` or `fabric`."""
        if name not in self._namespaces:
            raise LabError(f"no namespace {name}; there are {', '.join(self._namespaces) or 'none: the lab is down'}")
        return self._namespaces[name]

    def wait_until(self, predicate: Callable[[], T], timeout: float = 10, what: str = "the condition") -> T:
        """Asks again and again until the answer is true, and returns it; TimeoutError names what was awaited."""
        deadline = time.monotonic() + timeout
        while True:
            answer = predicate()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout} s; last answer: {answer!r}")
            time.sleep(0.05)

    def start_agent(self, host: str, config: Path | str, *arguments: str, wait: bool = True, timeout: float = 60) -> Agent:
        """sepald in that host's namespace; with wait, returns when it said READY=1."""
        self._agents_started += 1
        log = self.log_dir / f"{self.description.prefix}{host}-{self._agents_started}.log"
        log.unlink(missing_ok=True)
        agent = Agent(self.ns(host), self.instance(host), config, log, *arguments)
        self._processes.append(agent.process)
        self.agents[host] = agent
        if wait:
            agent.wait_ready(timeout)
        return agent

    def ctl(self, host: str, *arguments: str, timeout: float = 120) -> Control:
        """sepalctl in that host's namespace: lab.ctl("h1", "show", "--json", directory)."""
        command = [program("sepalctl"), "--instance", self.instance(host), *arguments]
        process = self.ns(host).popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise TimeoutError(f"sepalctl {' '.join(arguments)} took longer than {timeout} s") from None
        return Control(process.returncode, out, err)

    def instance(self, host: str) -> str:
        return self.description.prefix + self.description.host(host).name

    def report(self) -> str:
        """What one wants to see when a test failed: the daemons' logs, neighbours, and every filter with counters."""
        parts = []
        for host, agent in self.agents.items():
            state = "running" if agent.running else f"ended with {agent.process.returncode}"
            parts.append(f"--- log of sepald on {host} ({state})\n{agent.log()}")
        for host in self.description.hosts:
            for command in (["ip", "neigh"], ["bash", "-c", _SHOW_FILTERS]):
                output = self.ns(host.name).run(command, check=False)
                parts.append(f"--- {host.name}: {command[-1] if command[0] == 'ip' else 'filters'}\n{output}")
        return "\n".join(parts)


_SHOW_FILTERS = """
for path in /proc/sys/net/ipv4/conf/*; do
    device=${path##*/}
    filters=$(tc -s filter show dev "$device" ingress 2>/dev/null)
    [[ $filters ]] && printf '# %s\\n%s\\n' "$device" "$filters"
done
exit 0
"""


def _forget_connections() -> None:
    subprocess.run(["conntrack", "-F"], capture_output=True, timeout=60)


def _links() -> dict[str, int]:
    rtnl = Rtnl()
    try:
        return rtnl.links()
    finally:
        rtnl.close()


def _starttime(pid: int) -> str | None:
    """With the pid it names one process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _kill(pid: int) -> None:
    if pid == os.getpid():
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
