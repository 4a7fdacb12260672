# SPDX-License-Identifier: BSD-3-Clause
"""Peers by command and by the `wg` tool: what is kept, what is told, what goes on meanwhile."""

import json
import re
import stat

import pytest

from daemon import CLI, RUNTIME_DIR, gateway, peer, tunnel
from pair import GATEWAY, PORT, make_pair
from traffic import PingStream, ping, wait_ping
from wait import wait_until
from wg import new_key, new_psk, show


def row(daemon, key):
    return daemon.peers().get(key.public)


def added(daemon, *words):
    """The row that the command prints for machines."""
    out = json.loads(daemon.cli("-o", "json", "peers", *words).stdout)
    return out[0] if isinstance(out, list) else out


def refused(daemon, *words):
    done = daemon.cli("peers", *words, check=False)
    assert done.returncode != 0 and done.stdout == ""
    return done.stderr


def test_kept_over_reload_and_restart(net):
    pair = make_pair(net)
    daemon, kept, gone = pair.daemon, new_key(), new_key()
    psk = daemon.folder / "psk"
    psk.touch(mode=0o600)
    psk.write_text(new_psk() + "\n")
    daemon.cli("peers", "add", kept.public, "--name", "kept", "--allowed-ips", "10.9.0.7/32",
               "--endpoint", "192.0.2.2:7", "--persistent-keepalive", "25s", "--preshared-key-file", psk)
    daemon.cli("peers", "add", gone.public, "--name", "gone", "--allowed-ips", "10.9.0.8/32", "--volatile")
    assert row(daemon, kept)["origin"] == "state" and row(daemon, gone)["origin"] == "volatile"
    wanted = {"name": "kept", "allowed_ips": ["10.9.0.7/32"], "endpoint": "192.0.2.2:7",
              "persistent_keepalive": 25 * 10**9, "preshared_key": True, "origin": "state"}

    def is_kept():
        return {k: row(daemon, kept)[k] for k in wanted} == wanted

    assert is_kept()
    daemon.call("reload")
    assert is_kept() and row(daemon, gone) is None
    assert "10.9.0.8" not in pair.gw.run("ip", "route").stdout

    daemon.cli("peers", "set", "kept", "--name", "renamed", "--persistent-keepalive", "0s")
    wanted |= {"name": "renamed", "persistent_keepalive": 0}
    daemon.cli("peers", "add", gone.public, "--volatile")
    daemon.restart()
    assert is_kept() and row(daemon, gone) is None
    assert show(pair.gw, "wg0")[kept.public].preshared_key == psk.read_text().strip()

    state = daemon.state_dir / "tunnels" / "wg0.peers.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    daemon.cli("peers", "remove", "renamed")
    daemon.restart()
    assert row(daemon, kept) is None
    assert kept.public not in state.read_text(), "nothing is left to tell of a peer that no setting names"


def test_name_of_two_peers(net):
    """A name that several peers have says nothing: no command takes the first of them."""
    pair = make_pair(net)
    twins = [new_key(), new_key()]
    for twin in twins:
        pair.daemon.cli("peers", "add", twin.public, "--name", "twin")
    for words in (("remove", "twin"), ("set", "twin", "--persistent-keepalive", "9s")):
        said = refused(pair.daemon, *words)
        assert all(twin.public in said for twin in twins), said
    assert all(row(pair.daemon, twin)["persistent_keepalive"] == 0 for twin in twins)
    pair.daemon.cli("peers", "remove", twins[0].public)
    assert row(pair.daemon, twins[0]) is None
    said = pair.daemon.cli("peers", "set", "twin", "--persistent-keepalive", "25s").stdout
    assert re.search(r"PERSISTENT KEEPALIVE: +25(\.0)? s\n", said), said


