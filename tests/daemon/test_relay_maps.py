# SPDX-License-Identifier: BSD-3-Clause
"""Where the control server's map of relays comes from, and what is said when that is no good."""

import json

import pytest

from daemon import BUILD
from test_http import free_port
from wait import wait_until

REGION = {"RegionID": 900, "RegionCode": "own", "Nodes": [{"Name": "900a", "HostName": "relay.test"}]}


@pytest.fixture
def start(daemon):
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "control")

    def with_map(regions):
        path = daemon.folder / "map.json"
        if regions is not None:
            path.write_text(json.dumps({"Regions": regions}))
        daemon.configure("control", core={"http": {"listen_addr": [f"127.0.0.1:{free_port()}"]}},
                         control={"first_key": False, "server_url": "http://vpn.test", "derp": {"paths": [str(path)]}})
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
