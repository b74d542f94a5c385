"""One port more, in a small and in a large world of other tenants."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .bed import TMP, Bed
from .measure import Row, interleave
from .world import Shape, World, tenant

OWN = Shape(ports=4, routes4=20, routes6=0)
OWN_NUMBER = 900
NEW = "{name: late, device: late, mac: '02:00:00:ff:ff:01', addresses: [10.0.200.1]}"


def rows_port(worlds: list[World], rounds: int) -> list[Row]:
    beds: list[Bed] = []
    sizes: list[int] = []
    contenders: dict[str, Any] = {}
    try:
        for world in worlds:
            before, after = _directories(world)
            live = TMP / f"port-{world.tenants}-live"
            shutil.rmtree(live, ignore_errors=True)
            own = [OWN.device(OWN_NUMBER, port) for port in range(OWN.ports)]
            bed = Bed([*world.devices(), *own, "late"]).__enter__()
            beds.append(bed)
            sizes.append(bed.measure("prepare", after)["rules"])
            bed.measure("sepal", before)
            contenders[f"{sizes[-1]} rules"] = lambda bed=bed, l=live, b=before, a=after: bed.measure("change", l, b, a)
        samples = interleave(rounds, contenders, "one port more")
    finally:
        for bed in beds:
            bed.__exit__()
    small, large = contenders
    # Its own block, and in each other block of its tenant (three more ports' and the tunnel's) a route and an egress.
    blocks = OWN.ports + 1
    rows = []
    for name in contenders:
        sample = samples.by_name[name][-1]
        exact = all(s["filters"] == s["on_new_device"] + 2 * blocks and s["tenants"] == 1 and s["added"] == s["filters"]
                    for s in samples.by_name[name])
        rows.append(Row(f"one port more among {name}: messages that write", str(sample["filters"]),
                        f"its own {sample['on_new_device']} + 2 × {blocks} blocks of its tenant", exact,
                        f"and {sample['others']} for its clsact and the mark on it" if sample["others"] else ""))
    ratio = samples.ratio(large, small)
    rows.append(Row(f"… time among {large} against among {small}", str(ratio), "≤ 1.5×", ratio.median <= 1.5,
                    "; ".join(f"{name}: {samples.median(name):.0f} ms (YAML {samples.median(name, 'config_ms'):.0f}, "
                              f"reading the kernel {samples.median(name, 'read_ms'):.0f}, "
                              f"writing {samples.median(name, 'write_ms'):.0f})" for name in contenders)))
    return rows


def _directories(world: World) -> tuple[Path, Path]:
    size = world.tenants
    before, after = world.write(TMP / f"port-{size}"), world.write(TMP / f"port-{size}-more")
    name = f"tenants.d/t{OWN_NUMBER}.yaml"
    (before / name).write_text(tenant(OWN, OWN_NUMBER))
    (after / name).write_text(tenant(OWN, OWN_NUMBER, more_ports=[NEW]))
    return before, after
