#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our DERP relay beside Tailscale's derper in the same run, each on one core, its clients on the other.

    derp_load (core 1) ==== many connections ==== relay (core 0): tailplane or derper, in turns

Clients of perf/derp_load.c: one thread, batches of frames in each write and read. Each pair has 24
packets under way. Figures are for each second of CPU time that the relay's process takes, so that a
machine with other work spoils little; beside them stands what went through in the time.

What a second loop is worth is a rate: where each loop has a quota of CPU time (perf/quota.py), the
clients have the rest of both cores, so that they never keep it waiting.
"""

import argparse
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "perf"), str(ROOT / "tests/lib")]
sys.dont_write_bytecode = True

from daemon import Control, libconfig  # noqa: E402
from gobuild import go_program, go_source  # noqa: E402
from machine import Network  # noqa: E402
from quota import Quota  # noqa: E402
from report import host, writer  # noqa: E402
from report.derp import targets, text  # noqa: E402
from report.host import Absent  # noqa: E402
from wait import wait_until  # noqa: E402

LOAD = ROOT / "build/perf/derp_load"
DERPER_VERSION = "1.102.5"
RELAY_CORE, LOAD_CORE = 0, 1
ADDRESS = "127.0.0.1"
NEAR_TIMES = 5  # a cell that is near, in each round
SETTLE = 3  # seconds, until a crowd's garbage is collected


def derper_program():
    stamps = "".join(f" -X tailscale.com/version.{name}Stamp={DERPER_VERSION}" for name in ("long", "short"))
    return go_program("tailscale.com/cmd/derper", f"v{DERPER_VERSION}", (1, 26, 0), f"tailscale-{DERPER_VERSION}",
                      ldflags="-s -w" + stamps)


def free_port():
    with socket.socket() as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]


def certificate(folder):
    key, cert = folder / f"{ADDRESS}.key", folder / f"{ADDRESS}.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", f"/CN={ADDRESS}", "-addext", f"subjectAltName=IP:{ADDRESS}", "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    return key, cert


# What package net/stun of Tailscale 1.102 sends.
STUN_REQUEST = bytes.fromhex("000100142112a4420102030405060708090a0b0c802200087461696c6e6f646580280004b32c370f")


def internet_sum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def stun_request(mac, source, to):
    """The frame of a request."""
    source, to, length = source.packed, ipaddress.ip_address(to).packed, 8 + len(STUN_REQUEST)
    udp = struct.pack("!HHHH", 41641, 3478, length, 0)
    total = internet_sum(source + to + struct.pack("!HH", socket.IPPROTO_UDP, length) + udp + STUN_REQUEST)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0, source, to)
    ip = ip[:10] + struct.pack("!H", internet_sum(ip)) + ip[12:]
    return bytes.fromhex(mac.replace(":", "") + "020000000909" + "0800") + ip + udp[:6] + struct.pack("!H", total) + STUN_REQUEST


def stun_requests(clients, mac, to):
    """A pcap file with one of each client."""
    frames = [stun_request(mac, ipaddress.ip_address("198.18.0.0") + i, to) for i in range(1, clients + 1)]
    return struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1) + b"".join(
        struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x1, 0x1000


class Link:
    """The relay and its STUN clients on machines of their own. Requests come over a cable, on the clients' core; answers
    leave by another interface, which counts them and throws them away: what becomes of one is not the relay's CPU time."""

    CLIENT, COUNTER = "198.18.0.1", "/sys/class/net/out/statistics/tx_dropped"

    def __init__(self, net):
        self.relay, self.client = net.machine("relay"), net.machine("client")
        self.relay.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # or the first to leave is no answer
        with self.relay.inside():
            self.out = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.out, TUNSETIFF, struct.pack("16sH22x", b"out", IFF_TUN | IFF_NO_PI))
        net.link(self.relay, self.client, [f"{OnLink.address}/24"])
        for key in ("all", "eth0"):
            self.relay.sysctl(f"net.ipv4.conf.{key}.rp_filter", 0)
        self.relay.run("ip", "link", "set", "out", "up", "txqueuelen", 1)  # one is kept
        self.relay.run("ip", "route", "add", self.CLIENT, "dev", "out")
        self.client.address("lo", f"{self.CLIENT}/32")
        self.client.run("ip", "route", "add", OnLink.address, "dev", "eth0", "src", self.CLIENT)

    def kept(self):
        """The first datagram that left."""
        return os.read(self.out, 2000)[28:]

    def close(self):
        os.close(self.out)


