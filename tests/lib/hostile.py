# SPDX-License-Identifier: BSD-3-Clause
"""What a stranger can send to a WireGuard port."""

import hashlib
import os
import random
import select
import struct
import threading
import time

INITIATION, RESPONSE, COOKIE_REPLY, TRANSPORT = 1, 2, 3, 4
SIZES = {INITIATION: 148, RESPONSE: 92, COOKIE_REPLY: 64, TRANSPORT: 32}


def mac1(message, public_key):
    """WireGuard paper, 5.4.4."""
    key = hashlib.blake2s(b"mac1----" + public_key).digest()
    return hashlib.blake2s(message, key=key, digest_size=16).digest()


def initiation(public_key):
    """Random where only the key's owner could be right, with a valid mac1: the dearest to refuse."""
    head = struct.pack("<II", INITIATION, random.getrandbits(32)) + os.urandom(108)
    return head + mac1(head, public_key) + bytes(16)


def garbage(rng):
    """A random datagram, often with the type and length of a real message."""
    kind = rng.choice((0, 1, 2, 3, 4, 5, 255, rng.randrange(1 << 32)))
    size = rng.choice((SIZES.get(kind, 40), rng.randrange(0, 200), rng.randrange(0, 1500), 0, 1, 3, 4, 65000))
    return (struct.pack("<I", kind) + rng.randbytes(size))[:size]


def mutated(rng, message):
    """A real message with some bytes changed, or cut, or longer."""
    data = bytearray(message)
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    cut = rng.randrange(4)
    if cut == 0:
        del data[rng.randrange(len(data)):]
    elif cut == 1:
        data += rng.randbytes(rng.randrange(1, 64))
    return bytes(data)


class Flood:
    """Sends `make()` to `to` at a steady rate from many ports and counts what comes back by type."""

    def __init__(self, machine, source, to, make, per_second, ports=16):
        self.socks = [machine.udp(source) for _ in range(ports)]
        for sock in self.socks:
            sock.setblocking(False)
        self.to, self.make, self.per_second = to, make, per_second
        self.sent, self.answers = 0, {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        self._collect()
        for sock in self.socks:
            sock.close()

    def _collect(self):
        for sock in select.select(self.socks, [], [], 0)[0]:
            try:
                while True:
                    kind = sock.recv(2048)[0]
                    self.answers[kind] = self.answers.get(kind, 0) + 1
            except OSError:
                pass

    def _run(self):
        start = time.monotonic()
        while not self.stopping.wait(0.005):
            due = int((time.monotonic() - start) * self.per_second) - self.sent
            for _ in range(due):
                try:
                    self.socks[self.sent % len(self.socks)].sendto(self.make(), self.to)
                except OSError:
                    pass
                self.sent += 1
            self._collect()
