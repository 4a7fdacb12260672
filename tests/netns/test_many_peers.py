# SPDX-License-Identifier: BSD-3-Clause
"""Ten thousand peers, one of them real, whose pings go on while others come and go."""

import base64
import os
import time

from daemon import gateway, peer, tunnel
from pair import PORT, make_pair
from traffic import PingStream, wait_ping

PEERS = 10000


def key():
    return base64.b64encode(os.urandom(32)).decode()


def test_many_peers(net):
    pair = make_pair(net)
    many = [peer(f"p{n}", key(), [f"10.{100 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}/32"]) for n in range(PEERS - 1)]
    pair.daemon.configure(gateway(tunnel("wg0", pair.gw_key, ["10.9.0.1/24"], [
        peer("client", pair.cl_key, ["10.9.0.2/32"]), *many], PORT), workers=1))
    pair.daemon.stop()
    began = time.monotonic()
    pair.daemon.start(wait=False)
    pair.daemon.wait_up(20)
    assert time.monotonic() - began < 20
    assert len(pair.daemon.peers()) == PEERS
    wait_ping(pair.cl, "10.9.0.1", timeout=20)
    with PingStream(pair.cl, "10.9.0.1", interval=0.005), pair.daemon.control() as control:
        for n in range(30):
            added = key()
            control.call("peers add", **{"public-key": added, "allowed-ips": [f"10.200.0.{n + 1}/32"]})
            control.call("peers remove", peer=added)
            control.call("peers remove", peer=many[n]["public_key"])
        assert len(control.call("peers")) == PEERS - 30
