# SPDX-License-Identifier: BSD-3-Clause
"""The relay alone, with real clients: how they begin, behind a proxy too; a certificate that changes."""

import json
import socket
import ssl
import time
from pathlib import Path

from gobuild import go_source
from relays import REGION, Alone, relayed, wall
from tailscale import CURRENT, NEEDS_GO, OLDEST
from traffic import PingStream, transfer
from wait import wait_until

LIBRARY = Path(__file__).parent / "derp_go"
CONNECTIONS = 5


def by_library(world, machine):
    """Tailscale's client library sets up connections; how many began fast, and how many did not. The relay's own
    look at itself may be among the fast ones."""
    def counters():
        return world.counter("accepts"), world.counter("accepts_fast")

    before = counters()
    machine.run(go_source(LIBRARY, NEEDS_GO[CURRENT], "ts_debug_websockets"), "-pin", world.pin(), "-set-up",
                CONNECTIONS, f"{world.machine.outside}:443")
    accepts, fast = (after - b for after, b in zip(counters(), before))
    return fast, accepts - fast


def joined(world, version=CURRENT):
    """Two without UDP, and the relay's rows of them."""
    a, b = world.joined("a", wall), world.joined("b", wall, version)
    relayed(a, b)
    keys = [world.key_of(name) for name in "ab"]
    wait_until(lambda: world.connected() >= set(keys), "both are connected", 30)
    return a, b, [world.rows()[key] for key in keys]


def node_of(world):
    return world.ask("derp", "map")["Regions"][str(REGION)]["Nodes"][0]


def behind_no_portal(machine, node):
    """As clients ask: at the node's address, port 80, with a challenge that only it can answer."""
    with machine.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(10)
        s.connect((node["IPv4"], 80))
        s.sendall(f"GET /generate_204 HTTP/1.1\r\nHost: {node['IPv4']}\r\nX-Tailscale-Challenge: ts_{node['HostName']}\r\n"
                  "\r\n".encode())
        answer = s.recv(4096).decode()
    return answer.startswith("HTTP/1.1 204 ") and f"\r\nX-Tailscale-Response: response ts_{node['HostName']}\r\n" in answer


def test_fast_start(net):
    """Who finds the relay's key behind its certificate spares a round trip; who asks for a captive portal is told
    that there is none."""
    world = Alone(net)
    a, _, rows = joined(world)
    assert node_of(world)["CanPort80"] and behind_no_portal(a.machine, node_of(world))
    assert [row["via"] for row in rows] == ["fast", "fast"]
    fast, upgraded = by_library(world, a.machine)
    assert fast >= CONNECTIONS and upgraded == 0


def test_the_oldest_client(net):
    """The relay is as good for it as for one of today."""
    a, b, rows = joined(Alone(net), OLDEST)
    assert [row["via"] for row in rows] == ["fast", "fast"]
    transfer(a.machine, b.machine, b.ip4, megabytes=4)
    transfer(b.machine, a.machine, a.ip4, megabytes=4)
    report = json.loads(b.run("netcheck", "--format=json").stdout)
    assert not report["UDP"] and report["RegionLatency"][str(REGION)] > 0


def test_behind_a_proxy(net):
    """A proxy that speaks TLS has no such certificate: HTTP upgrade; and clients have their own addresses."""
    world = Alone(net, behind_proxy=True)
    a, _, rows = joined(world)
    assert [row["via"] for row in rows] == ["upgrade", "upgrade"] and "CanPort80" not in node_of(world)
    assert {row["address"].rsplit(":", 1)[0] for row in rows} == {"10.55.0.11", "10.55.0.12"}
    fast, upgraded = by_library(world, a.machine)
    assert fast == 0 and upgraded >= CONNECTIONS


def served(world, machine):
    """The certificate that who connects now is shown."""
    context = ssl.create_default_context(cafile=world.authority.certificate)
    with machine.socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
        plain.settimeout(10)
        plain.connect((world.machine.outside, 443))
        with context.wrap_socket(plain, server_hostname=world.machine.outside) as tls:
            return tls.getpeercert(binary_form=True)


def on_disk(world):
    return ssl.PEM_cert_to_DER_cert(world.certificate.read_text())


def test_certificate(net):
    """A new one is for those who come from then on, and no connection ends; files that are none, or no pair, change
    nothing and are told."""
    world = Alone(net)
    a, b = world.joined("a", wall), world.joined("b", wall)
    relayed(a, b)
    first = on_disk(world)
    assert served(world, a.machine) == first
    began = time.monotonic()
    with PingStream(a.machine, b.ip4, interval=0.1):
        world.issue()
        second = on_disk(world)
        assert second != first
        wait_until(lambda: served(world, a.machine) == second, "the new certificate is shown", 30)
        world.certificate.write_text("none\n")
        world.relay.program.wait_log(f"are not taken: {world.certificate}: no certificate", 30)
        assert world.relay.cli("reload", check=False).returncode != 0
        certificate, key = world.issue_beside()
        certificate.rename(world.certificate)
        world.relay.program.wait_log(f"are not taken: {world.private_key} is not the key", 30)
        assert served(world, a.machine) == second and world.ask("derp", "status")["works"] == "yes"
        key.rename(world.private_key)
        wait_until(lambda: served(world, a.machine) == on_disk(world), "the third certificate is shown", 30)
    since = time.monotonic() - began
    rows = [world.rows()[world.key_of(name)] for name in "ab"]
    assert min(row["connected"] for row in rows) > since * 1e9