def test_added_peer_works(net):
    """The client of the configuration is replaced by command, and comes in with its new settings."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.daemon.cli("peers", "remove", "client")
    assert not row(pair.daemon, pair.cl_key) and ping(pair.cl, "10.9.0.1").received == 0
    pair.daemon.call("reload")
    assert not row(pair.daemon, pair.cl_key)
    pair.daemon.restart()
    assert not row(pair.daemon, pair.cl_key), "the removal holds over a restart"
    pair.daemon.cli("peers", "add", pair.cl_key.public, "--allowed-ips", "10.9.0.2/32")
    wait_ping(pair.cl, "10.9.0.1")
    pair.daemon.restart()
    wait_ping(pair.cl, "10.9.0.1", timeout=20)


def test_config_peer_changed_by_command(net):
    """The state directory wins over the settings, key by key; a volatile change is until reload."""
    pair = make_pair(net)
    pair.daemon.cli("peers", "set", "client", "--allowed-ips", "10.9.0.2/32,10.7.0.0/16", "--volatile")
    assert "10.7.0.0/16" in row(pair.daemon, pair.cl_key)["allowed_ips"]
    pair.daemon.call("reload")
    assert sorted(row(pair.daemon, pair.cl_key)["allowed_ips"]) == ["10.9.0.2/32", "fd09::2/128"]
    pair.daemon.cli("peers", "set", "client", "--allowed-ips", "10.9.0.2/32,10.8.0.0/16")
    for again in (lambda: pair.daemon.call("reload"), pair.daemon.restart):
        again()
        assert sorted(row(pair.daemon, pair.cl_key)["allowed_ips"]) == ["10.8.0.0/16", "10.9.0.2/32"]
    assert "10.8.0.0/16 dev wg0" in pair.gw.run("ip", "route").stdout
    wait_ping(pair.cl, "10.9.0.1")


def test_taken_prefixes(net):
    """Last writer wins and is told from whom; also after a restart, whoever was added first."""
    pair = make_pair(net)
    a, b = new_key(), new_key()
    pair.daemon.cli("peers", "add", a.public, "--name", "a", "--allowed-ips", "10.20.0.0/16")
    took = added(pair.daemon, "add", b.public, "--name", "b", "--allowed-ips", "10.20.0.0/16,10.21.0.0/16")
    assert took["taken"] == ["10.20.0.0/16 was taken from peer a"]
    assert row(pair.daemon, a)["allowed_ips"] == []
    assert "taken" not in added(pair.daemon, "set", "b", "--allowed-ips", "10.20.0.0/16")
    took = added(pair.daemon, "set", "a", "--allowed-ips", "10.20.0.0/16")
    assert took["taken"] == ["10.20.0.0/16 was taken from peer b"]
    people = pair.daemon.cli("peers", "set", "b", "--allowed-ips", "10.20.0.0/16")
    assert "taken from peer a" in people.stdout + people.stderr
    pair.daemon.cli("peers", "set", "a", "--allowed-ips", "10.20.0.0/16")
    pair.daemon.restart()
    assert row(pair.daemon, a)["allowed_ips"] == ["10.20.0.0/16"] and not row(pair.daemon, b)["allowed_ips"]


def test_taken_prefix_comes_back(net):
    """What a volatile peer took belongs to its owner again when a reload removes the taker."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.daemon.cli("peers", "add", new_key().public, "--allowed-ips", "10.9.0.2/32", "--volatile")
    assert ping(pair.cl, "10.9.0.1", count=2).received == 0
    pair.daemon.call("reload")
    assert "10.9.0.2/32" in row(pair.daemon, pair.cl_key)["allowed_ips"]
    wait_ping(pair.cl, "10.9.0.1")


def test_clear_errors(net):
    pair = make_pair(net)
    daemon = pair.daemon
    before = daemon.peers()
    assert 'no peer "nobody"' in refused(daemon, "remove", "nobody")
    assert 'no peer "nobody"' in refused(daemon, "set", "nobody", "--name", "x")
    assert "public-key" in refused(daemon, "add", "short")
    assert "peers set" in refused(daemon, "add", pair.cl_key.public)
    key = new_key().public
    assert "allowed-ips" in refused(daemon, "add", key, "--allowed-ips", "10.0.0.0/33")
    assert "endpoint" in refused(daemon, "add", key, "--endpoint", "nohost")
    assert "persistent-keepalive" in refused(daemon, "add", key, "--persistent-keepalive", "soon")
    assert "persistent-keepalive" in refused(daemon, "add", key, "--persistent-keepalive", "70000s")
    assert "own key" in refused(daemon, "add", pair.gw_key.public)
    assert "too long" in refused(daemon, "add", key, "--name", "n" * 100)
    assert daemon.peers() == before


