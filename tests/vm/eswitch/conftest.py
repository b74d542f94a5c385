"""Fixtures of the simulated NIC's own tests: the module is loaded once, and each test starts with empty tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import kernel_log
from tests.vm.eswitch.card import Nic, load, unload

VFS = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.eswitch)


def need_module() -> None:
    if not Path(os.environ.get("SEPAL_ESWITCH_SIM", "/none")).exists():
        pytest.skip("no simulated eSwitch here: SEPAL_ESWITCH_SIM does not name a module")


@pytest.fixture(scope="module")
def bare() -> Iterator[Nic]:
    """The card as it is after loading: legacy mode, no VFs."""
    need_module()
    load(kernel_limits=0, max_vfs=64)
    nic = Nic()
    yield nic
    nic.close()
    unload()
    assert not Path("/sys/kernel/debug/esim").exists()
    assert kernel_log.complaints() == []


class World:
    """A card in switchdev mode with all devices up, by short names: `rep`, `vf` (lists), `uplink`, `wire`."""

    def __init__(self, nic: Nic) -> None:
        self.nic = nic
        nic.sriov(VFS)
        nic.mode("switchdev")
        ports = nic.by_port_name()
        self.uplink, self.wire = ports["p0"], nic.wire
        self.rep = [ports[f"pf0vf{n}"] for n in range(VFS)]
        self.vf = [nic.vf(n) for n in range(VFS)]
        nic.up(self.wire, self.uplink, *self.rep, *self.vf)


@pytest.fixture(scope="module")
def world(bare: Nic) -> World:
    return World(bare)


@pytest.fixture
def clean(world: World) -> World:
    """No rules, no faults."""
    world.nic.fresh(world.uplink, *world.rep)
    world.nic.write("refuse", "")
    return world
