# SPDX-License-Identifier: BSD-3-Clause
"""A plugin built outside of the tree, from what `meson install` puts on a machine, and loaded.

    client 192.0.2.2 ---- eth0 ---- 192.0.2.1 gateway, with the plugin portcount
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from daemon import BUILD, ROOT
from pair import make_pair
from traffic import wait_ping
from wait import wait_until

PLUGIN = Path(__file__).parent / "portcount"


def build_outside(tmp_path):
    """The installed tree, then the plugin with nothing but it in sight. Returns the plugin's folder."""
    installed, source, build = tmp_path / "installed", tmp_path / "source", tmp_path / "out"
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", installed],
                   check=True, capture_output=True)
    shutil.copytree(PLUGIN, source)
    pc = next(installed.rglob("tailplane.pc")).parent
    env = {**os.environ, "PKG_CONFIG_PATH": str(pc), "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    # the system's own packages do not lie in the sysroot
    env["PKG_CONFIG_SYSROOT_DIR"] = ""
    for path in pc.glob("tailplane*.pc"):
        text = path.read_text()
        prefix = next(l for l in text.splitlines() if l.startswith("prefix=")).split("=", 1)[1]
        path.write_text(text.replace(f"prefix={prefix}", f"prefix={installed}{prefix}", 1))
    for command in (["meson", "setup", build, source], ["ninja", "-C", build]):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    folder = build_outside(tmp_path)
    path = os.environ.get("TAILPLANE_PLUGIN_PATH", f"{BUILD}/dataplane:{BUILD}/plugins/gateway")
    monkeypatch.setenv("TAILPLANE_PLUGIN_PATH", f"{path}:{folder}")
    assert str(ROOT) not in str(folder)
    return folder


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
    wait_until(lambda: pair.daemon.call("portcount") == {"packets": 5}, "the plugin's count")
    assert pair.daemon.drops()["portcount_dropped"] == 5
    assert "portcount_packets_total 5" in pair.daemon.call("metrics")
    assert "portcount" in {n["node"] for n in pair.daemon.call("graph")}
    assert "PACKETS" in pair.daemon.cli("portcount").stdout
    bad = pair.daemon.config_file.read_text().replace("port = 7777", "port = 70000")
    pair.daemon.config_file.write_text(bad)
    assert "65535" in pair.daemon.check_config().stderr
