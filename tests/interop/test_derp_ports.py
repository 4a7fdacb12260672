# SPDX-License-Identifier: BSD-3-Clause
"""STUN on Ethernet ports: workers answer in the place of the sockets behind the port's mirror. Asked by
Tailscale's own STUN client (cmd/stunc).

    client eth0 ------------------- port `wan`, mirror `wan`: gateway with the relay
    192.0.2.2, 2001:db8::2          192.0.2.1, 2001:db8::1
"""

import json
import re

import pytest

from daemon import BUILD, Tailplaned
from tailscale import Client, private_etc, program
from traffic import wait_ping
from wait import wait_until

GATEWAY, GATEWAY6, CLIENT, CLIENT6 = "192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"
TLS_PORT, HTTP_PORT = 8443, 8080
URL = f"http://{GATEWAY}:{HTTP_PORT}"


class World:
    def __init__(self, net, kind="af_packet", plugins=("dataplane", "derp")):
        if not (BUILD / "derp/derp-node.so").exists():
            pytest.skip("the relay's graph node is not built")
        self.gateway, self.client = net.machine("gateway"), net.machine("client")
        if kind != "tap":
            net.link(self.client, self.gateway, b_dev="wan0", offload=False)
        self.device = f"net_{kind}0,iface=wan0"
        self.daemon = Tailplaned(self.gateway, self.config(plugins=plugins))
        self.daemon.start()
        if kind == "tap":
            self.gateway.run("ip", "link", "set", "wan0", "netns", str(self.client.pid), "name", "eth0")
            self.client.run("ip", "link", "set", "eth0", "up")
        self.client.address("eth0", f"{CLIENT}/24", f"{CLIENT6}/64")
        for address in (GATEWAY, GATEWAY6):
            wait_ping(self.client, address)
        self.wait_works()

    def config(self, plugins=("dataplane", "derp"), mtu=1500, **derp):
        port = {"name": "wan", "device": self.device, "mirror": "wan", "mtu": mtu,
                "addresses": [f"{GATEWAY}/24", f"{GATEWAY6}/64"]}
        groups = {"dataplane": {"workers": 2, "hugepages": False, "ports": [port]},
                  "control": {"server_url": URL, "first_key": False, "dns": {"base_domain": "tail.test"}},
                  "derp": {"tls_listen_addr": [f":{TLS_PORT}"], **derp}}
        return {"plugins": list(plugins), "core": {"http": {"listen_addr": [f":{HTTP_PORT}"]}} if "control" in plugins else {},
                **{name: groups[name] for name in plugins}}

    def status(self):
        return self.daemon.call("derp status")

    def wait_works(self):
        if "derp" not in self.daemon.config["plugins"]:
            return
        wait_until(lambda: self.status()["works"] == "yes", "the relay works", 30)

    def ask(self, address, port=3478, timeout="10s"):
        """Who Tailscale's client is told that it is, and by whom; None: nobody answers."""
        try:
            done = self.client.run(program("stunc"), "-timeout", timeout, address, str(port))
        except AssertionError as e:
            assert "i/o timeout" in str(e) or "connection refused" in str(e), e
            return None
        # its socket is one for both families
        told = dict(re.findall(r"(from|stun) addr: \[?(?:::ffff:)?([0-9a-f:.]+?)\]?:\d+\n", done.stderr))
        return told["stun"], told["from"]

    def requests(self, disposition):
        """Of the relay's metrics."""
        found = re.search(r'tailplane_stun_requests_total\{disposition="%s"\} (\d+)' % disposition, self.daemon.call("metrics"))
        return int(found.group(1))

    def graph(self):
        return {row["node"]: row["packets"] for row in self.daemon.call("graph")}

    def reload(self, **settings):
        self.daemon.configure(self.config(**settings))
        self.daemon.call("reload")
        self.wait_works()


@pytest.mark.parametrize("kind", ["af_packet", "af_xdp", "tap"])
def test_workers_answer(net, kind):
    world = World(net, kind)
    assert world.ask(GATEWAY) == (CLIENT, GATEWAY)
    assert world.ask(GATEWAY6) == (CLIENT6, GATEWAY6)
    status = world.status()
    assert status["stun_answers"] == status["stun_port_answers"] == 2  # and none by a socket
    assert world.requests("success") == 2
    assert world.graph()["stun"] == 2 and world.graph()["local_udp"] == 0