def test_state_file_that_cannot_be_read(net):
    """A broken or open state file is told; the settings' peers run."""
    pair = make_pair(net)
    pair.daemon.cli("peers", "add", new_key().public)
    state = pair.daemon.state_dir / "tunnels" / "wg0.peers.json"
    text = state.read_text()
    for damage in (lambda: state.chmod(0o644), lambda: state.write_text(text[:-20])):
        damage()
        pair.daemon.restart()
        assert list(pair.daemon.peers()) == [pair.cl_key.public]
        pair.daemon.program.wait_log("wg0.peers.json")
        done = pair.daemon.cli("peers", "remove", "client", check=False)
        assert done.returncode != 0 and "wg0.peers.json" in done.stderr
        state.chmod(0o600)
        assert len(state.read_text()) >= len(text) - 20, "what is not understood is not overwritten"


# ---- the `wg` tool


def wg(pair, *words, **kwargs):
    return pair.gw.run("wg", *words, **kwargs).stdout


def test_wg_show(net):
    pair = make_pair(net, psk=new_psk(), keepalive="25s")
    wait_ping(pair.cl, "10.9.0.1")
    sock = pair.gw.path("/run/wireguard/wg0.sock")
    assert stat.S_ISSOCK(sock.stat().st_mode) and stat.S_IMODE(sock.stat().st_mode) & 0o077 == 0
    told = wg(pair, "show")
    for words in ("interface: wg0", f"public key: {pair.gw_key.public}", f"listening port: {PORT}",
                  f"peer: {pair.cl_key.public}", "preshared key: (hidden)", "endpoint: 192.0.2.2:",
                  "allowed ips: ", "10.9.0.2/32", "fd09::2/128", "latest handshake:", "received,",
                  "persistent keepalive: every 25 seconds"):
        assert words in told, told
    assert wg(pair, "show", "interfaces").split() == ["wg0"]


