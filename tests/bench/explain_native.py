"""`sepalctl explain` on this machine itself, not in the emulated bed: all of a question but the kernel's answer, for no rules
stand here. Needs root and the release build; docs/performance.md has its figures:

    python3 -m tests.bench.explain_native
"""

from __future__ import annotations

import subprocess
import time

from tests.lab.agent import program
from tests.lab.namespace import Namespace

from .bed import TMP
from .world import LARGE

NAME = "bench-explain"
TIMES = 21


def main() -> None:
    world = LARGE
    directory = world.write(TMP / "explain-native")
    commands = ["link add uplink type veth peer name uplink-peer", "link set uplink mtu 1600 up", "address add 192.0.2.1/24 dev uplink"]
    for number, device in enumerate(world.devices()):
        commands += [f"link add {device} type veth peer name peer{number}", f"link set {device} up"]
    question = ["explain", f"t{world.tenants - 1:03}/p0", "tcp", "10.0.0.1", "10.0.1.5:443", "--config", str(directory),
                "--instance", "bench", "--run-dir", str(TMP / "run-native")]
    Namespace.remove(NAME)
    namespace = Namespace.create(NAME)
    try:
        namespace.run(["ip", "-batch", "-"], input="\n".join(commands))
        with namespace.enter():
            said = subprocess.run([program("sepalctl"), *question], capture_output=True, text=True).stdout
            assert "sent on sepal-vxlan" in said, said
            for name, words in (("explain", question), ("--version", ["--version"])):
                samples = sorted(_ms([program("sepalctl"), *words]) for _ in range(TIMES))
                print(f"{name}: {samples[TIMES // 2]:.0f} ms ({samples[0]:.0f}..{samples[-1]:.0f})")
    finally:
        namespace.close()
        Namespace.remove(NAME)


def _ms(command: list[str]) -> float:
    begin = time.monotonic()
    subprocess.run(command, capture_output=True)
    return (time.monotonic() - begin) * 1000


if __name__ == "__main__":
    main()
