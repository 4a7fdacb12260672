# SPDX-License-Identifier: BSD-3-Clause
"""The nodes of a region: ours and Tailscale's derper pass on what is for each other's clients.

    internet -+- ours1 .3   tailplaned, plugin derp
              +- ours2 .4   the same
              +- derper .5  Tailscale's
              +- client .11
"""

import hashlib
import json
import re
import secrets
import signal
import ssl
import time

import pytest

from certificates import Authority
from daemon import Tailplaned
from derp_client import Talker
from machine import Network, need_namespaces
from tailnet import URL, Tailnet
from tailscale import Derper, Internet
from traffic import transfer, wait_ping
from wait import wait_until

MESH_KEY = secrets.token_hex(32)


class Ours:
    """Our relay with TLS; `others`: addresses of the other nodes."""

    def __init__(self, machine, authority, others=(), mesh_key=MESH_KEY, peers=(), names=(), env="authority",
                 tls=True):
        self.machine, self.url = machine, f"{'https' if tls else 'http'}://{machine.outside}"
        folder = machine.net.dir
        cert, key = folder / f"{machine.name}.crt", folder / f"{machine.name}.key"
        authority.issue(cert, key, *(names or [machine.outside]))
        self.pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()
        mesh = {"psk_file": "mesh.key", **({"with": list(others)} if others else {}),
                **({"peers": list(peers)} if peers else {})}
        http = {"listen_addr": [":443"], "tls_cert_path": cert, "tls_key_path": key} if tls else {"listen_addr": [":80"]}
        self.config = {"plugins": ["derp"], "core": {"http": http}, "derp": {"mesh": mesh} if mesh_key else {}}
        self.daemon = Tailplaned(machine, self.config, environment=authority.env if env == "authority" else env)
        if mesh_key:
            path = self.daemon.state_dir / "mesh.key"
            path.touch(mode=0o600)
            path.write_text(mesh_key + "\n")
        self.start()

    def start(self):
        self.daemon.start()
        self.program = self.daemon.program

    def mesh(self):
        """By address of the other node."""
        return {row["node"]: row for row in self.daemon.call("status")["derp"]["mesh"]}

    def wait_up(self, *nodes, timeout=20):
        wait_until(lambda: all(self.mesh()[n]["state"] == "up" for n in nodes), f"{self.machine.name}: mesh with {nodes}",
                   timeout)


class Theirs(Derper):
    def __init__(self, machine, authority, others=(), mesh_key=MESH_KEY):
        key = machine.net.dir / f"{machine.name}.mesh.key"
        key.write_text(mesh_key + "\n")
        mesh_with = ["-mesh-with", ",".join(others)] if others else []
        super().__init__(machine, authority=authority, args=["-mesh-psk-file", key, *mesh_with], env=authority.env)
        self.url = f"https://{machine.outside}"


class Pings:
    """Pings that flow while the block does something; `gap` is the longest time without an answer."""

    def __init__(self, machine, to):
        self.program = machine.start("ping", "-n", "-D", "-i", "0.1", to, name="ping")

    def __enter__(self):
        self.wait_more(5)
        return self

    def answers(self):
        return [float(t) for t in re.findall(r"^\[([\d.]+)\].* bytes from ", self.program.log(), re.M)]

    def wait_more(self, count, since=0.0, timeout=30):
        """So many answers later than that moment, and the longest gap until the last of them."""
        since = since or time.time()
        wait_until(lambda: sum(t > since for t in self.answers()) >= count, f"{count} more pings are answered", timeout)
        times = [t for t in self.answers() if t > since - 1]
        return max(b - a for a, b in zip(times, times[1:]))

    def __exit__(self, *_):
        self.program.signal(signal.SIGINT)
        self.program.wait(10)


class World:
    def __init__(self, net):
        self.net = net
        self.internet = Internet(net)
        self.authority = Authority(net.dir)
        self.clients = self.internet.machine("clients", 11)

    def talker(self, *relays, args=(), env=None):
        return Talker(self.clients, *args, *(r.url for r in relays), env=env or self.authority.env)


