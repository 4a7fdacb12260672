#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The control server under many nodes: tailplaned on one core, the generator (bench_control) on another.

For each number of nodes N, with a fresh server and database:
  join       all register with one reusable key, open their stream and report; until each knows all others
  idle       memory per connected node, and CPU while nothing happens (keep-alives alone)
  alone      one node reports new endpoints, and the next only when all others were told
  together   twenty nodes at once do
  reconnect  the server is killed, the connections end, it starts again, all come back; until each knows all
             others again; meanwhile `nodes list`, where asked
  register   registrations alone, on another fresh server

100 of the nodes decode all that they get. The others decode each distinct zstd frame once and count.

  floor      what the kernel alone takes for one send on one of N connections to the generator's core
  clients    that the generator does not flatter: nodes of Tailscale's own library (perf/tsnet) join, on all cores
"""

import argparse
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CLIENT = "1.102.4"

CONFIG = """
plugins = [ "control" ];
core = {{ state_dir = "{dir}"; runtime_dir = "{dir}"; user = "root"; http = {{ listen_addr = [ "127.0.0.1:{port}" ]; }};
  metrics = {{ listen = "127.0.0.1:{metrics}"; }}; }};
control = {{ server_url = "http://127.0.0.1:{port}"; first_key = false; derp = {{ paths = [ "{dir}/derp.json" ]; }};
  dns = {{ base_domain = "tail.test"; }}; }};
