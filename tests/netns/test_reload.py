# SPDX-License-Identifier: BSD-3-Clause
"""Reload is all or nothing, and costs the traffic of those who stay nothing."""

import signal

import pytest

from daemon import OperationFailed, gateway, peer, tunnel
from pair import GATEWAY, PORT, make_pair
from traffic import PingStream, ping, wait_ping
from wait import wait_until
from wg import new_key


def config(pair, *more, tunnel_settings=None, core=None, **dataplane):
    """The pair's configuration with further peers and changed settings."""
    wanted = [peer("client", pair.cl_key, ["10.9.0.2/32", "fd09::2/128"]), *more]
    settings = {"listen_port": PORT, "mtu": 1420, **(tunnel_settings or {})}
    made = gateway(tunnel(settings.pop("name", "wg0"), pair.gw_key, ["10.9.0.1/24", "fd09::1/64"], wanted, **settings),
                   **dataplane)
    return {**made, "core": core} if core else made


def others(count):
    return [peer(f"other{n}", new_key(), [f"10.9.1.{n}/32"]) for n in range(count)]


def refused(pair, *words):
    with pytest.raises(OperationFailed) as why:
        pytest.fail(f"not refused: {pair.daemon.call('reload')}\n{pair.daemon.config_file.read_text()}")
    assert all(w in str(why.value) for w in words), why.value
    return str(why.value)


@pytest.mark.parametrize("way", ["signal", "command"])
def test_peers_come_and_go_without_loss(net, way):
    pair = make_pair(net, workers=2)
    wait_ping(pair.cl, "10.9.0.1")
    more = others(5)

    def reload(wanted):
        pair.daemon.configure(config(pair, *wanted, workers=2))
        if way == "signal":
            pair.daemon.program.signal(signal.SIGHUP)
        else:
            assert "took the settings in" in str(pair.daemon.cli("reload").stdout)
        keys = {pair.cl_key.public, *(p["public_key"] for p in wanted)}
        wait_until(lambda: set(pair.daemon.peers()) == keys, "the peers of the file run")

    with PingStream(pair.cl, "10.9.0.1") as pings:
        for wanted in (more, more[2:], [], more):
            reload(wanted)
            pings.wait_more(3)
    assert len([line for line in pair.gw.run("ip", "route").stdout.splitlines() if "10.9.1." in line]) == 5


def test_bad_file_changes_nothing(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    good = pair.daemon.config_file.read_text()
    before = pair.daemon.call("tunnels")[0]["peers"]
    with PingStream(pair.cl, "10.9.0.1"):
        pair.daemon.config_file.write_text(good + "nonsense here\n")
        refused(pair, f"{pair.daemon.config_file.name}:")
        pair.daemon.config_file.write_text(good.replace("listen_port", "listen_prot"))
        refused(pair, "listen_port", "listen_prot")
        pair.daemon.program.signal(signal.SIGHUP)
        wait_until(lambda: pair.daemon.program.log().count("listen_prot"), "the log tells")
        pair.daemon.configure(config(pair, *others(2), peer("bad", new_key(), ["10.9.2.2/32"],
                                                            preshared_key_file="nothere.psk")))
        refused(pair, "nothere.psk")
        assert pair.daemon.call("tunnels")[0]["peers"] == before == 1
    pair.daemon.config_file.write_text(good)
    pair.daemon.call("reload")


def test_fixed_settings_are_refused(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    for change in ({"max_peers": 77}, {"memory": "32MiB"},
                   {"core": {"jobs": 3}}, {"core": {"user": "nobody"}}):
        pair.daemon.configure(config(pair, *others(1), **change))
        assert "restart the daemon" in refused(pair), change
        assert len(pair.daemon.peers()) == 1
    assert ping(pair.cl, "10.9.0.1").lost == 0


def test_listen_port_changes(net):
    """Its sockets cannot be absorbed: the plugin restarts, and the client comes in at the new port."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.daemon.configure(config(pair, tunnel_settings={"listen_port": 40001}))
    assert "restarted" in pair.daemon.cli("reload").stdout
    listening = pair.gw.run("ss", "-Hlun").stdout
    assert ":40001 " in listening and f":{PORT} " not in listening
    pair.client.set("peer", pair.gw_key.public, "remove")
    pair.client.peer(pair.gw_key.public, ["10.9.0.1/32"], f"{GATEWAY}:40001")
    wait_ping(pair.cl, "10.9.0.1")
    assert ping(pair.gw, "10.9.0.2").lost == 0
    assert pair.gw.run("wg", "show", "wg0", "listen-port").stdout.strip() == "40001"


@pytest.mark.parametrize("what", ["interface", "port"])
def test_failed_restart_goes_back(net, what):
    """The old settings run again, and so does the traffic."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    before = pair.daemon.call("tunnels")[0]["public_key"]
    pair.gw.run("ip", "link", "add", "taken0", "type", "bridge")
    with pair.gw.udp("0.0.0.0", 40001):
        change = {"name": "taken0"} if what == "interface" else {"listen_port": 40001}
        pair.daemon.configure(config(pair, *others(1), tunnel_settings=change))
        refused(pair, "taken0" if what == "interface" else "40001", "went back to the old settings")
    assert pair.daemon.call("tunnels")[0]["public_key"] == before
    assert list(pair.daemon.peers()) == [pair.cl_key.public]
    assert {"wg0", "taken0"} <= pair.gw.interfaces()
    pair.client.set("peer", pair.gw_key.public, "remove")
    pair.client.peer(pair.gw_key.public, ["10.9.0.1/32"], f"{GATEWAY}:{PORT}")
    wait_ping(pair.cl, "10.9.0.1")
    assert pair.gw.run("wg", "show", "wg0", "listen-port").stdout.strip() == str(PORT)