@pytest.fixture
def world(net):
    return World(net)


ADDRESSES = ["10.55.0.3", "10.55.0.4", "10.55.0.5"]


class Region(World):
    """Two of ours and a derper; each has the list of all, itself included."""

    def __init__(self, net):
        super().__init__(net)
        machines = [self.internet.machine(name, n) for name, n in (("ours1", 3), ("ours2", 4), ("derper", 5))]
        self.nodes = [*(Ours(m, self.authority, ADDRESSES) for m in machines[:2]),
                      Theirs(machines[2], self.authority, ADDRESSES)]
        self.wait_up()

    def wait_up(self):
        for i in (0, 1):
            self.nodes[i].wait_up(*(a for n, a in enumerate(ADDRESSES) if n != i))


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    need_namespaces()
    network = Network(tmp_path_factory.mktemp("region"))
    try:
        yield Region(network)
    finally:
        network.close()


def reached(a, b, timeout=20):
    """A packet of a arrives at b; others may be lost on the way to that."""
    text = secrets.token_hex(8)
    deadline = time.monotonic() + timeout

    def arrived():
        a.send(b.key, text)
        return b.seen("packet", bytes=text.encode().hex(), **{"from": a.key})

    wait_until(arrived, "a packet arrives", timeout, every=0.1)
    return timeout - (deadline - time.monotonic())


def exchange(*talkers):
    for a in talkers:
        for b in talkers:
            if a is not b:
                reached(a, b)


def test_three(region):
    """A client at each node: all pairs, both ways; packets up to the longest."""
    with region.talker(region.nodes[0]) as a, region.talker(region.nodes[1]) as b, region.talker(region.nodes[2]) as c:
        for talker in (a, b, c):
            talker.wait("up")
        exchange(a, b, c)
        longest = secrets.token_hex(65536)
        for one, other in ((a, c), (c, b), (b, a)):
            since = len(other.events)
            one.tell("send", other.key, longest)
            other.wait("packet", since, bytes=longest, **{"from": one.key})
        assert region.nodes[0].mesh()[ADDRESSES[0]]["state"] == "self"
        assert region.nodes[0].mesh()[ADDRESSES[1]]["clients"] >= 1
        a.tell("send", secrets.token_hex(32), b"TS\xf0\x9f\x92\xac".hex() + secrets.token_hex(90))
        a.wait("gone", reason=1)


def test_killed(region):
    """Whichever node dies: its clients are at the next one, and traffic goes on within 5 s."""
    order = {0: (0, 1, 2), 1: (1, 2, 0), 2: (2, 0, 1)}
    for dying in (0, 1, 2):
        nodes = [region.nodes[i] for i in order[dying]]
        with region.talker(*nodes) as moving, region.talker(nodes[1]) as here, region.talker(nodes[2]) as there:
            for talker in (moving, here, there):
                talker.wait("up")
            exchange(moving, here, there)
            nodes[0].program.kill()
            began = time.monotonic()
            for other in (here, there):
                reached(other, moving)
                reached(moving, other)
            took = time.monotonic() - began
            assert took < 5, f"{took:.1f} s"
            print(f"after node {dying} died: {took:.2f} s")
        region.nodes[dying].start()
        region.wait_up()