@contextlib.contextmanager
def open_link():
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        raise Absent("two machines need root and /dev/net/tun")
    with (tempfile.TemporaryDirectory() as folder, contextlib.closing(Network(folder)) as net,
          contextlib.closing(Link(net)) as link):
        yield link


class Relay:
    """One process; it ends with the block."""

    address = ADDRESS

    def __init__(self, tls, quick=False, first=False, delays=False, loops=1, share=None):
        """`first`: before all other work of the machine, always where delays are measured. Several loops share both
        cores with the clients. `share`: of a core, that each loop has at most."""
        self.tls, self.quick, self.first, self.delays, self.loops = tls, quick, first or delays, delays, loops
        self.cores, self.load_cores = ({RELAY_CORE, LOAD_CORE},) * 2 if loops > 1 else ({RELAY_CORE}, {LOAD_CORE})
        self.share, self.quota = share, None
        self.folder = Path(tempfile.mkdtemp(prefix="derp-bench-"))
        self.port, self.stun_port = free_port(), free_port()
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [str(part) for part in self.command()], stdout=self.log, stderr=self.log,
            env={**os.environ, **self.environment()}, preexec_fn=lambda: self.before(self.cores))
        wait_until(self.listens, f"{type(self).__name__} listens", 20)

    def __enter__(self):
        try:
            self.quota = self.limit() if self.share else None
        except Absent:
            self.__exit__()
            raise
        return self

    def limit(self):
        """Who runs its loops is not known: all of them together."""
        return Quota(self.process.pid, self.share * self.loops, first=self.first)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.quota:
            self.quota.close()
        self.log.close()

    def before(self, cores):
        """In the new process. Real-time is for one loop alone, which waits without turning: derper's threads wait for
        one another in loops, and a generator that keeps its rate does, too. And for delays alone: it keeps derper's
        threads from interrupting one another, as they do wherever it serves, which makes STUN 15 % cheaper."""
        os.sched_setaffinity(0, cores)
        if not self.first:
            return
        os.setsid()
        if Path("/proc/self/autogroup").exists():  # or nice counts among those of one session alone
            Path("/proc/self/autogroup").write_text("-20")
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        if self.delays and cores == {RELAY_CORE}:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))

    def environment(self):
        return {}

    def listens(self):
        """All its loops take clients: the listener may be there before."""
        return all(self.takes_client() for _ in range(2 * self.loops))

    def takes_client(self):
        with socket.create_connection((self.address, self.port), timeout=1) as s:
            if self.tls:
                trusting = ssl.create_default_context()
                trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
                s = trusting.wrap_socket(s)
            s.sendall(b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n")
            return s.recv(1000).startswith(b"HTTP/1.1 101")

    def start_load(self, what, *options, port=None):
        tls = ["--tls"] if self.tls else []
        parts = [LOAD, *tls, "--relay", self.process.pid, *options, self.address, port or self.port, what]
        return subprocess.Popen(self.from_clients([str(part) for part in parts]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: self.before(self.load_cores))

    def from_clients(self, command):
        return command

    def load(self, what, *options, port=None, timeout=300):
        """What derp_load tells of it."""
        program = self.start_load(what, *options, port=port)
        out = program.communicate(timeout=timeout)[0]
        if program.returncode != 0:
            raise SystemExit(f"derp_load {what} on {type(self).__name__} ended with {program.returncode}; the relay says:\n"
                             + (self.folder / "log").read_text()[-2000:])
        return json.loads(out)

    @contextlib.contextmanager
    def crowd(self, connections):
        """So many connections are open in the block."""
        program = self.start_load("stay", "--connections", connections)
        if program.stdout.readline() != "open\n":
            raise SystemExit(f"{connections} connections to {type(self).__name__} did not open")
        yield
        program.communicate(timeout=60)

    def resident(self):
        found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1))

    def cpu_seconds(self):
        """Of all its threads, also of those that ended."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # the kernel's name for the clock of a process


class Derper(Relay):
    def command(self):
        tls = []
        if self.tls:
            certificate(self.folder)
            tls = ["-certmode", "manual", "-certdir", self.folder]
        return [derper_program(), "-c", self.folder / "key", "-a", f"{self.address}:{self.port}", "-http-port", "-1",
                "-stun-port", self.stun_port, "-hostname", ADDRESS, *tls]

    def environment(self):
        return {"GOMAXPROCS": str(self.loops)}


class Tailplane(Relay):
    def tailplaned(self, settings, before=()):
        """Its command line with these settings and all it writes in this folder."""
        conf = self.folder / "conf"
        core = {"state_dir": self.folder, "runtime_dir": self.folder, "user": "root", "metrics": {"listen": ""},
                "io_loops": self.loops, **settings.get("core", {})}
        conf.write_text("".join(f"{k} = {libconfig(v)};\n" for k, v in {**settings, "core": core}.items()))
        return [*before, ROOT / "build/core/tailplaned", "-c", conf]

    def command(self):
        tls = {}
        if self.tls:
            key, cert = certificate(self.folder)
            key.chmod(0o600)
            tls = {"tls_cert_path": cert, "tls_key_path": key, "plain_listen_addr": [f"{ADDRESS}:{free_port()}"]}
        return self.tailplaned({"plugins": ["derp"], "derp": {"stun_listen_addr": f"{self.address}:{self.stun_port}"},
                                "core": {"http": {"listen_addr": [f"{self.address}:{self.port}"], **tls}}})

    def environment(self):
        return {"TAILPLANE_PLUGIN_PATH": ROOT / "build/derp"}

    def limit(self):
        threads = [task.name for task in Path(f"/proc/{self.process.pid}/task").iterdir()
                   if re.fullmatch(r"io\d+\n", (task / "comm").read_text())]
        return Quota(self.process.pid, self.share, threads, self.first)


class Port(Tailplane):
    """Its data plane has one Ethernet port, in memory: DPDK's pcap driver hands out the same requests again and again,
    and throws the answers away. One worker answers; it never sleeps."""

    ADDRESS, ROUTER, MAC = "192.0.2.1", "192.0.2.254", "02:70:63:61:70:00"  # the driver's first port
    CLIENTS = 256

    def command(self):
        requests = self.folder / "requests.pcap"
        requests.write_bytes(stun_requests(self.CLIENTS, self.MAC, self.ADDRESS))
        port = {"name": "wan", "device": f"net_pcap0,rx_pcap={requests},infinite_rx=1", "mirror": "wan",
                "addresses": [f"{self.ADDRESS}/24"]}
        return self.tailplaned({"plugins": ["dataplane", "derp"], "derp": {"tls_listen_addr": ["127.0.0.1:8443"]},
                                "dataplane": {"workers": 1, "hugepages": False, "ports": [port]}},
                               ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"])

    def environment(self):
        return {"TAILPLANE_PLUGIN_PATH": f"{ROOT / 'build/derp'}:{ROOT / 'build/dataplane'}"}

    def status(self):
        with Control(self.folder / "ctl.sock") as control:
            return control.call("derp status")

    def listens(self):
        """The clients are behind a router that is there."""
        if self.status()["works"] != "yes":
            return False
        for command in (["ip", "neigh", "replace", self.ROUTER, "lladdr", "02:00:00:00:09:09", "dev", "wan"],
                        ["ip", "route", "replace", "default", "via", self.ROUTER]):
            subprocess.run(["nsenter", f"--target={self.process.pid}", "--net", *command], check=True)
        return True

    def answers(self, seconds):
        """For each second of its CPU time, all threads."""
        wait_until(lambda: self.status()["stun_port_answers"], "the worker answers", 10)
        answered, cpu = self.status()["stun_port_answers"], self.cpu_seconds()
        time.sleep(seconds)
        return (self.status()["stun_port_answers"] - answered) / (self.cpu_seconds() - cpu)


class Ideal(Relay):
    """Carries and does nothing else (perf/derp/ideal.h): what the generator and the kernel leave."""

    def command(self):
        pem = self.folder / "pem"
        if self.tls:
            pem.write_text("".join(path.read_text() for path in certificate(self.folder)))
        return [LOAD, "ideal", self.port, *([pem] if self.tls else [])]

    def listens(self):
        return "ready" in (self.folder / "log").read_text()


class Echo(Ideal):
    """Sends each datagram back: the least that STUN costs."""

    def command(self):
        return [LOAD, "echo", self.stun_port]


class OnLink(Relay):
    address = "192.0.2.1"

    def __init__(self, link, first):
        self.link = link
        super().__init__(False, first=first)

    def command(self):
        return self.link.relay.enter(super().command())

    def listens(self):
        with self.link.relay.inside():
            return super().listens()

    def from_clients(self, command):
        return self.link.client.enter(command)


class DerperOnLink(OnLink, Derper):
    pass


class TailplaneOnLink(OnLink, Tailplane):
    pass


class EchoOnLink(OnLink, Echo):
    pass


ON_LINK = {Derper: DerperOnLink, Tailplane: TailplaneOnLink, Ideal: EchoOnLink}
RELAYS = {"derper": Derper, "tailplane": Tailplane, "ideal": Ideal}


def relayed(relay, seconds, *options):
    got = relay.load("window", "--seconds", seconds, *options)
    return {"mpps_cpu": got["received"] / got["relay_cpu_s"] / 1e6, "gbps_cpu": got["bytes"] * 8 / got["relay_cpu_s"] / 1e9,
            "gbps": got["bytes"] * 8 / got["seconds"] / 1e9, "lost": got["lost"],
            "ceiling_gbps": got["bytes"] * 8 / got["own_cpu_s"] / 1e9, "ceiling_mpps": got["received"] / got["own_cpu_s"] / 1e6}


def limited(relay, seconds, *options):
    """A rate, as many clients for each loop. `used`: what of its quota; while that is all, nobody kept it waiting."""
    got = relay.load("window", "--seconds", seconds, "--pairs", 16 * relay.loops, "--threads", relay.loops, *options)
    return {"gbps": got["bytes"] * 8 / got["seconds"] / 1e9,
            "used": got["relay_cpu_s"] / got["seconds"] / relay.share / relay.loops}


def overrun(relay, seconds):
    best = relay.load("window", "--seconds", seconds)
    got = relay.load("flood", "--seconds", seconds)
    rate = got["received"] / got["relay_cpu_s"]
    return {"share": rate / (best["received"] / best["relay_cpu_s"]), "offered_kpps": got["sent"] / got["seconds"] / 1e3,
            "delivered_kpps": got["received"] / got["seconds"] / 1e3}


def set_up(relay, _seconds):
    """By Tailscale's own client library: what its clients offer in TLS, and its fast start."""
    program = go_source(ROOT / "tests/interop/derp_go", (1, 26, 0), "ts_debug_websockets")
    pin = []
    if relay.tls:
        der = ssl.PEM_cert_to_DER_cert((relay.folder / f"{ADDRESS}.crt").read_text())
        pin = ["-pin", hashlib.sha256(der).hexdigest()]
    count = 300 if relay.quick else 2000

    def connect(n):
        subprocess.run([str(part) for part in [program, *pin, "-set-up", n, f"{ADDRESS}:{relay.port}"]], check=True, timeout=300,
                       preexec_fn=lambda: relay.before(relay.load_cores))

    connect(32)
    before = relay.cpu_seconds()
    connect(count)
    return {"per_cpu_s": count / (relay.cpu_seconds() - before)}


