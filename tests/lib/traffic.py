# SPDX-License-Identifier: BSD-3-Clause
"""Real traffic between machines: ping, iperf3, a file whose checksum tells whether it arrived."""

import hashlib
import json
import random
import re
import signal
import socket
from dataclasses import dataclass

from machine import Background
from wait import wait_until


@dataclass
class Pings:
    sent: int
    received: int
    rtt_ms: list

    @property
    def lost(self):
        return self.sent - self.received


def ping(machine, to, count=3, interval=0.2, size=56, whole=False, timeout=1, source=None):
    """`whole`: with Don't Fragment. Never fails by itself: look at what was received."""
    args = ["ping", "-n", "-c", count, "-i", interval, "-s", size, "-W", timeout]
    args += ["-M", "do"] if whole else []
    args += ["-I", source] if source else []
    out = machine.run(*args, to, check=False, timeout=count * (interval + timeout) + 10).stdout
    found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    sent, received = map(int, found.groups()) if found else (count, 0)
    return Pings(sent, received, [float(t) for t in re.findall(r"time=([\d.]+) ms", out)])


def wait_ping(machine, to, timeout=40, **kwargs):
    """The first answer may take a handshake, or some on a machine that is busy itself."""
    wait_until(lambda: ping(machine, to, count=1, **kwargs).received, f"{to} answers {machine.name}", timeout)


class PingStream:
    """Pings that flow while the block does something; none of them may be lost."""

    def __init__(self, machine, to, interval=0.01):
        self.program = machine.start("ping", "-n", "-i", interval, to, name="ping")

    def answered(self):
        return self.program.log().count(" bytes from ")

    def __enter__(self):
        self.wait_more(3)
        return self

    def wait_more(self, count):
        """Until so many more are answered: what was done before them has had its effect."""
        have = self.answered()
        wait_until(lambda: self.answered() >= have + count, f"{count} more pings are answered")

    def __exit__(self, kind, *_):
        if kind is None:
            self.wait_more(20)
        self.program.signal(signal.SIGINT)
        self.program.wait(10)
        if kind is not None:
            return
        log = self.program.log()
        got = [int(n) for n in re.findall(r"icmp_seq=(\d+) ttl", log)]
        sent = int(re.search(r"(\d+) packets transmitted", log).group(1))
        # the one under way when it was stopped has no answer yet
        lost = sorted(set(range(1, sent)) - set(got))
        assert not lost, f"lost {len(lost)} of {sent}: {lost[:20]}"


@dataclass
class Flow:
    bits_per_second: float
    bytes: int
    retransmits: int
    raw: dict


def iperf3(client, server, to, seconds=3, megabytes=None, reverse=False, streams=1, port=5201,
           timeout=300):
    """One TCP run. What counts is what the receiver got."""
    daemon = server.start("iperf3", "-s", "-1", "-p", port, name="iperf3")
    daemon.expected_exit = True
    wait_until(lambda: f":{port} " in server.run("ss", "-Hltn").stdout, "iperf3 listens")
    args = ["iperf3", "-c", to, "-p", port, "-J", "-P", streams, "-C", "cubic"]
    args += ["-n", f"{megabytes}M"] if megabytes else ["-t", seconds]
    args += ["-R"] if reverse else []
    done = client.run(*args, check=False, timeout=timeout)
    report = json.loads(done.stdout or "{}")
    assert done.returncode == 0 and "error" not in report, report.get("error", done.stderr)
    daemon.wait(10)
    got, sent = report["end"]["sum_received"], report["end"]["sum_sent"]
    return Flow(got["bits_per_second"], got["bytes"], sent.get("retransmits", 0), report)


def _send_file(sock, size, seed):
    digest = hashlib.sha256()
    rng = random.Random(seed)
    left = size
    while left:
        chunk = rng.randbytes(min(left, 1 << 18))
        digest.update(chunk)
        sock.sendall(chunk)
        left -= len(chunk)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def _receive_file(listener):
    sock, _ = listener.accept()
    digest, size = hashlib.sha256(), 0
    with sock:
        sock.settimeout(20)
        while chunk := sock.recv(1 << 18):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def transfer(sender, receiver, to, megabytes=32, seed=1):
    """Sends pseudo-random bytes over TCP; fails unless each one arrived as it was."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    size = megabytes << 20
    with receiver.socket(family, socket.SOCK_STREAM) as listener, \
            sender.socket(family, socket.SOCK_STREAM) as sock:
        listener.bind((to, 0))
        listener.listen(1)
        listener.settimeout(20)
        receiving = Background(_receive_file, listener)
        sock.settimeout(20)
        sock.connect((to, listener.getsockname()[1]))
        sent = _send_file(sock, size, seed)
        assert receiving.result(60) == (sent, size), "the file arrived changed"
