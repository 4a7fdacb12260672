# SPDX-License-Identifier: BSD-3-Clause
"""configs/hub.conf with three spokes of configs/spoke.conf:

    spoke1 .11   spoke2 .12   spoke3 .13      each on a cable of its own to the hub, 10.50.0.1
"""

import pytest

from test_sites import FromExample
from traffic import ping, transfer, wait_ping
from wg import new_key


@pytest.fixture
def star(net):
    hub = net.machine("hub")
    hub_key = new_key()
    spokes, keys = [], {}
    for i in (1, 2, 3):
        spoke = net.machine(f"spoke{i}")
        net.link(spoke, hub, [f"192.0.{i}.2/24"], [f"192.0.{i}.1/24"], b_dev=f"eth{i}")
        keys[i] = new_key()
        daemon = FromExample(spoke, "spoke.conf", keys[i], {"hub": hub_key.public},
                             **{"10.50.0.11": f"10.50.0.1{i}", "fd50::11": f"fd50::1{i}",
                                "hub.example.net": f"192.0.{i}.1"})
        spokes.append((spoke, daemon))
    hub_daemon = FromExample(hub, "hub.conf", hub_key, {f"spoke{i}": keys[i].public for i in keys}).start()
    for _, daemon in spokes:
        daemon.start()
    return hub_daemon, spokes


def test_spokes_reach_each_other(star):
    hub, spokes = star
    machines = [machine for machine, _ in spokes]
    for machine in machines:
        wait_ping(machine, "10.50.0.1", timeout=20)
    # inside the data plane: the hub's kernel forwards nothing
    assert hub.machine.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"
    for machine in machines:
        for i in (1, 2, 3):
            wait_ping(machine, f"10.50.0.1{i}", timeout=20)
            wait_ping(machine, f"fd50::1{i}", timeout=20)
    transfer(machines[0], machines[2], "10.50.0.13", megabytes=8)
    # a hop of its own
    out = machines[0].run("ping", "-n", "-c", "1", "-t", "1", "-W", "2", "10.50.0.12", check=False).stdout
    assert "Time to live exceeded" in out
    assert ping(machines[1], "10.50.0.11", count=10).lost == 0