def set_up_lean(relay, _seconds, *options):
    count = 300 if relay.quick else 2000
    got = relay.load("pass", "--connections", count, *options)
    return {"per_cpu_s": count / got["relay_cpu_s"], "resumed": got["resumed"] / count}


def idle(relay, seconds):
    """Memory of each connection, and CPU while nothing but keep-alives happens: these come every minute, so
    that a shorter look sees only a share of them."""
    count, look = (1000, seconds) if relay.quick else (10000, 65)
    relay.load("pass", "--connections", 50)
    empty = relay.resident()
    with relay.crowd(count):
        time.sleep(SETTLE)
        full, before = relay.resident(), relay.cpu_seconds()
        time.sleep(look)
        return {"kib": (full - empty) / count, "core_percent": (relay.cpu_seconds() - before) / look * 100}


def memory(relay, _seconds):
    count = 1000 if relay.quick else 4000
    relay.load("pass", "--connections", 50)
    empty = relay.resident()
    with relay.crowd(count):
        time.sleep(SETTLE)
        return {"kib": (relay.resident() - empty) / count}


def latency(relay, seconds):
    got = relay.load("rate", "--pairs", 1, "--rate", 500, "--seconds", seconds)
    return {"p50_us": got["p50_us"], "p99_us": got["p99_us"], "lost": got["lost"]}