"""

RELAYS = {"Regions": {str(n): {"RegionID": n, "RegionCode": f"r{n}", "RegionName": f"Region {n}", "Nodes": [
    {"Name": f"{n}{c}", "RegionID": n, "HostName": f"relay{n}{c}.example.net", "IPv4": f"192.0.2.{n * 3 + i}"}
    for i, c in enumerate("abc")]} for n in range(1, 21)}}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core, *args):
    return ["taskset", "-c", str(core), *map(str, args)]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """tailplaned on core 0."""

    def __init__(self, core):
        self.core = core
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="tailplane-perf-")
        self.dir = Path(self.folder.name)
        (self.dir / "derp.json").write_text(json.dumps(RELAYS))
        (self.dir / "tailplane.conf").write_text(CONFIG.format(dir=self.dir, port=self.port, metrics=free_port()))
        self.start()
        self.cli("users", "create", "load")
        self.auth_key = self.cli("preauthkeys", "create", "-u", "load", "--reusable").strip()

    def start(self):
        self.log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(
            pinned(self.core, BUILD / "core/tailplaned", "-c", self.dir / "tailplane.conf"), stdout=self.log,
            stderr=self.log, preexec_fn=die_with_parent, env={**os.environ, "TAILPLANE_PLUGIN_PATH": str(BUILD / "control")})
        for _ in range(500):
            try:
                self.key = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/key?v=142", timeout=5).read())
                return
            except OSError:
                assert self.process.poll() is None, (self.dir / "log").read_text()
                time.sleep(0.01)
        raise AssertionError("tailplaned does not answer")

    def cli(self, *args, timeout=120):
        return subprocess.run([BUILD / "core/cli/tailplane", "-s", self.dir / "ctl.sock", *args], check=True,
                              capture_output=True, text=True, timeout=timeout).stdout

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def cpu(self):
        """Seconds of all its threads; nanoseconds count, so /proc/PID/stat will not do."""
        return sum(int((task / "schedstat").read_text().split()[0])
                   for task in Path(f"/proc/{self.process.pid}/task").iterdir()) / 1e9

    def memory(self):
        """Resident bytes of its own, without the pages of files."""
        return int(re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())[1]) * 1024

    def peak(self):
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())[1]) * 1024

    def close(self):
        self.kill()
        self.folder.cleanup()


class Nodes:
    """The generator on its core."""

    def __init__(self, server, core, n, limit):
        self.server = server
        self.process = subprocess.Popen(
            pinned(core, BUILD / "perf/bench_control", "--host", "127.0.0.1", "--port", server.port, "--server-key",
                   server.key["publicKey"].removeprefix("mkey:"), "--auth-key", server.auth_key, "--nodes", n,
                   "--limit", limit), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def begin(self, *words):
        self.cpu = self.server.cpu()
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def end(self):
        answer = json.loads(self.process.stdout.readline())
        answer["cpu_s"] = self.server.cpu() - self.cpu
        if answer["error"]:
            print(f"    {answer['error']}", file=sys.stderr)
        if not answer["in_time"]:
            raise SystemExit(f"it was not over after {answer['seconds']:.0f} s: {answer}")
        return answer

    def do(self, *words):
        self.begin(*words)
        return self.end()

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def shown(n, what, answer, more=""):
    say(f"{n} {what}: {answer['seconds']:.2f} s, server {answer['cpu_s']:.2f} s CPU, generator {answer['own_cpu_s']:.2f} s, "
        f"{answer['bytes'] / 1e6:.0f} MB{more}")


def join(nodes, n):
    answer = nodes.do("start")
    answer["records_per_minimum"] = answer["records"] / (n * (n - 1))
    answer["peak_bytes"] = nodes.server.peak()
    shown(n, "join", answer, f", records sent / minimum {answer['records_per_minimum']:.2f}")
    return answer


def changes(nodes, n, rounds, group, gap_ms):
    rest = nodes.do("idle", 2)
    answer = nodes.do("changes", rounds, group, gap_ms)
    told = answer.pop("last_peer_ms")
    own = max(0, answer["cpu_s"] - rest["cpu_s"] / rest["seconds"] * answer["seconds"])
    answer |= {"changes": len(told), "p50_ms": statistics.median(told), "p99_ms": percentile(told, 0.99),
               "cpu_us_per_receiver": own * 1e6 / len(told) / (n - 1)}
    shown(n, f"changes by {group}", answer, f"; last peer p50 {answer['p50_ms']:.1f} ms, p99 {answer['p99_ms']:.1f} ms; "
          f"{answer['cpu_us_per_receiver']:.2f} us a change and receiver")
    return answer


def idle(nodes, n, seconds, empty):
    nodes.do("idle", 5)
    answer = nodes.do("idle", seconds)
    answer |= {"cpu_share": answer["cpu_s"] / answer["seconds"],
               "bytes_per_node": (nodes.server.memory() - empty) / n}
    shown(n, "idle", answer, f"; {answer['cpu_share'] * 100:.3f} % CPU, {answer['bytes_per_node'] / 1024:.1f} KiB a node")
    return answer


def reconnect(nodes, n, lists):
    nodes.do("cut")
    nodes.server.kill()
    nodes.server.start()
    nodes.begin("start")
    took = []
    while lists:
        began = time.monotonic()
        listed = json.loads(nodes.server.cli("nodes", "list", "-o", "json"))
        took.append(time.monotonic() - began)
        assert len(listed) == n
        if len(took) == lists:
            break
        time.sleep(1)
    answer = nodes.end()
    answer |= {"nodes_list_s": took, "peak_bytes": nodes.server.peak()}
    shown(n, "reconnect", answer, "".join(f"; nodes list {t:.2f} s" for t in took))
    return answer


def register(args, n):
    server = Server(args.server_core)
    nodes = Nodes(server, args.generator_core, n, args.limit)
    answer = nodes.do("register")
    answer["per_cpu_s"] = n / answer["cpu_s"]
    shown(n, "register", answer, f"; {answer['per_cpu_s']:.0f} a CPU second")
    nodes.close()
    server.close()
    return answer


def floor(args, n):
    return float(subprocess.run(pinned(args.server_core, BUILD / "perf/bench_control", "--nodes", n, "--floor",
                                       args.generator_core), check=True, capture_output=True, text=True).stdout)


def go_program():
    """perf/tsnet, built with exactly that release; None: there is no Go."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"tailplane-tests/tsnet-{CLIENT}"
    source, made = ROOT / "perf/tsnet/main.go", folder / "tsnet"
    if not shutil.which("go"):
        return None
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / "main.go")
        (folder / "go.mod").write_text("module tsnet\n")
        env = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        for words in (["get", f"tailscale.com@v{CLIENT}"],
                      ["build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", "tsnet", "."]):
            subprocess.run(["go", *words], cwd=folder, env=env, check=True, stdout=sys.stderr)
    return made


