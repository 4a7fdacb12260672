# SPDX-License-Identifier: BSD-3-Clause
"""A relay is restarted under traffic: the new process serves while the old one sends its clients away bit by
bit; nobody is refused, and clients at the one reach those at the other."""

import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from adopted import Adopted, become_reaper
from gobuild import go_source
from machine import Background
from relays import Alone, relayed, wall
from tailscale import CURRENT, NEEDS_GO
from test_derp import STUN_REQUEST
from traffic import ping, transfer
from wait import wait_until

CONNECTIONS = 200
OVER = 10  # seconds

become_reaper()


class Library:
    """Connections of Tailscale's client library that come back when they end."""

    def __init__(self, world, machine):
        program = go_source(Path(__file__).parent / "derp_go", NEEDS_GO[CURRENT], "ts_debug_websockets")
        self.popen = subprocess.Popen(
            machine.enter([program, "-pin", world.pin(), "-stay", CONNECTIONS, f"{world.machine.outside}:443"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout.readline() == "ready\n"

    def end(self):
        told, _ = self.popen.communicate(timeout=20)
        return json.loads(told)


class Visitors(threading.Thread):
    """One after the other asks by HTTPS, and by STUN, and each is answered."""

    def __init__(self, world, machine):
        super().__init__(daemon=True)
        self.world, self.machine = world, machine
        self.context = ssl.create_default_context(cafile=world.authority.certificate)
        self.answered, self.refused, self.done = 0, [], threading.Event()

    def visit(self):
        address = self.world.machine.outside
        with self.machine.socket(socket.AF_INET, socket.SOCK_STREAM) as plain:
            plain.settimeout(10)
            plain.connect((address, 443))
            with self.context.wrap_socket(plain, server_hostname=address) as tls:
                tls.sendall(f"GET /derp/probe HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                assert tls.recv(64).startswith(b"HTTP/1.1 200")
        with self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(STUN_REQUEST, (address, 3478))
            assert sock.recv(512)[:2] == b"\x01\x01"

    def run(self):
        while not self.done.is_set():
            try:
                self.visit()
                self.answered += 1
            except (OSError, AssertionError) as why:
                self.refused.append(repr(why))

    def __enter__(self):
        self.start()
        wait_until(lambda: self.answered > 3, "visitors are answered")
        return self

    def __exit__(self, *_):
        seen = self.answered
        wait_until(lambda: self.answered > seen + 3, "visitors are still answered")
        self.done.set()
        self.join(20)


def test_restart(net):
    world = Alone(net, drain=f"{OVER}s")
    a = world.joined("a", wall)
    library = Library(world, world.server)
    b = world.joined("b", wall)  # the first is sent away first, the last last
    relayed(a, b)
    with Visitors(world, world.server) as visitors:
        flow = Background(transfer, a.machine, b.machine, b.ip4, megabytes=30)
        old = world.relay.program.popen
        pid = world.relay.call("restart")["pid"]
        world.relay.program.popen = Adopted(pid)
        keys = {world.key_of(name) for name in "ab"}
        wait_until(lambda: world.key_of("a") in world.connected(), "the first is at the new process", every=0.1)
        for one, other in ((a, b), (b, a)):  # beside the flow, which fills queues
            assert ping(one.machine, other.ip4, count=5, interval=0.1, timeout=2).received > 2
        assert world.key_of("b") not in world.connected() and old.poll() is None
        assert world.rows()[world.key_of("b")]["via"] == "old process"
        wait_until(lambda: len(world.connected()) >= CONNECTIONS + 2, "all are at the new process", 30)
        assert world.connected() >= keys
        assert old.wait(20) == 0
        flow.result(60)
    relayed(a, b)
    told = library.end()
    assert not visitors.refused and not told["Failures"], (visitors.refused, told["Failures"])
    assert told["Up"] == CONNECTIONS == len(told["Closed"])
    begin = min(told["Closed"])
    slices = [sum(begin + t <= closed < begin + t + 1 for closed in told["Closed"]) for t in range(OVER)]
    assert max(slices) < CONNECTIONS * 3 // 4, slices  # a busy machine is late