derper_rates = []  # packets a second, TLS, of each round


def loaded(relay, seconds):
    """At 45 % of what derper carries in a second of its CPU time."""
    if isinstance(relay, Derper) or not derper_rates:
        best = relay.load("window", "--seconds", seconds)
        derper_rates.append(int(0.45 * best["received"] / best["relay_cpu_s"]))
    got = relay.load("rate", "--rate", derper_rates[-1], "--seconds", seconds)
    return {"p50_us": got["p50_us"], "p99_us": got["p99_us"], "kpps": got["received"] / got["seconds"] / 1e3,
            "lost_percent": got["lost"] / max(got["sent"], 1) * 100}


def stun(relay, seconds):
    if isinstance(relay, Ideal) and not isinstance(relay, Echo):
        with Echo(False, first=relay.first) as echo:
            return stun(echo, seconds)
    got = relay.load("stun", "--window", 64, "--seconds", seconds, port=relay.stun_port)
    return {"per_cpu_s": got["answered"] / got["relay_cpu_s"] / 1e6, "lost": got["lost"],
            "busy": got["relay_cpu_s"] / got["seconds"]}


def stun_on_link(relay, seconds):
    with open_link() as link, ON_LINK[type(relay)](link, relay.first) as far:
        got = far.load("stun", "--window", 64, "--seconds", seconds, "--answers", link.relay.path(Link.COUNTER),
                       port=far.stun_port)
        if not isinstance(far, Echo) and not link.kept().startswith(b"\x01\x01"):
            raise SystemExit(f"what {type(far).__name__} sends is no answer")
        return {"per_cpu_s": got["answered"] / got["relay_cpu_s"] / 1e6, "lost": got["lost"],
                "busy": got["relay_cpu_s"] / got["seconds"]}