def test_peers(world):
    """Nodes that `with` cannot describe: a certificate that is pinned, one for another name, a name that leads
    elsewhere, no TLS."""
    one, two, three = (world.internet.machine(f"ours{n}", 2 + n) for n in (1, 2, 3))
    for machine in (one, two, three):
        with open(machine.path("/etc/hosts"), "a") as file:
            file.write("10.55.0.3 one.test\n10.55.0.4 two.test\n10.55.0.5 three.test\n")
    stranger = Authority(world.net.dir / "stranger")
    pinned = Ours(one, stranger, names=["one.test"], env=None, peers=[{"url": "http://three.test"}])
    named = Ours(two, world.authority, names=["two.test"], peers=[
        {"url": "https://one.test", "cert_name": f"sha256-raw:{pinned.pin}"},
        {"url": "http://unknown.test", "address": "three.test"}])
    plain = Ours(three, world.authority, tls=False, peers=[
        {"url": "https://10.55.0.4", "cert_name": "two.test"},
        {"url": "https://two.test"},
        {"url": "https://one.test"}])
    pinned.wait_up("http://three.test")
    named.wait_up("one.test", "http://unknown.test")
    plain.wait_up("10.55.0.4", "two.test")
    wait_until(lambda: "TLS: " in plain.mesh()["one.test"]["problem"], "its authority is not trusted")
    with world.talker(plain) as a, world.talker(named, args=["--cert", "two.test"]) as b:
        a.wait("up"), b.wait("up")
        exchange(a, b)


def test_wrong_key(world):
    """A node with another mesh key is no node: nothing passes, and both say why."""
    machines = [world.internet.machine(name, n) for name, n in (("ours1", 3), ("derper", 5))]
    ours = Ours(machines[0], world.authority, [ADDRESSES[2]])
    theirs = Theirs(machines[1], world.authority, [ADDRESSES[0]], mesh_key=secrets.token_hex(32))
    wait_until(lambda: "problem" in ours.mesh()[ADDRESSES[2]], "the mesh is refused")
    assert ours.mesh()[ADDRESSES[2]]["state"] != "up"
    with world.talker(ours) as a, world.talker(theirs) as b:
        a.wait("up"), b.wait("up")
        a.tell("send", b.key, b"TS\xf0\x9f\x92\xac".hex() + secrets.token_hex(90))
        a.wait("gone", key=b.key, reason=1)
    with world.talker(ours, args=["--mesh-key", secrets.token_hex(32), "--watch", "--once"]) as spy:
        spy.wait("down")
        assert not spy.seen("present")


def test_reload(world):
    """Other nodes while clients stay; another key, and nobody does; a key that is none is refused."""
    machines = [world.internet.machine(name, n) for name, n in (("ours1", 3), ("ours2", 4))]
    one, two = (Ours(m, world.authority) for m in machines)
    with world.talker(one) as a, world.talker(two) as b:
        a.wait("up"), b.wait("up")
        for ours, other in ((one, ADDRESSES[1]), (two, ADDRESSES[0])):
            ours.config["derp"]["mesh"]["with"] = [other]
            ours.daemon.configure(ours.config)
            ours.daemon.cli("reload")
            ours.wait_up(other)
        exchange(a, b)
        del one.config["derp"]["mesh"]["with"]
        one.daemon.configure(one.config)
        one.daemon.cli("reload")
        assert not one.mesh()
        a.tell("send", b.key, b"TS\xf0\x9f\x92\xac".hex() + secrets.token_hex(90))
        a.wait("gone", key=b.key, reason=1)
        assert not a.seen("down") and not b.seen("down")
        key = one.daemon.state_dir / "mesh.key"
        key.write_text("none")
        assert "mesh key" in one.daemon.cli("reload", check=False).stderr
        assert not a.seen("down")
        key.write_text(secrets.token_hex(32))
        one.daemon.cli("reload")
        a.wait("down")
        wait_until(lambda: "problem" in two.mesh()[ADDRESSES[0]], "the old key is none any more")


def test_no_key(world):
    """Without a mesh key nobody may watch, forward or close: not with any key."""
    ours = Ours(world.internet.machine("ours1", 3), world.authority, mesh_key=None)
    with world.talker(ours) as client:
        client.wait("up")
        for command in (["forward", secrets.token_hex(32), client.key, "00"], ["close", client.key]):
            with world.talker(ours, args=["--mesh-key", MESH_KEY, "--once"]) as spy:
                spy.wait("up")
                spy.tell(*command)
                spy.wait("down")
        with world.talker(ours, args=["--mesh-key", MESH_KEY, "--watch", "--once"]) as spy:
            spy.wait("down")
            assert not spy.seen("present")
        assert not client.seen("down") and not client.seen("packet")


