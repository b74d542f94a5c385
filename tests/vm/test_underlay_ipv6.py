"""The overlay over an IPv6 underlay."""

import pytest

from tests.vm.configs import HostConfig
from tests.vm.underlay import *  # noqa: F401,F403

pytestmark = pytest.mark.both_ways


@pytest.fixture(scope="module")
def configs(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("config")
    made = {}
    for host, own, other in (("h1", 1, 2), ("h2", 2, 1)):
        config = made[host] = HostConfig(directory, host, lab)
        config.edit("host", underlay={"device": "uplink", "address": f"2001:db8:2::{own}", "mtu": 1600})
        for tenant in ("blue", "green"):
            routes = config.read(tenant)["routes"]
            for route in routes:
                if route["via"] == f"192.0.2.{other}":
                    route["via"] = f"2001:db8:2::{other}"
            config.edit(tenant, routes=routes)
    return made


def test_the_outer_header_is_ipv6_without_a_udp_checksum(lab, agents):
    from tests.lab.packets import UDP, VXLAN, IPv6

    with lab.ns("h2").sniff("uplink") as sniffer:
        assert lab.ns("blue-web").ping("10.0.0.2", count=1).received == 1
    outer = [p for p in sniffer.packets() if p.haslayer(VXLAN)]
    assert outer and all(p[IPv6].dst.startswith("2001:db8:2::") and p[UDP].chksum == 0 for p in outer)
