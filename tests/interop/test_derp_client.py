# SPDX-License-Identifier: BSD-3-Clause
"""Our client of relays and Tailscale's derper."""

import secrets

import pytest

from certificates import Authority
from daemon import Tailplaned
from derp_client import Talker
from tailscale import Derper, Internet, program
from wait import wait_until

MESH_KEY = secrets.token_hex(32)


@pytest.fixture
def internet(net):
    return Internet(net)


@pytest.fixture
def authority(net):
    return Authority(net.dir)


@pytest.fixture
def relay(internet, authority):
    key = internet.net.dir / "mesh.key"
    key.write_text(MESH_KEY + "\n")
    return Derper(internet.machine("relay", 3), authority=authority, args=["-mesh-psk-file", key])


def exchange(a, b):
    """Both ways."""
    for one, other in ((a, b), (b, a)):
        text = secrets.token_hex(8)
        one.send(other.key, text)
        other.wait_packet(one.key, text)


def test_exchange(internet, authority, relay):
    """Two clients, packets up to the longest; pings; the news that the other is gone."""
    machine = internet.machine("client", 11)
    url = f"https://{relay.machine.outside}"
    with Talker(machine, url, env=authority.env) as a:
        with Talker(machine, url, env=authority.env) as b:
            server = a.wait("up")["server"]
            assert b.wait("up")["server"] == server
            assert a.facts()["fast"] and a.facts()["tls"] == "TLSv1.3", "the key came with the certificate"
            exchange(a, b)
            longest = secrets.token_hex(65536)
            a.tell("send", b.key, longest)
            b.wait("packet", bytes=longest, **{"from": a.key})
            a.tell("ping", "0123456789abcdef")
            a.wait("pong", data="0123456789abcdef")
            a.tell("flood", b.key, 2000, 1200)
            assert a.wait("flooded")["sent"] > 300
            exchange(a, b)
            assert b.facts()["flood_packets"] > 0
        a.wait("gone", key=b.key, reason=0)
        disco = b"TS\xf0\x9f\x92\xac".hex() + secrets.token_hex(90)
        a.tell("send", b.key, disco)
        a.wait("gone", key=b.key, reason=1)


def test_certificate(internet, authority, relay):
    """What does not prove itself is not spoken to; a pin stands for itself."""
    machine = internet.machine("client", 11)
    url = f"https://{relay.machine.outside}"
    with Talker(machine, "--once", url) as stranger:
        assert "TLS: " in stranger.wait("down")["why"]
    with Talker(machine, "--once", "--cert", "other.example", url, env=authority.env) as other:
        assert "mismatch" in other.wait("down")["why"]
    with Talker(machine, "--once", "--cert", f"sha256-raw:{relay.pin}", url) as pinned:
        pinned.wait("up")
    wrong = relay.pin[:-1] + ("0" if relay.pin[-1] != "0" else "1")
    with Talker(machine, "--once", "--cert", f"sha256-raw:{wrong}", url) as pinned:
        assert relay.pin in pinned.wait("down")["why"]


def test_mesh_frames(internet, authority, relay):
    """Watching, forwarding and closing with the mesh key; without it the relay hangs up."""
    machine = internet.machine("client", 11)
    url = f"https://{relay.machine.outside}"
    with Talker(machine, "--mesh-key", MESH_KEY, "--watch", url, env=authority.env) as peer:
        peer.wait("up")
        with Talker(machine, url, env=authority.env) as client:
            client.wait("up")
            peer.wait("present", key=client.key, flags=1)
            source = secrets.token_hex(32)
            peer.tell("forward", source, client.key, b"hello".hex())
            client.wait_packet(source, "hello")
            peer.tell("close", client.key)
            client.wait("down")
            peer.wait("gone", key=client.key)
            since = len(peer.events)
            peer.wait("present", since, key=client.key)
    with Talker(machine, "--mesh-key", secrets.token_hex(32), "--watch", "--once", url, env=authority.env) as wrong:
        wrong.wait("down")
        assert not wrong.seen("present")


def test_next_node(internet, authority, relay):
    """A region's nodes in order; back at the first when it is there again."""
    second = Derper(internet.machine("second", 4), authority=authority)
    machine = internet.machine("client", 11)
    urls = [f"https://{r.machine.outside}" for r in (relay, second)]
    with Talker(machine, *urls, env=authority.env) as client:
        client.wait("up")
        assert client.facts()["target"] == 0
        relay.program.kill()
        client.wait("down")
        since = len(client.events)
        client.wait("up", since, timeout=30)
        assert client.facts()["target"] == 1


def test_plain(internet, relay):
    """No TLS: the key is read from the relay's first frame."""
    machine = internet.machine("client", 11)
    plain = relay.machine.start(program("derper"), "-a", ":3340", "-c", machine.net.dir / "plain.key", "-stun=false",
                                name="derper-plain")
    plain.wait_log("serving on")
    url = f"http://{relay.machine.outside}:3340"
    with Talker(machine, url) as a, Talker(machine, url) as b:
        a.wait("up"), b.wait("up")
        assert not a.facts()["fast"]
        exchange(a, b)


def test_probe(internet, authority, relay):
    """What `derp probe` says of derper, and of what is none."""
    machine = internet.machine("ours", 11)
    daemon = Tailplaned(machine, {
        "plugins": ["derp", "control"], "core": {"http": {"listen_addr": [":80"]}},
        "control": {"server_url": f"http://{machine.outside}", "first_key": False,
                    "derp": {"paths": [str(relay.map_file())], "server": {"enabled": False}}},
    }, environment=authority.env)
    daemon.start()
    with Talker(machine, f"https://{relay.machine.outside}", env=authority.env) as client:
        key = client.wait("up")["server"]
    found = daemon.call("derp probe", relay=f"https://{relay.machine.outside}")
    assert "problem" not in found and found["key"] == key and found["pin"] == f"sha256-raw:{relay.pin}"
    assert found["fast_start"] and found["tls"] == "TLSv1.3" and "Test authority" in found["issuer"]
    assert 0 < found["tcp"] < found["handshake"] < found["up"] and 0 < found["ping"] < 1e9
    assert 0 < found["rtt_min"] <= found["rtt_median"] <= found["rtt_max"] < 1e9
    assert found["stun"][0]["seen_as"].startswith(f"{machine.outside}:") and 0 < found["stun"][0]["rtt"] < 1e9
    for name in ("900", "test", "900a", relay.machine.outside):
        of_map = daemon.call("derp probe", relay=name)
        assert "problem" not in of_map and of_map["key"] == key and "rtt" in of_map["stun"][0]
    assert "problem" in daemon.call("derp probe", relay=f"https://{relay.machine.outside}:444")
    relay.program.kill()
    assert "refused" in daemon.call("derp probe", relay=f"https://{relay.machine.outside}")["problem"]
    stranger = internet.machine("stranger", 12)
    stranger.start("python3", "-m", "http.server", "80", name="web")
    wait_until(lambda: ":80" in stranger.run("ss", "-Hltn").stdout, "a web server listens")
    found = daemon.call("derp probe", relay=f"http://{stranger.outside}")
    assert "404" in found["problem"] and found["stun"][0]["problem"] == "no answer"
