# SPDX-License-Identifier: BSD-3-Clause
"""Machines of a test: network, mount, UTS and IPC namespaces of their own, joined by veth pairs.

The namespaces have no names: each is held by one process and ends with it, so a crashed test run
leaves nothing behind. Each machine has an empty /run (user-space WireGuard sockets of equal
name do not meet) and its own /sys. `./dev test` also puts the whole run into a PID namespace:
what a test forgot ends with the run.
"""

import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from wait import wait_until

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

HOLD = """
set -e
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
hostname "$1"
ip link set lo up
cd /proc/sys/net
echo 0 >ipv6/conf/all/accept_dad
echo 0 >ipv6/conf/default/accept_dad
echo ready
exec sleep infinity
"""


def need_namespaces():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun is missing on this machine")


def _copy_terminal(master, path):
    """Until the last holder of the terminal is gone, which Linux tells as EIO."""
    with open(path, "ab", buffering=0) as log, contextlib.suppress(OSError):
        while said := os.read(master, 4096):
            log.write(said)
    os.close(master)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def network_of(pid):
    """Sockets that this thread makes in the block belong to that process's network for their life."""
    with open("/proc/thread-self/ns/net") as home, open(f"/proc/{pid}/ns/net") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


class Program:
    """A program that runs in the background; its output goes to a file."""

    def __init__(self, name, popen, log_path):
        self.name, self.popen, self.log_path = name, popen, Path(log_path)
        self.expected_exit = False

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """As a crash would: no chance to clean up."""
        self.expected_exit = True
        self.popen.kill()
        self.popen.wait(10)

    def wait(self, timeout=10):
        self.expected_exit = True
        return self.popen.wait(timeout)

    def stop(self, timeout=10):
        """SIGTERM, and the exit status (negative: the signal that ended it)."""
        self.expected_exit = True
        if self.alive():
            self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
            raise AssertionError(f"{self.name} did not stop within {timeout} s of SIGTERM:\n{self.log()}")

    def wait_log(self, text, timeout=10):
        wait_until(lambda: text in self.log(), f"{self.name} logs {text!r}", timeout)

    def check(self):
        """What must hold of every program of ours when a test ends."""
        log = self.log()
        assert "ERROR: AddressSanitizer" not in log and "runtime error:" not in log, log
        if not self.expected_exit:
            assert self.alive(), f"{self.name} died with {self.popen.returncode}:\n{log[-4000:]}"


class Machine:
    def __init__(self, net, name):
        self.net, self.name = net, name
        self.links = {}
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--ipc", "--propagation", "private",
             "sh", "-c", HOLD, "hold", name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        if self.holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot make the namespaces of machine {name}")

    @property
    def pid(self):
        return self.holder.pid

    def enter(self, cmd):
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--ipc", "--",
                *map(str, cmd)]

    def run(self, *cmd, check=True, timeout=60, **kwargs):
        """Runs to the end; returns the completed process (text). A failure shows what was said."""
        done = subprocess.run(
            self.enter(cmd), capture_output=True, text=True, timeout=timeout, **kwargs
        )
        if check and done.returncode:
            raise AssertionError(
                f"{self.name}: {' '.join(map(str, cmd))} -> {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def start(self, *cmd, name=None, env=None, terminal=False):
        """Starts in the background; the network's end stops it. `terminal`: its standard output is one."""
        name = name or Path(str(cmd[0])).name
        log_path = self.net.dir / f"{self.name}.{name}.{next(self.net.counter)}.log"
        with open(log_path, "wb") as log:
            master, out = os.openpty() if terminal else (None, log)
            popen = subprocess.Popen(
                self.enter(cmd), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
        if terminal:
            os.close(out)
            Background(_copy_terminal, master, log_path)
        program = Program(f"{name} on {self.name}", popen, log_path)
        self.net.programs.append(program)
        return program

    def inside(self):
        return network_of(self.pid)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, proto=0):
        with self.inside():
            return socket.socket(family, kind, proto)

    def udp(self, address, port=0):
        """A bound UDP socket; `address` chooses the family."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.bind((address, port))
        return sock

    def path(self, path):
        """A file of this machine as seen from the test."""
        return Path(f"/proc/{self.pid}/root{path}")

    def address(self, dev, *addresses):
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.run("ip", "addr", "add", address, "dev", dev, *nodad)

    def interfaces(self):
        out = self.run("ip", "-o", "link").stdout
        return {line.split(": ")[1].split("@")[0] for line in out.splitlines()}

    def sysctl(self, key, value):
        self.run("sh", "-c", f"echo {value} >/proc/sys/{key.replace('.', '/')}")


class Network:
    """All machines, links and background programs of one test."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.machines, self.programs = [], []
        self.counter = itertools.count(1)

    def machine(self, name):
        machine = Machine(self, name)
        self.machines.append(machine)
        return machine

    def link(self, a, b, a_addresses=(), b_addresses=(), a_dev="eth0", b_dev="eth0", mtu=1500, offload=True):
        """A cable. Without `offload`, what is on it are frames as on a real one."""
        subprocess.run(
            ["ip", "link", "add", a_dev, "netns", str(a.pid), "mtu", str(mtu), "type", "veth",
             "peer", "name", b_dev, "netns", str(b.pid), "mtu", str(mtu)],
            check=True,
        )
        for machine, dev, addresses in ((a, a_dev, a_addresses), (b, b_dev, b_addresses)):
            if not offload:
                machine.run("ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            machine.run("ip", "link", "set", dev, "up")
            machine.address(dev, *addresses)

    def close(self):
        """Stops what runs, last started first, and says what had died before."""
        complaints = []
        for program in reversed(self.programs):
            try:
                program.check()
                program.stop()
            except AssertionError as e:
                complaints.append(str(e))
        for machine in self.machines:
            machine.holder.kill()
            machine.holder.wait()
            machine.holder.stdout.close()
        if complaints:
            raise AssertionError("\n".join(complaints))


class Background(threading.Thread):
    """A function on a thread; `result()` waits and hands on its value or exception."""

    def __init__(self, function, *args, **kwargs):
        super().__init__(daemon=True)
        self._call = lambda: function(*args, **kwargs)
        self._value = self._error = None
        self.start()

    def run(self):
        try:
            self._value = self._call()
        except BaseException as e:
            self._error = e

    def result(self, timeout=60):
        self.join(timeout)
        if self.is_alive():
            raise AssertionError(f"still running after {timeout} s")
        if self._error:
            raise self._error
        return self._value
