# SPDX-License-Identifier: BSD-3-Clause
"""The harness proves itself: two wireguard-go of either version, traffic between them.

    left 192.0.2.1 ---- eth0 ---- 192.0.2.2 right
    wg0 10.9.0.1                  wg0 10.9.0.2
"""

import pytest

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