def stun_on_port(relay, seconds):
    """Without a data plane, and of derper, the kernel's sockets."""
    if not isinstance(relay, Tailplane):
        return stun(relay, seconds)
    with Port(False, first=relay.first) as port:
        return {"per_cpu_s": port.answers(seconds) / 1e6}


def stall(relay, _seconds):
    got = relay.load("stall", "--seconds", 10)
    return {"closed_after_s": got["closed_after_s"], "hidden_kib": got["hidden_bytes"] / 1024,
            "p50_before_us": got["before"]["p50_us"], "p50_us": got["during"]["p50_us"], "lost": got["during"]["lost"]}


class Cell(NamedTuple):
    tls: bool
    measure: Callable
    options: tuple = ()
    ideal: bool = False  # also of the relay that only carries
    delays: bool = False
    once: bool = False  # not in every round: long, and steady
    loops: int = 1
    share: float | None = None  # of a core, that each loop has at most
    alone: bool = False  # of ours only
    near: bool = False  # short, and its target is near what can be: measured more often, against the machine's moods


CELLS = {
    "1400-plain": Cell(False, relayed, ideal=True),
    "1400-tls": Cell(True, relayed, ideal=True),
    "1400-tls-record": Cell(True, relayed, ("--one-a-record",), ideal=True),
    "64-plain": Cell(False, relayed, ("--size", 64), ideal=True),
    "64-tls": Cell(True, relayed, ("--size", 64), ideal=True),
    "1400-plain-30": Cell(False, limited, share=0.3),
    "1400-plain-60": Cell(False, limited, share=0.6, alone=True),
    "1400-plain-2x30": Cell(False, limited, loops=2, share=0.3),
    "1400-plain-crossing": Cell(False, limited, ("--crossing",), loops=2, share=0.3, alone=True),
    "1400-tls-30": Cell(True, limited, share=0.3),
    "1400-tls-60": Cell(True, limited, share=0.6, alone=True),
    "1400-tls-2x30": Cell(True, limited, loops=2, share=0.3),
    "1400-tls-crossing": Cell(True, limited, ("--crossing",), loops=2, share=0.3, alone=True),
    "overrun": Cell(False, overrun),
    "latency": Cell(True, latency, ideal=True, delays=True),
    "loaded": Cell(True, loaded, ideal=True, delays=True),
    "setup-tls": Cell(True, set_up, ideal=True, near=True),
    "setup-tls-lean": Cell(True, set_up_lean, ideal=True),
    "setup-ticket": Cell(True, set_up_lean, ("--resume",), ideal=True),
    "setup-plain-lean": Cell(False, set_up_lean, ideal=True),
    "setup-plain": Cell(False, set_up, ideal=True),
    "stun-link": Cell(False, stun_on_link, ideal=True, near=True),
    "stun": Cell(False, stun, ideal=True),
    "stun-port": Cell(False, stun_on_port),
    "stall-plain": Cell(False, stall, delays=True, once=True),
    "stall-tls": Cell(True, stall, delays=True, once=True),
    "memory-plain": Cell(False, memory, once=True),
    "idle-tls": Cell(True, idle, once=True),
}