@pytest.fixture
def world(net):
    return World(net)


def test_the_rest_is_the_kernels(world):
    """What is no request, and whatever else comes by UDP, takes the way that it took without the node."""
    assert world.ask(GATEWAY) == (CLIENT, GATEWAY)
    with world.gateway.udp(GATEWAY, 5353) as server, world.client.udp(CLIENT) as client:
        server.settimeout(10)
        for garbage in (b"", b"\x00\x01" + bytes(18), bytes.fromhex("000100002112a442") + bytes(12), bytes(1200)):
            client.sendto(garbage, (GATEWAY, 3478))
        client.sendto(b"for another", (GATEWAY, 5353))
        assert server.recv(100) == b"for another"
        server.sendto(b"answer", client.getsockname())
        client.settimeout(10)
        assert client.recv(100) == b"answer"  # and none to garbage
    wait_until(lambda: world.requests("not_stun") == 4, "the sockets count what is no request")
    assert world.requests("success") == 1


def test_silent_while_broken(world):
    world.gateway.run("nft", "add table inet wall; add chain inet wall in { type filter hook input priority 0; }; "
                      f"add rule inet wall in tcp dport {TLS_PORT} reject with tcp reset")
    wait_until(lambda: "silent" in world.status()["stun"], "the relay knows", 60)
    assert world.ask(GATEWAY, timeout="300ms") is None
    assert world.daemon.drops()["stun_silent"] == world.requests("silent") == 1
    world.gateway.run("nft", "delete", "table", "inet", "wall")
    world.wait_works()
    assert world.ask(GATEWAY) == (CLIENT, GATEWAY)
    assert world.ask(GATEWAY6) == (CLIENT6, GATEWAY6)
    assert world.status()["stun_port_answers"] == 2


def test_reloads(world):
    """The node follows the sockets: to another port, to one address, to nowhere."""
    world.reload(stun_listen_addr=":3479")
    assert world.ask(GATEWAY, 3479) == (CLIENT, GATEWAY)
    assert world.ask(GATEWAY6, 3479) == (CLIENT6, GATEWAY6)
    assert world.ask(GATEWAY, 3478, "300ms") is None
    world.reload(stun_listen_addr=f"[{GATEWAY6}]:3478")
    assert world.ask(GATEWAY6) == (CLIENT6, GATEWAY6)
    assert world.ask(GATEWAY, 3478, "300ms") is None
    assert world.status()["stun_port_answers"] == 3
    world.reload(stun_listen_addr="")
    assert world.ask(GATEWAY6, 3478, "300ms") is None


def test_the_plugin_comes_and_goes(net):
    """Added while the data plane runs, its sockets answer, and its node as soon as the data plane starts anew."""
    world = World(net, plugins=["dataplane"])
    assert "stun" not in world.graph()
    assert world.ask(GATEWAY, timeout="300ms") is None
    world.reload()
    assert world.ask(GATEWAY) == (CLIENT, GATEWAY)
    assert (world.status()["stun_answers"], world.status()["stun_port_answers"]) == (1, 0)
    world.reload(mtu=1400)
    wait_ping(world.client, GATEWAY)
    assert world.ask(GATEWAY) == (CLIENT, GATEWAY)
    assert (world.status()["stun_answers"], world.status()["stun_port_answers"]) == (2, 1)
    world.reload(plugins=["dataplane"], mtu=1400)
    assert world.ask(GATEWAY, timeout="300ms") is None
    assert world.graph()["local_udp"] >= 1
    wait_ping(world.client, GATEWAY)


def test_netcheck(net):
    """tailscaled itself, of a control server on the gateway: TLS through the mirror, STUN from the worker."""
    world = World(net, plugins=["dataplane", "control", "derp"])
    world.daemon.cli("users", "create", "alice")
    private_etc(world.client)
    client = Client(world.client)
    client.up(URL, world.daemon.cli("preauthkeys", "create", "-u", "alice").stdout.strip())
    report = json.loads(client.run("netcheck", "--format=json").stdout)
    assert report["UDP"] and report["PreferredDERP"] == 999 and report["RegionLatency"]["999"] > 0
    assert report["GlobalV4"].startswith(f"{CLIENT}:")
    status = world.status()
    assert status["stun_answers"] == status["stun_port_answers"] > 0