def test_wg_set_peers(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    other, psk = new_key(), new_psk()
    with PingStream(pair.cl, "10.9.0.1"):
        wg(pair, "set", "wg0", "peer", other.public, "allowed-ips", "10.9.0.3/32,fd09::3/128", "endpoint",
           "192.0.2.99:1234", "persistent-keepalive", "9")
        seen = show(pair.gw, "wg0")[other.public]
        assert seen.allowed_ips == {"10.9.0.3/32", "fd09::3/128"} and seen.endpoint == "192.0.2.99:1234"
        assert row(pair.daemon, other)["origin"] == "volatile"
        wg(pair, "set", "wg0", "peer", other.public, "allowed-ips", "10.9.0.4/32")
        assert show(pair.gw, "wg0")[other.public].allowed_ips == {"10.9.0.4/32"}
        wg(pair, "set", "wg0", "peer", other.public, "remove")
        assert other.public not in show(pair.gw, "wg0")
    wg(pair, "set", "wg0", "peer", pair.cl_key.public, "preshared-key", "/dev/stdin", input=psk)
    pair.client.set("peer", pair.gw_key.public, "preshared-key", "/dev/stdin", input=psk)
    assert show(pair.gw, "wg0")[pair.cl_key.public].preshared_key == psk
    # with new sessions on both sides, so that the new key is used
    pair.client.set("peer", pair.gw_key.public, "remove")
    pair.client.peer(pair.gw_key.public, ["10.9.0.1/32"], f"{GATEWAY}:{PORT}", psk)
    wait_ping(pair.cl, "10.9.0.1")
    assert ping(pair.gw, "10.9.0.2").lost == 0


def test_wg_set_endpoint(net):
    """The gateway speaks to where `wg` says the client is."""
    pair = make_pair(net, initiator="gateway")
    pair.client.set("listen-port", "40000")
    wg(pair, "set", "wg0", "peer", pair.cl_key.public, "endpoint", "192.0.2.2:40000")
    wait_ping(pair.gw, "10.9.0.2")
    assert row(pair.daemon, pair.cl_key)["endpoint"] == "192.0.2.2:40000"


@pytest.mark.parametrize("change", [("listen-port", "40001"), ("fwmark", "0x55")], ids=["port", "mark"])
def test_wg_set_rebinds(net, change):
    """Other sockets, while the client's session lives on."""
    pair = make_pair(net, workers=2)
    wait_ping(pair.cl, "10.9.0.1")
    wg(pair, "set", "wg0", *change)
    port = wg(pair, "show", "wg0", "listen-port").strip()
    assert port == (change[1] if change[0] == "listen-port" else str(PORT))
    if change[0] == "fwmark":
        assert wg(pair, "show", "wg0", "fwmark").strip() == change[1]
    listening = pair.gw.run("ss", "-Hlun").stdout
    assert f":{port} " in listening and (port == str(PORT) or f":{PORT} " not in listening)
    assert ping(pair.gw, "10.9.0.2").lost == 0
    wait_until(lambda: pair.at_client().endpoint == f"{GATEWAY}:{port}", "the client follows")
    with PingStream(pair.cl, "10.9.0.1"):
        pass


def test_wg_set_port_in_use(net):
    """Told, and the old sockets go on."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    with pair.gw.udp("0.0.0.0", 40001):
        done = pair.gw.run("wg", "set", "wg0", "listen-port", "40001", check=False)
    assert done.returncode != 0 and "in use" in done.stderr
    pair.daemon.program.wait_log("40001")
    assert wg(pair, "show", "wg0", "listen-port").strip() == str(PORT)
    assert ping(pair.cl, "10.9.0.1").lost == 0


def test_wg_configurations(net):
    """showconf can be given back; syncconf changes what differs and nothing else."""
    pair = make_pair(net, psk=new_psk())
    wait_ping(pair.cl, "10.9.0.1")
    text = wg(pair, "showconf", "wg0")
    for words in ("[Interface]", f"ListenPort = {PORT}", f"PrivateKey = {pair.gw_key.private}",
                  f"PublicKey = {pair.cl_key.public}", "AllowedIPs = ", "10.9.0.2/32", "PresharedKey = "):
        assert words in text, text
    conf, other = pair.daemon.folder / "sync.conf", new_key()
    conf.write_text(f"{text}\n[Peer]\nPublicKey = {other.public}\nAllowedIPs = 10.9.0.3/32\n")
    with PingStream(pair.cl, "10.9.0.1"):
        wg(pair, "syncconf", "wg0", conf)
        assert show(pair.gw, "wg0")[other.public].allowed_ips == {"10.9.0.3/32"}
        conf.write_text(text)
        wg(pair, "syncconf", "wg0", conf)
        assert list(show(pair.gw, "wg0")) == [pair.cl_key.public]
    wg(pair, "setconf", "wg0", conf)
    again = wg(pair, "showconf", "wg0")
    assert sorted(again.replace(",", "").split()) == sorted(text.replace(",", "").split())
    wait_ping(pair.cl, "10.9.0.1", timeout=20)


def test_wg_bad_requests(net):
    """Errors come back as errors, and the tunnel lives."""
    pair = make_pair(net)
    done = pair.gw.run("wg", "set", "wg9", "listen-port", "1", check=False)
    assert done.returncode != 0
    for request in (b"set=1\npublic_key=zz\n\n", b"nonsense\n\n", b"set=1\nlisten_port=99999\n\n", b"get=2\n\n"):
        answer = pair.gw.run("python3", "-c", (
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect('/run/wireguard/wg0.sock'); "
            f"s.sendall({request!r}); print(s.recv(100).decode())")).stdout
        assert answer.startswith("errno=") and not answer.startswith("errno=0"), (request, answer)
    wait_ping(pair.cl, "10.9.0.1")


def test_watch_shows_rates(net):
    """Behind a counter stands how fast it grows, once there is a time before to compare with."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    watch = pair.gw.start(CLI, "-s", f"{RUNTIME_DIR}/ctl.sock", "ports", "--watch=0.3", name="watch")
    with PingStream(pair.cl, "10.9.0.1"):
        def rates():
            """Of the packets received on the TUN port, by their column."""
            lines = watch.log().splitlines()
            titles = next(line for line in lines if line.startswith("PORT"))
            end = titles.index("RX PACKETS/s") + len("RX PACKETS/s")
            cells = [line[:end].split("  ")[-1].strip() for line in lines if line.startswith("wg0 ")]
            return [float(cell) for cell in cells if cell != "-"]

        wait_until(lambda: any(20 < rate < 500 for rate in rates()), "about a hundred packets a second")
    watch.expected_exit = True