class Row(NamedTuple):
    cell: str
    value: str
    label: str
    more_is_better: bool = True


ROWS = [
    Row("1400-plain", "gbps_cpu", "1400 B, plain: Gbit/s"),
    Row("1400-tls", "gbps_cpu", "1400 B, TLS, many packets a record: Gbit/s"),
    Row("1400-tls-record", "gbps_cpu", "1400 B, TLS, a record for each packet: Gbit/s"),
    Row("64-plain", "mpps_cpu", "64 B, plain: Mpps"),
    Row("64-tls", "mpps_cpu", "64 B, TLS: Mpps"),
    Row("1400-plain-30", "gbps", "1400 B, plain, one loop, 30 % of a core: Gbit/s"),
    Row("1400-plain-60", "gbps", "1400 B, plain, one loop, 60 % of a core: Gbit/s"),
    Row("1400-plain-2x30", "gbps", "1400 B, plain, two loops, 30 % of a core each: Gbit/s"),
    Row("1400-plain-crossing", "gbps", "1400 B, plain, the same, all packets from loop to loop: Gbit/s"),
    Row("1400-tls-30", "gbps", "1400 B, TLS, one loop, 30 % of a core: Gbit/s"),
    Row("1400-tls-60", "gbps", "1400 B, TLS, one loop, 60 % of a core: Gbit/s"),
    Row("1400-tls-2x30", "gbps", "1400 B, TLS, two loops, 30 % of a core each: Gbit/s"),
    Row("1400-tls-crossing", "gbps", "1400 B, TLS, the same, all packets from loop to loop: Gbit/s"),
    Row("overrun", "share", "overrun: delivered, of the best rate"),
    Row("latency", "p50_us", "500 packets a second, TLS: p50, µs", False),
    Row("latency", "p99_us", "500 packets a second, TLS: p99, µs", False),
    Row("loaded", "p99_us", "45 % of derper's capacity, TLS: p99, µs", False),
    Row("loaded", "lost_percent", "45 % of derper's capacity, TLS: lost, %", False),
    Row("setup-tls", "per_cpu_s", "connections set up, TLS (P-256), Tailscale's clients"),
    Row("setup-tls-lean", "per_cpu_s", "connections set up, TLS, lean clients"),
    Row("setup-ticket", "per_cpu_s", "connections set up, TLS, lean clients with tickets"),
    Row("setup-plain", "per_cpu_s", "connections set up, plain, Tailscale's clients"),
    Row("setup-plain-lean", "per_cpu_s", "connections set up, plain, lean clients"),
    Row("stun-link", "per_cpu_s", "STUN, clients on another machine: million answers"),
    Row("stun", "per_cpu_s", "STUN over loopback, which delivers the answers too: million answers"),
    Row("stun-port", "per_cpu_s", "STUN, ours on an Ethernet port in memory: million answers"),
    Row("stall-plain", "closed_after_s", "a reader stalls, plain: closed after, s", False),
    Row("stall-plain", "hidden_kib", "a reader stalls, plain: held by the kernel, KiB", False),
    Row("stall-plain", "p50_us", "a reader stalls, plain: p50 of others, µs", False),
    Row("stall-tls", "closed_after_s", "a reader stalls, TLS: closed after, s", False),
    Row("stall-tls", "hidden_kib", "a reader stalls, TLS: held by the kernel, KiB", False),
    Row("stall-tls", "p50_us", "a reader stalls, TLS: p50 of others, µs", False),
    Row("memory-plain", "kib", "memory of an idle connection, plain: KiB", False),
    Row("idle-tls", "kib", "memory of an idle connection, TLS: KiB", False),
    Row("idle-tls", "core_percent", "10 000 idle connections, TLS: % of a core", False),
]


