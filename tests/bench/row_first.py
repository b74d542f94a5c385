"""First packets: what it takes to begin a connection, for sepal with few and many rules and for what else could carry it;
and what an established one gets afterwards. tests/bench/contenders.py has the ways, tests/bench/generator.cpp the frames."""

from __future__ import annotations

import os
from typing import Any

from .contenders import Contender, Switches
from .measure import Row, Samples, counts_instructions, interleave
from .openvswitch import MissingContender

FEW, MANY = 10, 10_000  # rules of the policy
REDIRECT, BRIDGE, DATAPATH, POLICY = "redirect", "bridge", "Open vSwitch", "Open vSwitch, 5-tuples"
ROUTER, MASKED = "Open vSwitch, routing", "redirect behind masks"
ACT_CT, ACT_CT_ROUTER = "act_ct alone", "act_ct, routing"
MASKS = 8  # a mask is what flower looks a packet up by; a rule of sepal's way is one, or shares one
SEPAL_FEW, SEPAL = f"sepal, {FEW} rules", f"sepal, {MANY} rules"
BURST, BURST_SECONDS = 4000, 0.2
LATENCIES = 1000
LAST_CPU = (os.cpu_count() or 1) - 1


def rows_first(rounds: int, quick: bool) -> list[Row]:
    seconds = 0.3 if quick or counts_instructions() else 2  # by that clock a run tells the same however short it is
    scale = 10 if quick else 1
    try:
        with Switches() as switches:
            contenders = _contenders(switches)
            runs = {
                "connections": dict(seconds=seconds),
                "datagrams": dict(seconds=seconds),
                "latency": dict(flows=LATENCIES // scale),
                "burst": dict(flows=BURST // scale, seconds=BURST_SECONDS / scale),
                "stream": dict(seconds=seconds),
            }
            samples = {command: _measure(command, contenders, rounds, options) for command, options in runs.items() if command != "stream"}
            contenders[MASKED] = switches.redirect(MASKS)
            samples["stream"] = _measure("stream", contenders, rounds, runs["stream"])
    except MissingContender as missing:
        return [Row("first packets", "not measured", "", False, str(missing))]
    return [*_rates(samples["connections"], samples["datagrams"]), _latency(samples["latency"]),
            _burst(samples["burst"], BURST // scale), _stream(samples["stream"])]


def _contenders(switches: Switches) -> dict[str, Contender]:
    made = {REDIRECT: switches.redirect(), BRIDGE: switches.bridge(), DATAPATH: switches.datapath(), ROUTER: switches.router(),
            POLICY: switches.policy(), ACT_CT: switches.act_ct(), ACT_CT_ROUTER: switches.act_ct_router()}
    sepal = switches.sepal({"few": FEW, "many": MANY})
    return {**made, SEPAL_FEW: sepal["few"], SEPAL: sepal["many"]}


def _measure(command: str, contenders: dict[str, Contender], rounds: int, options: dict[str, float]) -> Samples:
    def run(name: str) -> dict[str, Any]:
        told = contenders[name].run(command, cpu=LAST_CPU, **options)
        _check(name, command, told)
        return told

    def tell(sample: dict[str, Any]) -> str:
        if "per_second" in sample:
            return f"{sample['per_second']:.0f}/s"
        return f"{sample['median_us']:.0f} µs" if "median_us" in sample else f"{sample['arrived']} of {sample['sent']}"

    return interleave(rounds, {name: lambda name=name: run(name) for name in contenders}, command, tell)


def _check(name: str, command: str, told: dict[str, Any]) -> None:
    """That each did what its name says: else the row compares something else."""
    flows = told.get("completed", told.get("arrived", told["flows"] - told.get("lost", 0)))
    if name in (REDIRECT, MASKED):
        right = told["tracked"] == 0
    elif name in (SEPAL_FEW, SEPAL) and command == "datagrams":
        right = told["tracked"] < 0.9 * flows  # one datagram is no connection
    else:
        right = told["tracked"] >= 0.9 * flows
    if name in (DATAPATH, ROUTER):
        right = right and told["asked"] < 200 + 0.05 * flows  # what is under way when it knows nothing yet asks more than once
    if name == POLICY:
        right = right and told["asked"] >= 0.9 * flows
    if flows == 0 or not right:
        raise RuntimeError(f"{name} does not carry {command} as it should: {told}")


def _rates(connections: Samples, datagrams: Samples) -> list[Row]:
    many = connections.ratio(SEPAL, SEPAL_FEW, "per_second")
    tcp = connections.ratio(SEPAL, DATAPATH, "per_second")
    udp = datagrams.ratio(SEPAL, DATAPATH, "per_second")
    return [
        Row(f"new TCP connections per second: {MANY} rules against {FEW}", str(many), "≥ 0.95×", many.median >= 0.95,
            _all(connections, "per_second", "/s")),
        Row("… against Open vSwitch's kernel datapath", str(tcp), "≥ 1×", tcp.median >= 1,
            _others(connections)),
        Row("UDP flows of one datagram per second, against Open vSwitch's kernel datapath", str(udp), "≥ 0.8×", udp.median >= 0.8,
            f"{_others(datagrams)}; of sepal's flows {_tracked(datagrams):.0f} % find no place in its table and are tracked. "
            f"{_all(datagrams, 'per_second', '/s')}"),
    ]


def _tracked(samples: Samples) -> float:
    return 100 * sum(sample["tracked"] for sample in samples.by_name[SEPAL]) / sum(sample["arrived"] for sample in samples.by_name[SEPAL])


def _latency(samples: Samples) -> Row:
    ratio = samples.ratio(POLICY, SEPAL, "median_us")
    return Row("first packet's median latency: Open vSwitch with a policy of five-tuples against sepal", str(ratio), "≥ 25×",
               ratio.median >= 25, f"against bridge and nftables, which only track it, {samples.ratio(POLICY, BRIDGE, 'median_us')}. "
               f"{_all(samples, 'median_us', ' µs')}")


def _burst(samples: Samples, flows: int) -> Row:
    missing = {name: sum(sample["sent"] - sample["arrived"] for sample in taken) for name, taken in samples.by_name.items()}
    sent = sum(sample["sent"] for sample in samples.by_name[SEPAL])
    took = "; ".join(f"{name}: {missing[name]}, all sent after {samples.median(name, 'sending_ms'):.0f} ms" for name in samples.by_name)
    return Row(f"a burst of {flows} new flows in {flows * BURST_SECONDS / BURST:g} s: first packets that do not arrive",
               f"{missing[SEPAL]} of {sent}", "0", missing[SEPAL] == 0, took)


def _stream(samples: Samples) -> Row:
    ratio = samples.ratio(SEPAL, DATAPATH, "per_second")
    return Row("packets per second of an established flow, against Open vSwitch's kernel datapath", str(ratio), "≥ 1.15×",
               ratio.median >= 1.15, f"{_others(samples)}; of a packet's time a mask of flower's takes {_mask_us(samples):.1f} µs, all of "
               f"it with Open vSwitch {1e6 / samples.median(DATAPATH, 'per_second'):.0f} µs. {_all(samples, 'per_second', '/s')}")


def _mask_us(samples: Samples) -> float:
    return (1e6 / samples.median(MASKED, "per_second") - 1e6 / samples.median(REDIRECT, "per_second")) / MASKS


def _others(samples: Samples) -> str:
    """What else it can be held against, and how far flower and act_ct carry at all."""
    def ratio(a: str, b: str) -> str:
        return str(samples.ratio(a, b, "per_second"))
    return (f"against one that routes as well {ratio(SEPAL, ROUTER)}, against bridge and nftables {ratio(SEPAL, BRIDGE)}; the least that "
            f"flower and act_ct can be against Open vSwitch {ratio(ACT_CT, DATAPATH)}, and if it routes {ratio(ACT_CT_ROUTER, DATAPATH)}")


def _all(samples: Samples, key: str, unit: str) -> str:
    return "; ".join(f"{name}: {samples.median(name, key):.0f}{unit}" for name in samples.by_name)
