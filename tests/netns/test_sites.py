# SPDX-License-Identifier: BSD-3-Clause
"""The pair of configs/site-a.conf and site-b.conf, over AF_PACKET ports, routing whole subnets:

    host a ---------- lan0 [gateway a] wan0 ---------- wan0 [gateway b] lan0 ---------- host b
    10.1.0.10                10.1.0.1  198.51.100.1    198.51.100.2  10.2.0.1           10.2.0.10
    fd01::10                 fd01::1                                 fd02::1            fd02::10
"""

import re

import pytest

from daemon import ROOT, Tailplaned
from traffic import iperf3, ping, transfer, wait_ping
from wait import wait_until
from wg import new_key


def example(name, keys, publics):
    """An example configuration with the test's keys in it."""
    text = (ROOT / "configs" / name).read_text()
    for peer, public in publics.items():
        text, n = re.subn(rf'(name = "{peer}"; public_key = ")[^"]*', rf"\g<1>{public}", text)
        assert n == 1, peer
    return text, keys


class FromExample(Tailplaned):
    """A daemon that runs an example file as it is, but for keys and folders."""

    def __init__(self, machine, name, key, publics, **replace):
        super().__init__(machine, {})
        text, _ = example(name, key, publics)
        for old, new in replace.items():
            text = text.replace(old, new)
        key_file = re.search(r'private_key_file = "([^"]+)"', text).group(1)
        path = self.state_dir / key_file
        path.touch(mode=0o600)
        path.write_text(key.private + "\n")
        core = (f'core = {{ state_dir = "{self.state_dir}"; runtime_dir = "/run/tailplane"; user = "root"; '
                'metrics = { listen = ""; }; };\n')
        self.config_file.write_text(core + text)


@pytest.fixture
def sites(net):
    a, b = net.machine("gateway-a"), net.machine("gateway-b")
    host_a, host_b = net.machine("host-a"), net.machine("host-b")
    # frames as on a wire: what a veth pair leaves to offloads is done
    net.link(a, b, a_dev="wan0", b_dev="wan0", offload=False)
    net.link(host_a, a, ["10.1.0.10/24", "fd01::10/64"], b_dev="lan0", offload=False)
    net.link(host_b, b, ["10.2.0.10/24", "fd02::10/64"], b_dev="lan0", offload=False)
    for host, gw in ((host_a, "1"), (host_b, "2")):
        host.run("ip", "route", "add", "default", "via", f"10.{gw}.0.1")
        host.run("ip", "-6", "route", "add", "default", "via", f"fd0{gw}::1")
    keys = {"a": new_key(), "b": new_key()}
    daemons = [FromExample(a, "site-a.conf", keys["a"], {"site-b": keys["b"].public}).start(),
               FromExample(b, "site-b.conf", keys["b"], {"site-a": keys["a"].public}).start()]
    return host_a, host_b, daemons


def test_subnets_reach_each_other(sites):
    host_a, host_b, daemons = sites
    wait_ping(host_a, "10.2.0.10", timeout=30)
    wait_ping(host_a, "fd02::10", timeout=30)
    assert ping(host_b, "10.1.0.10", count=10).lost == 0
    transfer(host_a, host_b, "10.2.0.10", megabytes=16)
    transfer(host_b, host_a, "fd01::10", megabytes=16)
    assert {p["state"] for d in daemons for p in d.call("ports") if p["type"] == "ethernet"} == {"up"}
    assert daemons[0].call("neighbours")


def test_icmp_errors_and_path_mtu(sites):
    host_a, host_b, _ = sites
    wait_ping(host_a, "10.2.0.10", timeout=30)
    # a packet of 1500 with Don't Fragment does not fit into the tunnel, and the sender is told
    out = host_a.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1472", "10.2.0.10", check=False)
    assert "mtu = 1420" in out.stdout + out.stderr or "Frag needed" in out.stdout
    wait_until(lambda: "mtu 1420" in host_a.run("ip", "route", "get", "10.2.0.10").stdout, "the path's MTU")
    # without it, the gateway cuts it and fragments arrive (the answer's path is found out first)
    wait_until(lambda: host_a.run("ping", "-n", "-c", "1", "-W", "1", "-M", "dont", "-s", "1472",
                                  "10.2.0.10", check=False).returncode == 0, "fragments arrive")
    # a hop's end
    hop = host_a.run("ping", "-n", "-c", "1", "-W", "2", "-t", "1", "10.2.0.10", check=False).stdout
    assert "Time to live exceeded" in hop and "10.1.0.1" in hop
    # nobody there
    out = host_a.run("ping", "-n", "-c", "1", "-W", "3", "10.99.0.1", check=False).stdout
    assert "Unreachable" in out


def test_kernel_on_the_mirror(sites):
    """The gateway itself is reached through its mirror, as if the port were the kernel's."""
    host_a, _, daemons = sites
    wait_ping(host_a, "10.1.0.1", timeout=30)
    wait_ping(host_a, "fd01::1", timeout=30)
    gateway = daemons[0].machine
    assert "lan" in gateway.interfaces()
    transfer(host_a, gateway, "10.1.0.1", megabytes=2)


def test_tcp_segments_fit(sites):
    """Hosts with an MTU of 1500 on both sides agree on segments that fit into the tunnel."""
    host_a, host_b, _ = sites
    wait_ping(host_a, "10.2.0.10", timeout=30)
    assert iperf3(host_a, host_b, "10.2.0.10", megabytes=30).bytes >= 25 << 20
    # by the SYN's segment size, not by an error on the way: no path MTU had to be found out
    assert "mtu" not in host_a.run("ip", "route", "get", "10.2.0.10").stdout