def one_cell(name, key, args):
    """With a relay of its own, so that none inherits another's memory. Nothing where it cannot be measured."""
    cell = CELLS[key]
    try:
        with RELAYS[name](cell.tls, args.quick, args.first, cell.delays, cell.loops, cell.share) as relay:
            return cell.measure(relay, args.seconds, *cell.options)
    except Absent as error:
        print(f"{key}: not measured: {error}", file=sys.stderr)
        return {}


def is_measured(cell, name, first):
    if cell.once and not first:
        return False
    return name == "tailplane" or (cell.ideal if name == "ideal" else not cell.alone)


def one_round(args, keys, first):
    """What is compared is measured one right after the other: the machine's speed changes in minutes."""
    cells = {name: {} for name in args.relays}
    for key in keys:
        for name in args.relays:
            if is_measured(CELLS[key], name, first):
                cells[name][key] = one_cell(name, key, args)
    return cells


def median(rounds, row):
    values = [r[row.cell][row.value] for r in rounds if row.cell in r and row.value in r[row.cell]]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def times_better(one, other, more_is_better):
    if not one or not other:
        return None
    above, below = (one, other) if more_is_better else (other, one)
    return above["median"] / below["median"] if below["median"] else None


def summary(results, cells):
    rows = []
    for row in ROWS:
        if row.cell not in cells:
            continue
        found = {name: median(rounds, row) for name, rounds in results.items()}
        better = {name: times_better(found[name], found["derper"], row.more_is_better)
                  for name in results if name != "derper" and "derper" in results}
        rows.append({"cell": row.cell, "what": row.value, "label": row.label, **found, "times_better": better})
    return rows


