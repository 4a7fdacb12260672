# SPDX-License-Identifier: BSD-3-Clause
"""The relay beside the control server, as the quickstart has it: plain HTTP for control, TLS of its own for
the relay, nothing from outside. See tailscale.py for the drawing."""

import json
import socket

import pytest

from machine import Background
from relays import ADDRESS, REGION, URL, Embedded, relayed, wall
from traffic import transfer
from wait import wait_until


@pytest.fixture
def embedded(net):
    return Embedded(net)


def test_nothing_from_outside(embedded):
    """Two clients without UDP: ping, 100 MB, checksummed. They find the relay by its pin alone, the same after a
    restart; and when the daemon is killed in the midst of a file, the file arrives all the same."""
    a, b = embedded.joined("a", wall), embedded.joined("b", wall)
    a.wait_peer("b", Online=True)
    relayed(a, b)
    transfer(a.machine, b.machine, b.ip4, megabytes=100)
    assert embedded.connected() >= {embedded.key_of("a"), embedded.key_of("b")}
    pin = embedded.ask("derp", "map")["Regions"][str(REGION)]["Nodes"][0]["CertName"]
    embedded.daemon.restart()
    relayed(a, b)
    flow = Background(transfer, a.machine, b.machine, b.ip4, megabytes=100)
    wait_until(lambda: sum(row["bytes_in"] for row in embedded.ask("derp", "clients")) > 4 << 20, "it flows", 30)
    embedded.daemon.program.kill()
    assert flow.is_alive()
    embedded.daemon.start()
    flow.result(120)  # what was on its way is sent again
    relayed(a, b)
    assert embedded.ask("derp", "map")["Regions"][str(REGION)]["Nodes"][0]["CertName"] == pin


def test_what_clients_say(embedded):
    """netcheck measures it, by STUN and, without UDP, by HTTPS; `debug derp` finds no fault but that one region is
    few."""
    a = embedded.joined("a")
    report = json.loads(a.run("netcheck", "--format=json").stdout)
    assert report["UDP"] and report["RegionLatency"][str(REGION)] > 0 and report["PreferredDERP"] == REGION
    told = json.loads(a.run("debug", "derp", str(REGION)).stdout)
    info = "\n".join(told["Info"])
    assert "Successfully established a DERP connection" in info and "returned IPv4 STUN response" in info
    assert not [e for e in told["Errors"] or [] if "IPv6" not in e]
    wall(a.machine)
    report = json.loads(a.run("netcheck", "--format=json").stdout)
    assert not report["UDP"] and report["RegionLatency"][str(REGION)] > 0


def test_who_is_let_in(embedded):
    """Nodes are; who was deleted or has expired is disconnected at once, and not let in again, but with the key
    that it gets when it is registered anew."""
    a, b = embedded.joined("a"), embedded.joined("b")
    a.wait_peer("b", Online=True)
    keys = embedded.key_of("a"), embedded.key_of("b")
    wait_until(lambda: embedded.connected() >= set(keys), "both are connected", 30)
    a.machine.run("ip", "link", "set", "eth0", "down")  # so that it does not go by itself
    embedded.daemon.cli("nodes", "delete", "-i", "a")
    wait_until(lambda: keys[0] not in embedded.connected(), "the deleted one is disconnected")
    embedded.daemon.cli("nodes", "expire", "-i", "b")
    wait_until(lambda: keys[1] not in embedded.connected(), "the expired one is disconnected")
    denied = embedded.ask("derp", "status")["denied"]
    a.machine.run("ip", "link", "set", "eth0", "up")
    wait_until(lambda: embedded.ask("derp", "status")["denied"] > denied, "it is refused", 60)
    assert keys[0] not in embedded.connected()
    b.up(URL, embedded.key(), "--force-reauth")
    assert embedded.key_of("b") != keys[1]
    wait_until(lambda: embedded.key_of("b") in embedded.connected(), "it is connected with its new key", 30)
    assert keys[1] not in embedded.connected()


# What package net/stun of Tailscale 1.102.4 sends.
STUN_REQUEST = bytes.fromhex("000100142112a4420102030405060708090a0b0c802200087461696c6e6f646580280004b32c370f")


def stun_answers(machine):
    with machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(STUN_REQUEST, (ADDRESS, 3478))
        try:
            return sock.recv(512)[:2] == b"\x01\x01"
        except TimeoutError:
            return False


def test_silent_while_broken(embedded):
    """STUN answers only while the relay can be used: clients would choose it, and not leave. Those who are connected
    are told, and those who come, and show it."""
    a = embedded.joined("a")
    wait_until(lambda: embedded.key_of("a") in embedded.connected(), "it is connected", 30)
    assert stun_answers(a.machine)
    embedded.server.run("nft", "add table inet wall; add chain inet wall in { type filter hook input priority 0; }; "
                        "add rule inet wall in iif lo tcp dport 8443 tcp flags syn reject with tcp reset")
    wait_until(lambda: not stun_answers(a.machine), "STUN is silent", 60)
    assert "silent" in embedded.ask("derp", "status")["stun"]

    def complaints(client):
        said = client.status()["Health"] or []
        return [text for text in said if f"relay server #{REGION} is reporting an issue" in text]

    late = embedded.joined("late")
    for client in (a, late):
        wait_until(lambda: complaints(client), "its client says what is wrong with the relay", 30)
        assert "refused" in complaints(client)[0]
    embedded.server.run("nft", "delete", "table", "inet", "wall")
    embedded.wait_works()
    assert stun_answers(a.machine)
    for client in (a, late):
        wait_until(lambda: not complaints(client), "it is well again", 30)
