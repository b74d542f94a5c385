"""Limits of what a port may ask of the slow path: what is beyond is dropped and counted, and nobody else notices."""

import json
import socket
import time

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


def dropped(lab, config, where, reason):
    told = json.loads(lab.ctl("h1", "drops", "--json", "--config", str(config.path)).out)
    return sum(d["packets"] for d in told["drops"] if (d["where"], d["reason"]) == (where, reason))


def rate_limited(lab, config, where):
    return dropped(lab, config, where, "rate-limited")


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
            time.sleep(2 / LIMIT)  # the kernel makes a bucket empty
            arrived = begin(web, db, DB, 7603, FLOOD)
            assert 0 < arrived < FLOOD / 2
            assert rate_limited(lab, configs["h1"], "port blue-web") - before >= FLOOD / 2
            assert begin(app, db, DB, 7604, 2 * LIMIT) == 2 * LIMIT, "another port has no limit"
        assert beside.lost == 0
        assert own.lost == 0, "a connection that exists is none that begins"
        assert rate_limited(lab, configs["h1"], "port blue-app") == 0


BOUND = 40


def bounded(lab, tenant="blue"):
    """What the daemon says of a tenant's connections, once it has counted."""
    def told():
        status = json.loads(lab.ctl("h1", "status", "--json").out)
        return [t for t in status["connections"] if t["tenant"] == tenant and "counted" in t]

    return lab.wait_until(told, 10, "a count of connections")[0]


def with_bound(h1, connections):
    document = h1.read("blue")
    document["limits"] = document.get("limits", {}) | {"connections": connections}
    h1.write("blue", document)
    h1.reload()


@pytest.mark.smoke
def test_a_tenant_has_no_more_connections_than_it_may_and_nobody_else_notices(lab, reconfigure, configs):
    web, app, db, green = lab.ns("blue-web"), lab.ns("blue-app"), lab.ns("blue-db"), lab.ns("green-web")
    with reconfigure("h1") as h1, traffic.Stream(app, db, DB, 7611, per_second=100) as own:
        with_bound(h1, BOUND)
        had = bounded(lab)["counted"]
        assert 1 <= had < BOUND / 2
        assert begin(web, db, DB, 7612, 3 * BOUND) <= BOUND - had
        assert dropped(lab, configs["h1"], "port blue-web", "too-many-connections") >= 2 * BOUND
        assert begin(app, db, DB, 7613, 5) == 0, "the bound is the tenant's, not a port's"
        lab.wait_until(lambda: bounded(lab)["full"], 10, "word of it")
        assert "full: blue" in lab.ctl("h1", "status").out
        assert begin(green, lab.ns("green-db"), DB, 7614, 5) == 5, "another tenant"
        with_bound(h1, 10 * BOUND)
        assert begin(web, db, DB, 7615, 20) == 20, "another bound, at once"
        assert not bounded(lab)["full"]
    assert own.lost == 0, "a connection that exists goes on"


def test_what_has_ended_makes_room_again(lab, reconfigure):
    web, db = lab.ns("blue-web"), lab.ns("blue-db")
    with reconfigure("h1") as h1:
        with_bound(h1, BOUND)
        begin(web, db, DB, 7621, 2 * BOUND)
        assert begin(web, db, DB, 7622, 5) == 0
        assert lab.ctl("h1", "connections", "--delete", "--tenant", "blue", "--config", str(h1.path)).status == 0
        lab.wait_until(lambda: not bounded(lab)["full"], 15, "another count")
        assert begin(web, db, DB, 7623, 5) == 5


@pytest.mark.software_only("what it waits for half a minute is the kernel's alone")
def test_nobody_is_bounded_while_nobody_counts(lab, reconfigure, configs):
    web, db = lab.ns("blue-web"), lab.ns("blue-db")
    with reconfigure("h1") as h1:
        with_bound(h1, BOUND)
        begin(web, db, DB, 7631, 2 * BOUND)
        lab.agents["h1"].kill()
        try:
            assert begin(web, db, DB, 7632, 5) == 0, "what was said last holds for a while"
            lab.wait_until(lambda: begin(web, db, DB, 7633, 5) == 5, 60, "it to lapse")
        finally:
            lab.start_agent("h1", configs["h1"].path)
