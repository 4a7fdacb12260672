# SPDX-License-Identifier: BSD-3-Clause
"""The harness proves itself on WireGuard that we did not write: no tailplaned here.

    left 192.0.2.1 ---- eth0 ---- 192.0.2.2 right
    wg0 10.9.0.1                  wg0 10.9.0.2
"""

import pytest

import hostile
from middlebox import TO_SERVER, Middlebox
from traffic import iperf3, ping, transfer, wait_ping
from wg import WireguardGo, new_key, new_psk, wireguard_go


@pytest.mark.parametrize("versions", [("debian", "current"), ("current", "debian")], ids="-".join)
def test_pair(net, versions):
    left, right = net.machine("left"), net.machine("right")
    net.link(left, right, ["192.0.2.1/24"], ["192.0.2.2/24"])
    keys, psk = (new_key(), new_key()), new_psk()
    ends = [
        WireguardGo(machine, wireguard_go(version), key, [f"10.9.0.{n}/24", f"fd09::{n}/64"], port=51820)
        for n, (machine, version, key) in enumerate(zip((left, right), versions, keys), 1)
    ]
    ends[0].peer(keys[1].public, ["10.9.0.2/32", "fd09::2/128"], "192.0.2.2:51820", psk)
    ends[1].peer(keys[0].public, ["10.9.0.1/32", "fd09::1/128"], psk=psk)

    wait_ping(left, "10.9.0.2")
    assert ends[0].wait_handshake(keys[1].public)
    assert ping(right, "fd09::1").lost == 0
    assert iperf3(left, right, "10.9.0.2", seconds=1).bytes > 10 << 20
    assert iperf3(left, right, "10.9.0.2", seconds=1, reverse=True).bytes > 10 << 20
    transfer(left, right, "10.9.0.2")
    transfer(right, left, "fd09::1")
    assert ends[1].show(keys[0].public).rx_bytes > 10 << 20


def test_middlebox_and_flood(net):
    """The tools of the other tests do what they say: replays are refused, a flood draws cookies."""
    left, right = net.machine("left"), net.machine("right")
    net.link(left, right, ["192.0.2.1/24"], ["192.0.2.2/24"])
    client_key, server_key = new_key(), new_key()
    server = WireguardGo(right, wireguard_go("debian"), server_key, ["10.9.0.2/24"], port=51820)
    server.peer(client_key.public, ["10.9.0.1/32"])
    client = WireguardGo(left, wireguard_go("debian"), client_key, ["10.9.0.1/24"])

    def twice(direction, datagram):
        return [datagram, datagram]

    with Middlebox(left, ("127.0.0.1", 5000), ("192.0.2.2", 51820), twice) as box:
        box.keep = True
        client.peer(server_key.public, ["10.9.0.2/32"], "127.0.0.1:5000")
        wait_ping(left, "10.9.0.2")
        assert ping(left, "10.9.0.2").received == 3
        assert len(box.wait_seen(TO_SERVER, hostile.TRANSPORT)) >= 32
        port = box.rebind()
        assert ping(left, "10.9.0.2").received == 3
        assert server.show(client_key.public).endpoint == f"192.0.2.1:{port}"

        def make():
            return hostile.initiation(server_key.public_bytes)

        with hostile.Flood(left, "192.0.2.1", ("192.0.2.2", 51820), make, per_second=20000) as flood:
            wait_ping(left, "10.9.0.2")
            iperf3(left, right, "10.9.0.2", seconds=1)
    assert flood.sent > 5000 and flood.answers.get(hostile.COOKIE_REPLY, 0) > 100