def ceiling_line(results, cells):
    """What the generator alone could do: its packets for each second of its own CPU time."""
    parts = []
    for cell in cells:
        values = [r[cell]["ceiling_gbps"] for rounds in results.values() for r in rounds if "ceiling_gbps" in r.get(cell, {})]
        if values:
            parts.append(f"{cell} {max(values):.1f}")
    return "The generator's own ceiling, Gbit/s for each second of its CPU time: " + ", ".join(parts) + "." if parts else ""


def quota_line(results, cells):
    """Less than all: the relay was not what limits the rate."""
    parts = []
    for cell in cells:
        values = [r[cell]["used"] for r in results.get("tailplane", []) if "used" in r.get(cell, {})]
        if values:
            parts.append(f"{cell} {min(values) * 100:.0f}")
    return "Of its quota ours used, in the least of the rounds, %: " + ", ".join(parts) + "." if parts else ""


def how_measured(args):
    return {"derper": DERPER_VERSION, "go": host.command("go", "version").removeprefix("go version "),
            "openssl": host.command("openssl", "version").split(" (", 1)[0], "relay_core": RELAY_CORE,
            "load_core": LOAD_CORE, "rounds": args.rounds, "near_times": NEAR_TIMES, "seconds": args.seconds}


def save(data, lines):
    machine = data["machine"]
    base = writer.RESULTS / f"{machine['date']}-{host.slug(machine['kind'])}-derp"
    base.with_suffix(".md").write_text("\n".join([f"# DERP relay, {machine['kind']}, {machine['date']}", "", *lines]).rstrip() + "\n")
    base.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--cells", default=",".join(CELLS), help="some of %(default)s")
    parser.add_argument("--relays", default=",".join(RELAYS), help="some of %(default)s")
    parser.add_argument("--quick", action="store_true", help="small crowds")
    parser.add_argument("--first", action="store_true", help="before all other work of the machine, which may starve")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="write perf/results/DATE-CPU-derp.{md,json}")
    args = parser.parse_args()
    args.cells, args.relays = args.cells.split(","), args.relays.split(",")
    for chosen, known in ((args.cells, CELLS), (args.relays, RELAYS)):
        if unknown := set(chosen) - set(known):
            parser.error(f"no {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return args


def main():
    args = arguments()
    started, stolen, machine = time.monotonic(), host.stolen_seconds(), host.describe()
    results = {name: [] for name in args.relays}
    near = [key for key in args.cells if CELLS[key].near]
    for i in range(args.rounds):
        print(f"round {i + 1} of {args.rounds}", file=sys.stderr)
        for keys in (args.cells, *[near] * (NEAR_TIMES - 1)):
            for name, cells in one_round(args, keys, first=i == 0).items():
                results[name].append(cells)
    data = {"machine": machine, "how": how_measured(args), "results": summary(results, args.cells), "rounds": results,
            "notes": [note for note in [ceiling_line(results, args.cells), quota_line(results, args.cells)] if note]}
    machine["stolen_s"] = round(host.stolen_seconds() - stolen, 2)
    lines = [*writer.machine_lines(machine, (time.monotonic() - started) / 60), *text(data), "## Targets", "",
             *writer.target_lines(targets(data, None))]
    print(json.dumps(data, indent=1) if args.json else "\n".join(lines))
    if args.save:
        save(data, lines)


if __name__ == "__main__":
    main()
