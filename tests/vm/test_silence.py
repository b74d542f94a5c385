"""An established connection is the NIC's alone, whatever its way: no packet of it comes up to a representor or is sent by
software, while the NIC's own counters move."""

import time

import pytest

from tests.vm import traffic

pytestmark = [pytest.mark.on_nic, pytest.mark.usefixtures("agents")]

PIECE = 2_000_000  # at 1448 bytes a packet well over a thousand of them
# client, server, address; the server's end may be another guest of the NIC, another hypervisor or the outside
WAYS = {
    "within the host": ("blue-web", "blue-app", "10.0.0.3"),
    "within the host, IPv6": ("blue-web", "blue-app", "fd00:100::3"),
    "over the tunnel": ("blue-web", "blue-db", "10.0.0.2"),
    "over the tunnel, IPv6": ("green-web", "green-db", "fd00:100::2"),
    "out of the tunnel": ("blue-db", "blue-app", "10.0.0.3"),
    "translated": ("blue-web", "wan", "198.18.0.1"),
    "translated, IPv6": ("green-web", "wan", "2001:db8:18::1"),
    "on a VLAN": ("blue-app", "wan", "10.40.0.1"),
    "from a VLAN, IPv6": ("wan", "blue-web", "fd00:100::1"),
}


def came_up(port):
    return sum(count for key, count in port.items() if key.startswith("miss_"))


@pytest.mark.parametrize("way", WAYS)
def test_an_established_connection_does_not_touch_software(lab, way):
    client, server, address = WAYS[way]
    guests = [guest.name for guest in lab.description.guests_of("h1")]
    mine = [guests.index(end) + 1 for end in (client, server) if end in guests]
    connection = traffic.Connection(lab.ns(client), lab.ns(server), address, 7400)
    connection.pour(100_000)
    time.sleep(1)  # the kernel hands the connection to the NIC from a work queue
    before = {number: lab.nic.port(number) for number in [0, *mine]}
    connection.pour(PIECE)
    after = {number: lab.nic.port(number) for number in before}
    connection.close()
    in_hardware = sum(after[n]["hw_in"] - before[n]["hw_in"] for n in before)
    assert in_hardware > 1000
    for number in mine:
        assert came_up(after[number]) == came_up(before[number])
        # One router advertisement every 200 s goes that way.
        assert after[number]["slow_tx"] - before[number]["slow_tx"] <= 1
    # The wire's port is the host's own, too: its ARP and neighbour discovery go on.
    assert came_up(after[0]) - came_up(before[0]) < 20
