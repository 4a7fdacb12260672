# SPDX-License-Identifier: BSD-3-Clause
"""A UDP relay between two WireGuard ends that may drop, copy, hold back or change what passes."""

import select
import threading

from wait import wait_until

TO_SERVER, TO_CLIENT = "to server", "to client"


class Middlebox:
    """Clients send to `listen`; the server sees the relay's own socket as the client's endpoint.

    `policy(direction, datagram)` runs on the relay's thread and returns the datagrams to pass on.
    """

    def __init__(self, machine, listen, server, policy=None):
        self.machine, self.server = machine, server
        self.policy = policy or (lambda direction, datagram: [datagram])
        self.inner = machine.udp(*listen)
        self.outer = machine.udp("::" if ":" in server[0] else "0.0.0.0")
        self.client = None
        self.seen = {TO_SERVER: [], TO_CLIENT: []}
        self.keep = False  # record what passes in `seen`
        self.stopping = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def rebind(self):
        """The server now sees datagrams from another port: what a NAT does after a reboot."""
        fresh = self.machine.udp("::" if ":" in self.server[0] else "0.0.0.0")
        with self.lock:
            self.outer, old = fresh, self.outer
        old.close()
        return fresh.getsockname()[1]

    def send(self, direction, datagram):
        with self.lock:
            if direction == TO_SERVER:
                self.outer.sendto(datagram, self.server)
            elif self.client:
                self.inner.sendto(datagram, self.client)

    def _pass(self, direction, datagram):
        if self.keep:
            self.seen[direction].append(datagram)
        for out in self.policy(direction, datagram):
            self.send(direction, out)

    def _run(self):
        while not self.stopping:
            with self.lock:
                outer = self.outer
            try:
                ready, _, _ = select.select([self.inner, outer], [], [], 0.1)
                if self.inner in ready:
                    datagram, self.client = self.inner.recvfrom(65536)
                    self._pass(TO_SERVER, datagram)
                if outer in ready:
                    self._pass(TO_CLIENT, outer.recv(65536))
            except (OSError, ValueError):
                continue  # a socket was replaced under us, or an ICMP error came back

    def wait_seen(self, direction, kind, timeout=10):
        """The first recorded message of that WireGuard type."""
        wait_until(lambda: any(d[:1] == bytes([kind]) for d in list(self.seen[direction])),
                   f"a message of type {kind} {direction}", timeout)
        return next(d for d in self.seen[direction] if d[:1] == bytes([kind]))

    def close(self):
        self.stopping = True
        self.thread.join()
        self.inner.close()
        self.outer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
