# SPDX-License-Identifier: BSD-3-Clause
"""Where the control server's map of relays comes from, and what is said when that is no good."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from daemon import BUILD, CLI
from test_http import free_port
from wait import wait_until

REGION = {"RegionID": 900, "RegionCode": "own", "Nodes": [{"Name": "900a", "HostName": "relay.test"}]}


@pytest.fixture
def start(daemon):
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "control")

    def with_map(regions, **derp):
        path = daemon.folder / "map.json"
        if regions is not None:
            path.write_text(json.dumps({"Regions": regions}))
        daemon.configure("control", core={"http": {"listen_addr": [f"127.0.0.1:{free_port()}"]}}, control={
            "first_key": False, "server_url": "http://vpn.test", "derp": derp or {"paths": [str(path)]}})
        daemon.start()
        return path

    return with_map


def regions(daemon):
    return daemon.call("status")["control"]["relay_regions"]


def relay_lines(daemon, words):
    wait_until(lambda: words in daemon.log(), words)
    return [line[line.index("relays: "):] for line in daemon.log().splitlines() if words in line]


NONE = 'no relay is known: clients will wait in state "Starting" until one is; set control.derp.paths or control.derp.urls'


def test_none(daemon, start):
    start({})
    assert set(relay_lines(daemon, "no relay is known")) == {f"relays: {NONE}"}
    assert regions(daemon) == 0


def test_no_file(daemon, start):
    path = start(None)
    assert set(relay_lines(daemon, "map.json")) == {f"relays: {path}: No such file or directory"}
    assert relay_lines(daemon, NONE)


def test_one_is_wrong(daemon, start):
    wrong = {"RegionID": 901, "RegionCode": "bad", "Nodes": [{"Name": "901a", "HostName": "a.test", "STUNPort": "3478"}]}
    path = start({"900": REGION, "901": wrong})
    assert set(relay_lines(daemon, "901")) == {
        f"relays: {path}: region 901 is left out: Nodes[0].STUNPort is not a port from 0 to 65535, or -1"}
    assert regions(daemon) == 1 and "no relay is known" not in daemon.log()


class Maps:
    """A web server with maps of relays, by path; None: not found."""

    def __init__(self):
        maps = self.maps = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps({"Regions": maps.get(self.path)}).encode()
                self.send_response(200 if maps.get(self.path) is not None else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"


@pytest.fixture
def web():
    maps = Maps()
    yield maps
    maps.server.shutdown()
    maps.server.server_close()


def relays_line(daemon):
    done = subprocess.run([CLI, "-s", daemon.socket, "-o", "json", "doctor"], capture_output=True, text=True, timeout=30)
    return next(row for row in json.loads(done.stdout) if row["check"] == "relays")


def test_url(daemon, start, web):
    """A region of it that is wrong is left out and named; what it said last holds while it says nothing, over a
    restart too; and the doctor tells which it is, and what to do."""
    web.maps["/map"] = {"900": REGION, "901": {"RegionID": 902}}
    start(None, urls=[web.url("/map")])
    assert set(relay_lines(daemon, "901")) == {
        f"relays: {web.url('/map')}: region 901 is left out: its key is not its RegionID"}
    wait_until(lambda: regions(daemon) == 1, "the other region is in the map")
    line = relays_line(daemon)
    assert line["state"] == "warning" and "region 901 is left out" in line["found"] and "Correct what is named" in line["advice"]
    daemon.stop()
    del web.maps["/map"]
    daemon.start()
    wait_until(lambda: "404" in relays_line(daemon)["found"], "the doctor says that it is gone")
    assert regions(daemon) == 1
    web.maps["/map"] = {"900": REGION, "903": {**REGION, "RegionID": 903}}
    wait_until(lambda: regions(daemon) == 2, "what it says is in the map", timeout=30)
    line = relays_line(daemon)
    assert "left out" not in line["found"] and "404" not in line["found"]
