"""What guests really run, on their own network stacks: a web server and curl, nc, iperf3, ndisc6."""

import contextlib
import hashlib
import json
import os
import subprocess
import time

import pytest

from tests.vm.fixtures import GATEWAY_MAC
from tests.vm.test_security_groups import APP, BOTH, DB, with_groups

pytestmark = [pytest.mark.both_ways, pytest.mark.usefixtures("agents")]

HTTP, NC, IPERF = 8000, 7000, 5201


def quoted(address):
    return f"[{address}]" if ":" in address else address


@contextlib.contextmanager
def serving(guest, command, protocol, port, **options):
    """The command in the guest, from when it listens."""
    process = guest.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        deadline = time.monotonic() + 20
        while not guest.run(f"ss -H -l -n {protocol} sport = :{port}").strip():
            assert time.monotonic() < deadline and process.poll() is None, f"{command} does not listen"
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def page(tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "page").write_bytes(content)
    return tmp_path, hashlib.sha256(content).hexdigest()


def curl(guest, address, into):
    done = guest.popen(["curl", "-g", "-s", "-S", "--max-time", "20", "-o", str(into), f"http://{quoted(address)}:{HTTP}/page"],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done.communicate()
    return done.returncode


@BOTH
@pytest.mark.parametrize("server, addresses", [("blue-app", APP), ("blue-db", DB)], ids=["within the host", "over the tunnel"])
def test_curl_gets_a_page_of_a_web_server(lab, page, server, addresses, version):
    directory, digest = page
    web_server = ["python3", "-m", "http.server", "--bind", "::", "--directory", str(directory), str(HTTP)]
    with serving(lab.ns(server), web_server, "-t", HTTP):
        assert curl(lab.ns("blue-web"), addresses[version], directory / "got") == 0
    assert hashlib.sha256((directory / "got").read_bytes()).hexdigest() == digest


def test_security_groups_let_curl_through_and_nothing_else(lab, page, reconfigure):
    directory, _ = page
    web, app = lab.ns("blue-web"), lab.ns("blue-app")
    web_server = ["python3", "-m", "http.server", "--bind", "::", "--directory", str(directory), str(HTTP)]
    with reconfigure("h1") as h1, serving(app, web_server, "-t", HTTP), serving(app, ["nc", "-l", "-k", str(NC)], "-t", NC):
        assert nc_reaches(web, APP[4], NC), "there are no groups yet"
        with_groups(h1, {"web": {"ingress": [{"protocol": "tcp", "ports": HTTP, "from": "any"}]}}, app=["web"])
        assert curl(web, APP[4], directory / "got") == 0
        assert not nc_reaches(web, APP[4], NC)


def nc_reaches(guest, address, port):
    return guest.popen(["nc", "-z", "-w", "2", address, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(20) == 0


@BOTH
def test_nc_says_something_by_tcp_and_by_udp(lab, version):
    web, app = lab.ns("blue-web"), lab.ns("blue-app")
    for option, protocol in ((None, "-t"), ("-u", "-u")):
        options = [option] if option else ["-N"]
        listener = ["nc", *([option] if option else []), "-6" if version == 6 else "-4", "-l", "-W", "1", str(NC)]
        with serving(app, listener, protocol, NC) as server:
            web.run(["nc", *options, "-w", "1", APP[version], str(NC)], input="said by nc\n")
            heard, _ = server.communicate(timeout=20)
        assert heard == "said by nc\n"


@BOTH
def test_iperf3_measures_both_ways(lab, version):
    web, db = lab.ns("blue-web"), lab.ns("blue-db")
    for options in ([], ["-R"], ["-u", "-b", "1M", "-l", "1000"]):
        with serving(db, ["iperf3", "-s", "-1", "-p", str(IPERF)], "-t", IPERF):
            told = json.loads(web.run(["iperf3", "-c", DB[version], "-p", str(IPERF), "-t", "2", "-J", *options], timeout=60))
        end = told["end"]
        if "-u" in options:
            assert end["sum"]["packets"] > 200 and end["sum"]["lost_percent"] < 5
        else:
            assert end["sum_received"]["bytes"] > 100_000


def test_ndisc6_finds_the_gateway_and_neighbours_behind_it(lab):
    for address in ("fe80::1", "fd00:100::2"):
        assert lab.ns("blue-web").run(f"ndisc6 -1 -q {address} eth0").strip().lower() == GATEWAY_MAC
