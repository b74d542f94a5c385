"""Many rules from YAML to the kernel's last answer, and a restart that finds them in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bed import TMP, Bed
from .measure import Row, interleave
from .world import World


def rows_fill(world: World, rounds: int, threads: list[int]) -> list[Row]:
    directory = world.write(TMP / "fill")
    files = {"tc": TMP / "fill.tc", "tc plain": TMP / "fill-plain.tc"}
    with Bed(world.devices()) as bed:
        told = bed.measure("prepare", directory)
        bed.measure("text", directory, files["tc"])
        bed.measure("text", directory, files["tc plain"], "--plain")

    # Text names devices by name, so one file serves every namespace.
    def fresh(step: Any) -> Any:
        def run() -> dict[str, Any]:
            with Bed(world.devices()) as bed:
                bed.measure("prepare", directory)
                return step(bed)
        return run

    contenders = {}
    for number in sorted({1, *threads}):
        contenders[_floor(number)] = fresh(
            lambda bed, number=number: bed.measure("floor", directory, "--threads", str(number)))
    for number in threads:
        contenders[f"sepal/{number}"] = fresh(
            lambda bed, number=number: _until_answered(bed.measure("sepal", directory, "--threads", str(number))))
    for name, file in files.items():
        contenders[name] = fresh(lambda bed, file=file: bed.tc_batch(file))
    contenders[_floor(1)]()  # the first fill of a boot loads the kernel's modules
    samples = interleave(rounds, contenders, f"{told['rules']} rules")
    rows = []
    for number in threads:
        name = f"sepal/{number}"
        over_tc = samples.ratio("tc", name)
        over_floor = samples.ratio(_floor(1), name)
        plain = samples.ratio("tc plain", name)
        parts = {key: samples.median(name, key) for key in ("ms", "pass_ms", "config_ms", "read_ms", "write_ms")}
        rest = parts["ms"] - parts["config_ms"] - parts["read_ms"] - parts["write_ms"]
        detail = (f"{parts['ms']:.0f} ms: YAML {parts['config_ms']:.0f}, reading the kernel {parts['read_ms']:.0f}, "
                  f"compile and encode {rest:.0f}, waiting for the kernel {parts['write_ms']:.0f}; "
                  f"{told['rules'] * 1000 / parts['ms']:.0f} rules/s; with its report and books {parts['pass_ms']:.0f} ms")
        writers = f"{number} writer" + ("s" if number > 1 else "")
        rows.append(Row(f"{told['rules']} rules, {writers}, against `tc -batch`", str(over_tc), "≥ 8×",
                        over_tc.median >= 8, detail))
        rows.append(Row("… against `tc -batch` without no_percpu and cookies", str(plain), "", None,
                        f"{samples.median('tc plain'):.0f} ms; with both {samples.median('tc'):.0f} ms"))
        rows.append(Row("… against the floor", str(over_floor), "≥ 0.9×", over_floor.median >= 0.9,
                        f"floor {samples.median(_floor(1)):.0f} ms"))
        if number > 1:
            bound = samples.ratio("tc", _floor(number))
            rows.append(Row(f"… and the floor itself with {number} writers, against `tc -batch`", str(bound), "", None,
                            f"{samples.median(_floor(number)):.0f} ms: what the kernel alone takes on {number} CPUs"))
    return rows


def _floor(threads: int) -> str:
    return f"floor/{threads}"


def _until_answered(measured: dict[str, Any]) -> dict[str, Any]:
    """From YAML to the kernel's last acknowledgement, as of its contenders."""
    return measured | {"ms": measured["answered_ms"], "pass_ms": measured["ms"]}


def rows_restart(world: World, rounds: int) -> list[Row]:
    directory = world.write(TMP / "restart")
    with Bed(world.devices()) as bed:
        bed.measure("prepare", directory)
        filled = bed.measure("sepal", directory)
        samples = interleave(rounds, {"dump": lambda: bed.measure("dump", directory),
                                      "sepal": lambda: bed.measure("sepal", directory)}, "restart")
    writes = [sample["filters"] + sample["others"] for sample in samples.by_name["sepal"]]
    ratio = samples.ratio("sepal", "dump")
    parts = {key: samples.median("sepal", key) for key in ("ms", "config_ms", "read_ms", "write_ms")}
    rest = parts["ms"] - parts["config_ms"] - parts["read_ms"] - parts["write_ms"]
    return [
        Row(f"restart over {filled['rules']} rules: messages that write", str(max(writes)), "0", max(writes) == 0),
        Row("… time against a raw terse dump", str(ratio), "≤ 2×", ratio.median <= 2,
            f"{parts['ms']:.0f} ms: YAML {parts['config_ms']:.0f}, reading the kernel {parts['read_ms']:.0f}, "
            f"compile and compare {rest:.0f}; raw dump {samples.median('dump'):.0f} ms"),
    ]
