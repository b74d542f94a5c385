"""The overlay over an underlay on a VLAN of the uplink."""

import pytest

from tests.vm.configs import HostConfig
from tests.vm.underlay import *  # noqa: F401,F403

LAB = {"underlay_vlan": 2}
pytestmark = pytest.mark.both_ways


@pytest.fixture(scope="module")
def configs(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("config")
    made = {}
    for host, own in (("h1", 1), ("h2", 2)):
        made[host] = HostConfig(directory, host, lab)
        made[host].edit("host", underlay={"device": "uplink", "address": f"192.0.2.{own}", "vlan": 2, "mtu": 1600})
    return made


def test_the_outer_frame_wears_the_underlays_tag(lab, agents):
    from tests.lab.packets import VXLAN, Dot1Q

    with lab.ns("h2").sniff("uplink") as sniffer:
        assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1
    outer = [p for p in sniffer.packets() if p.haslayer(VXLAN)]
    assert outer and all(p[Dot1Q].vlan == 2 for p in outer)