def records_sent(server):
    port = re.search(r'metrics = \{ listen = "([^"]*)"', (server.dir / "tailplane.conf").read_text())[1]
    text = urllib.request.urlopen(f"http://{port}/metrics", timeout=10).read().decode()
    return sum(float(re.search(rf"^tailplane_control_{name} (\S+)", text, re.M)[1])
               for name in ("full_map_records_total", "delta_records_total"))


def clients(args, n):
    """The library's nodes, and the generator's, at the same number."""
    program = go_program()
    if not program:
        return {"absent": "Go is not installed"}
    server = Server(args.server_core)
    before = server.cpu()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [program, "-url", f"http://127.0.0.1:{server.port}", "-key", server.auth_key, "-n", str(n), "-dir", folder],
            env={**os.environ, "TS_NO_LOGS_NO_SUPPORT": "true", "TS_DISABLE_PORTMAPPER": "1"},
            check=True, capture_output=True, text=True, timeout=300)
    took = json.loads(done.stdout)
    took |= {"n": n, "version": CLIENT, "cpu_s": server.cpu() - before,
             "records_per_minimum": records_sent(server) / (n * (n - 1))}
    server.close()
    server = Server(args.server_core)
    nodes = Nodes(server, args.generator_core, n, args.limit)
    took["generator"] = join(nodes, n)
    nodes.close()
    server.close()
    say(f"{n} of tsnet {CLIENT}: {took['seconds']:.2f} s, server {took['cpu_s']:.3f} s CPU, records sent / minimum "
        f"{took['records_per_minimum']:.2f}")
    return took


def measure(args, n):
    server = Server(args.server_core)
    nodes = Nodes(server, args.generator_core, n, args.limit)
    empty = server.memory()
    out = {"n": n, "join": join(nodes, n)}
    sends = [floor(args, n)] if "floor" in args.only else []
    if "changes" in args.only:
        out["alone"] = changes(nodes, n, args.rounds, 1, 100)
    if sends:  # before and after, since it changes with what else the machine does
        sends.append(floor(args, n))
        out["floor_us"] = statistics.mean(sends)
        say(f"{n} floor: {sends[0]:.2f} and {sends[1]:.2f} us a send")
    if "changes" in args.only:
        out["together"] = changes(nodes, n, max(1, args.rounds // 5), 20, 100)
    if "idle" in args.only:
        out["idle"] = idle(nodes, n, args.idle if n == 1000 else min(args.idle, 5), empty)
    if "reconnect" in args.only:
        out["reconnect"] = reconnect(nodes, n, 3 if n >= 1000 else 1)
    nodes.close()
    server.close()
    if "register" in args.only:
        out["register"] = register(args, n)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", default="100,500,1000,10000", help="how many, separated by commas")
    parser.add_argument("--only", default="floor,changes,idle,reconnect,register,clients", help="besides join")
    parser.add_argument("--rounds", type=int, default=50, help="changes one after the other")
    parser.add_argument("--idle", type=float, default=60, help="seconds, at 1000 nodes; elsewhere 5")
    parser.add_argument("--clients", type=int, default=50, help="nodes of Tailscale's library")
    parser.add_argument("--limit", type=int, default=300, help="seconds after which a phase is given up")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--generator-core", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.only = args.only.split(",")
    results = [measure(args, int(n)) for n in args.nodes.split(",")]
    out = {"results": results}
    if "clients" in args.only:
        out["clients"] = clients(args, args.clients)
    if args.json:
        print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
