"""Limits of what a port may ask of the slow path: what is beyond is dropped and counted, and nobody else notices."""

import json
import socket

import pytest

from tests.vm import traffic

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

APP, DB = "10.0.0.3", "10.0.0.2"  # DB is on h2
LIMIT, FLOOD = 5, 100


def begin(client, server, address, port, count):
    """A datagram from each of so many ports; how many arrived."""
    with server.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", port))
        receiver.settimeout(1)
        with client.enter():
            for number in range(count):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind(("", 30_000 + number))
                    sender.sendto(b"new", (address, port))
        arrived = 0
        try:
            while True:
                receiver.recv(100)
                arrived += 1
        except TimeoutError:
            return arrived


def rate_limited(lab, config, where):
    told = json.loads(lab.ctl("h1", "drops", "--json", "--config", str(config.path)).out)
    return sum(d["packets"] for d in told["drops"] if (d["where"], d["reason"]) == (where, "rate-limited"))


@pytest.mark.smoke
def test_a_flood_of_new_connections_is_cut_to_the_ports_limit_and_nobody_else_notices(lab, reconfigure, configs):
    web, app, db = (lab.ns(f"blue-{name}") for name in ("web", "app", "db"))
    with reconfigure("h1") as h1:
        document = h1.read("blue")
        for port in document["ports"]:
            if port["name"] == "blue-web":
                port["limits"] = {"new_connections_per_second": LIMIT}
        h1.write("blue", document)
        with traffic.Stream(app, db, DB, 7601, per_second=100) as beside, traffic.Stream(web, db, DB, 7602, per_second=100) as own:
            h1.reload()  # under connections that exist
            before = rate_limited(lab, configs["h1"], "port blue-web")
            arrived = begin(web, db, DB, 7603, FLOOD)
            assert 0 < arrived < FLOOD / 2
            assert rate_limited(lab, configs["h1"], "port blue-web") - before >= FLOOD / 2
            assert begin(app, db, DB, 7604, 2 * LIMIT) == 2 * LIMIT, "another port has no limit"
        assert beside.lost == 0
        assert own.lost == 0, "a connection that exists is none that begins"
        assert rate_limited(lab, configs["h1"], "port blue-app") == 0
