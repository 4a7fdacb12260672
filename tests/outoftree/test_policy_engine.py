# SPDX-License-Identifier: BSD-3-Clause
"""A policy engine built outside of the tree, under real clients: see tailscale.py for the drawing."""

from pathlib import Path

import pytest

from outoftree import build_outside, load_from
from tailnet import URL, Tailnet
from traffic import ping, wait_ping
from wait import wait_until

KEEPER = Path(__file__).parent / "keeper"


@pytest.fixture
def tailnet(net, tmp_path, monkeypatch):
    load_from(build_outside(KEEPER, tmp_path), monkeypatch)
    tailnet = Tailnet(net, plugins=["control", "keeper"])
    tailnet.cli("users", "create", "bob")
    return tailnet


def test_engine(tailnet):
    """It keeps users apart, changes its mind, decides about SSH, goes, comes back, and is removed."""
    a, b, c = tailnet.client("a"), tailnet.client("b"), tailnet.client("c")
    a.up(URL, tailnet.key(), "--ssh")
    b.up(URL, tailnet.key(user="bob"))
    c.up(URL, tailnet.key())

    def state():
        return tailnet.daemon.call("status")["control"]["policy"]

    a.wait_peer("c", Online=True)
    c.wait_peer("a", Online=True)
    assert "b" not in a.peers() and not b.peers() and state() == "keeper"

    assert tailnet.ask("keeper", "together")["nodes"] == 3
    a.wait_peer("b", Online=True)
    b.wait_peer("a", Online=True)
    b.wait_peer("c", Online=True)
    wait_ping(b.machine, a.ip4)
    address, name = a.ip4, b.machine.name

    # the node that is logged in to asks the server, which asks the engine, which takes its time
    def ssh():
        return b.run("ssh", "root@a", "echo", "in", check=False, timeout=60)

    done = ssh()
    assert done.returncode != 0 and "The policy does not let you in" in done.stdout + done.stderr
    assert tailnet.ask("keeper", "open")["asked"] == 1
    assert ssh().stdout == "in\n"

    # one that goes closes all, though it was open
    tailnet.cli("keeper", "go")
    a.wait_no_peer("c")
    b.wait_no_peer("a")
    assert state().startswith("keeper does not run") and ping(b.machine, address, count=1).received == 0
    assert "does not run" in tailnet.cli("policy", "get", check=False).stderr
    tailnet.cli("keeper", "come")
    b.wait_peer("a", Online=True)
    wait_ping(b.machine, address)

    tailnet.cli("keeper", "apart")
    a.wait_no_peer(name)
    a.wait_peer("c", Online=True)

    # without it in the configuration there is no policy
    text = tailnet.daemon.config_file.read_text()
    tailnet.daemon.config_file.write_text(text.replace(', "keeper"', ""))
    tailnet.cli("reload")
    a.wait_peer("b", Online=True)
    wait_until(lambda: state().startswith("none"), "there is no policy")
    wait_ping(b.machine, address)
