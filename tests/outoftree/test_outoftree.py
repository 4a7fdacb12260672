# SPDX-License-Identifier: BSD-3-Clause
"""A plugin built outside of the tree, from what `meson install` puts on a machine, and loaded.

    client 192.0.2.2 ---- eth0 ---- 192.0.2.1 gateway, with the plugin portcount
"""

import socket
from pathlib import Path

import pytest

from outoftree import build_outside, install, load_from
from pair import make_pair
from traffic import wait_ping
from wait import wait_until

PLUGIN = Path(__file__).parent / "portcount"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    load_from(build_outside(PLUGIN, tmp_path), monkeypatch)


def test_what_is_installed_runs(net, tmp_path):
    """With nothing of the build in sight: libraries, plugins and manual are found where they lie."""
    machine, installed = net.machine("gateway"), install(tmp_path)
    (program,) = installed.rglob("sbin/tailplaned")
    prefix = program.parents[1]
    machine.run("mount", "--bind", prefix, f"/{prefix.relative_to(installed)}")
    clean = ["env", "-u", "TAILPLANE_PLUGIN_PATH", "-u", "LD_LIBRARY_PATH"]
    printed = machine.run(*clean, f"/{program.relative_to(installed)}", "-nv").stdout
    assert 'plugins = [ "dataplane", "gateway", "control", "derp" ];' in printed
    assert "keys new" in machine.run(*clean, "tailplane", "-s", "none", "help").stdout
    assert "server_url" in machine.run("man", "-P", "cat", "tailplane.conf").stdout


def test_outside_plugin(net, plugin):
    pair = make_pair(net, plugins=["dataplane", "portcount"], groups={"portcount": {"port": 7777, "drop": True}})
    wait_ping(pair.cl, "10.9.0.1")
    with pair.gw.udp("10.9.0.1", 7777) as counted, pair.gw.udp("10.9.0.1", 7778) as other, \
            pair.cl.udp("10.9.0.2") as client:
        other.settimeout(5)
        counted.settimeout(0.1)
        for _ in range(5):
            client.sendto(b"counted", ("10.9.0.1", 7777))
        client.sendto(b"other", ("10.9.0.1", 7778))
        assert other.recv(100) == b"other"
        with pytest.raises(socket.timeout):
            counted.recv(100)
    # a command, a drop reason, a metric, a setting
    wait_until(lambda: pair.daemon.call("portcount")["packets"] == 5, "the plugin's count")
    assert 0 < pair.daemon.call("portcount")["quiet"] < 60e9
    assert pair.daemon.drops()["portcount_dropped"] == 5
    assert "portcount_packets_total 5" in pair.daemon.call("metrics")
    assert "portcount" in {n["node"] for n in pair.daemon.call("graph")}
    assert "PACKETS" in pair.daemon.cli("portcount").stdout
    bad = pair.daemon.config_file.read_text().replace("port = 7777", "port = 70000")
    pair.daemon.config_file.write_text(bad)
    assert "65535" in pair.daemon.check_config().stderr