def test_two_homes(region):
    """A client with one key on two nodes, and one that flaps: who is left is reached."""
    key = region.net.dir / "client.key"
    key.write_text(secrets.token_hex(32))
    with region.talker(region.nodes[0]) as sender, region.talker(region.nodes[1], args=["--key", key]) as one:
        sender.wait("up"), one.wait("up")
        reached(sender, one)
        with region.talker(region.nodes[2], args=["--key", key]) as two:
            two.wait("up")
            assert two.key == one.key
            reached(sender, one)
            reached(two, sender)
        reached(sender, one)
        for _ in range(20):
            with region.talker(region.nodes[2], args=["--key", key]) as two:
                two.wait("up")
        reached(sender, one)
    with region.talker(region.nodes[2], args=["--key", key]) as two, region.talker(region.nodes[0]) as sender:
        two.wait("up"), sender.wait("up")
        reached(sender, two)


WALL = ("add table inet wall; add chain inet wall out { type filter hook output priority 0; }; "
        "add rule inet wall out oifname eth0 meta l4proto udp drop")


def region_map(folder, addresses):
    """The nodes in that order; their certificates are the authority's."""
    nodes = [{"Name": f"900{n}", "RegionID": 900, "HostName": a, "IPv4": a, "IPv6": "none"}
             for n, a in enumerate(addresses)]
    path = folder / "region.json"
    path.write_text(json.dumps({"Regions": {"900": {
        "RegionID": 900, "RegionCode": "mesh", "RegionName": "Mesh", "Nodes": nodes}}}))
    return str(path)


def test_tailscale(net):
    """Real clients without UDP, one at derper and one at ours, while one node of the region after the other dies:
    pings go on within 5 s, and files arrive as they were."""
    addresses = ["10.55.0.5", "10.55.0.6", "10.55.0.7"]
    authority = Authority(net.dir)
    tailnet = Tailnet(net, derp={"paths": [region_map(net.dir, addresses)]}, environment=authority.env)
    machines = [tailnet.machine(name, n) for name, n in (("ours1", 5), ("ours2", 6), ("derper", 7))]
    first, second = (Ours(m, authority, addresses) for m in machines[:2])
    theirs = Theirs(machines[2], authority, addresses)
    a, b = tailnet.client("a"), tailnet.client("b")
    for client in (a, b):
        client.machine.run("nft", WALL)
    for address in addresses[:2]:
        a.machine.run("ip", "route", "add", "unreachable", address)
    for client in (a, b):
        client.up(URL, tailnet.key())
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4, timeout=40)
    assert not a.peers()["b"]["CurAddr"]
    assert first.mesh()[addresses[2]]["clients"] >= 1, "a is at derper"
    transfer(a.machine, b.machine, b.ip4, megabytes=4)
    transfer(b.machine, a.machine, a.ip4, megabytes=4)
    with Pings(a.machine, b.ip4) as pings:
        at = time.time()
        first.program.kill()
        gap = pings.wait_more(20, since=at + 0.2)
        print(f"b is at ours2 after {gap:.2f} s")
        assert gap < 5
        for address in addresses[:2]:
            a.machine.run("ip", "route", "del", "unreachable", address)
        transfer(a.machine, b.machine, b.ip4, megabytes=4)
        at = time.time()
        theirs.program.kill()
        gap = pings.wait_more(20, since=at + 0.2)
        print(f"a is at ours2 after {gap:.2f} s")
        assert gap < 5
        transfer(b.machine, a.machine, a.ip4, megabytes=4)
        assert second.mesh()[addresses[0]]["state"] == "waiting"
