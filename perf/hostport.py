#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways over the host port, beside two wireguard-go in the same run.

    [a] client --- tunnel --- [b] server      both ends, and what loads them, on this machine's cores

For each implementation, interleaved:
  tcp1 tcp4   TCP with 1 and 4 streams: throughput; CPU seconds per GB of the two gateway processes,
              and of the whole machine
  load        round trips while 1 TCP stream runs
  small udp   datagrams of 64 and 1420 bytes (with IP header), 4 flows, one system call's batch at a
              time but no segmentation offload, at rising rates up to more than fits: delivered per
              second, per CPU second of the gateways, one-way delays, and how much of the best rate
              is left at the highest
  idle        CPU of the gateways with nothing to do
  floor       bench_hostport: CPU seconds per GB of TCP that the kernel alone takes for two TUNs (unchanged),
              with our cutting and joining (packets), with datagrams between (udp): both ends, nothing sealed
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/lib"))

from machine import Background, Network  # noqa: E402
from traffic import iperf3, ping, wait_ping  # noqa: E402
from wait import wait_until  # noqa: E402
from wg import WireguardGo, new_key, wireguard_go  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
INNER = {"a": "10.9.0.1", "b": "10.9.0.2"}
UDP_PORT = 7001
OUTER = {"a": "192.0.2.1", "b": "192.0.2.2"}

CONFIG = """
plugins = [ "dataplane" ];
core = {{ state_dir = "{dir}"; runtime_dir = "{dir}"; user = "root"; metrics = {{ listen = ""; }}; }};
dataplane = {{ workers = {workers};
  tunnels = ( {{ name = "wg0"; private_key_file = "wg0.key"; listen_port = 51820;
    addresses = [ "{address}/24" ];
    peers = ( {{ name = "peer"; public_key = "{peer}"; endpoint = "{endpoint}:51820";
                allowed_ips = [ "{allowed}/32" ]; }} ); }} ); }};
"""


def process_cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def machine_cpu():
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICK


def start_tailplane(machine, name, key, peer_key, workers):
    other = "b" if name == "a" else "a"
    folder = Path(tempfile.mkdtemp(dir=machine.net.dir))
    (folder / "wg0.key").write_text(key.private + "\n")
    (folder / "wg0.key").chmod(0o600)
    conf = folder / "tailplane.conf"
    conf.write_text(CONFIG.format(dir=folder, workers=workers, address=INNER[name],
                                  peer=peer_key.public, endpoint=OUTER[other], allowed=INNER[other]))
    program = machine.start(ROOT / "build/core/tailplaned", "-c", conf, env={
        "TAILPLANE_PLUGIN_PATH": f"{ROOT}/build/dataplane:{ROOT}/build/plugins/gateway"})
    wait_until(lambda: "wg0" in machine.interfaces(), "the tunnel's interface", 20)
    return program


def start_wireguard_go(machine, name, key, peer_key, _workers):
    other = "b" if name == "a" else "a"
    tunnel = WireguardGo(machine, wireguard_go("current"), key, [INNER[name] + "/24"], port=51820)
    tunnel.peer(peer_key.public, [INNER[other] + "/32"], endpoint=f"{OUTER[other]}:51820")
    return tunnel.program


START = {"tailplane": start_tailplane, "wireguard-go": start_wireguard_go}


def gateways_cpu(pair):
    return sum(process_cpu(p.pid) for p in pair.programs)


class Pair:
    """Both machines, and a gateway on each."""

    def __init__(self, folder, implementation, workers):
        self.net = Network(folder)
        self.a, self.b = self.net.machine("a"), self.net.machine("b")
        self.net.link(self.a, self.b, [OUTER["a"] + "/24"], [OUTER["b"] + "/24"])
        keys = {"a": new_key(), "b": new_key()}
        start = START[implementation]
        self.programs = [start(self.a, "a", keys["a"], keys["b"], workers),
                         start(self.b, "b", keys["b"], keys["a"], workers)]
        wait_ping(self.a, INNER["b"])
        iperf3(self.a, self.b, INNER["b"], seconds=1)  # warm: windows, caches, clocks


def tcp(pair, streams, seconds):
    before, machine_before = gateways_cpu(pair), machine_cpu()
    flow = iperf3(pair.a, pair.b, INNER["b"], seconds=seconds, streams=streams)
    gigabytes = flow.bytes / 1e9
    return {"gbps": flow.bits_per_second / 1e9,
            "cpu_s_per_gb": (gateways_cpu(pair) - before) / gigabytes,
            "machine_cpu_s_per_gb": (machine_cpu() - machine_before) / gigabytes,
            "retransmits": flow.retransmits}


def loaded_ping(pair, seconds):
    load = Background(iperf3, pair.a, pair.b, INNER["b"], seconds=seconds)
    rtts = sorted(ping(pair.a, INNER["b"], count=seconds * 80, interval=0.01).rtt_ms)
    load.result(seconds + 30)
    return {"p50_ms": rtts[len(rtts) // 2], "p99_ms": rtts[int(len(rtts) * 0.99)]}


def flows(pair, size, rate, seconds):
    """Datagrams at one rate, 4 flows."""
    program = ROOT / "build/perf/udp_flows"
    sink = subprocess.Popen(pair.b.enter([program, "receive", UDP_PORT]), text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert sink.stdout.readline() == "ready\n"
    before = gateways_cpu(pair)
    sent = json.loads(pair.a.run(program, "send", INNER["b"], UDP_PORT, rate, size, 4, seconds).stdout)
    ping(pair.a, INNER["b"], count=1)  # behind them in every queue
    cpu = gateways_cpu(pair) - before
    got = json.loads(sink.communicate("", timeout=20)[0])
    delivered = got["received"] + got["socket_dropped"]
    return {"offered_kpps": sent["sent"] / sent["seconds"] / 1e3,
            "delivered_kpps": delivered / sent["seconds"] / 1e3,
            "kpackets_per_cpu_s": delivered / cpu / 1e3 if cpu else 0,
            "reordered": got["reordered"], "p50_us": got["p50_us"], "p99_us": got["p99_us"]}


def sweep(pair, size, rates, seconds):
    cells = {rate: flows(pair, size, rate, seconds) for rate in rates}
    best = max(cells.values(), key=lambda c: c["delivered_kpps"])
    return {"rates": cells, "best_kpps": best["delivered_kpps"],
            "kpackets_per_cpu_s": best["kpackets_per_cpu_s"],
            "overload_share": cells[rates[-1]]["delivered_kpps"] / best["delivered_kpps"],
            "lowest_p50_us": cells[rates[0]]["p50_us"], "lowest_p99_us": cells[rates[0]]["p99_us"],
            "reordered": sum(c["reordered"] for c in cells.values())}


def idle(pair, seconds):
    before = gateways_cpu(pair)
    time.sleep(seconds)
    return {"core_percent": (gateways_cpu(pair) - before) / seconds / len(pair.programs) * 100}


TESTS = {
    "tcp1": lambda pair, seconds: tcp(pair, 1, seconds),
    "tcp4": lambda pair, seconds: tcp(pair, 4, seconds),
    "load": loaded_ping,
    "small": lambda pair, seconds: sweep(pair, 64, (25000, 100000, 200000, 600000), seconds),
    "udp": lambda pair, seconds: sweep(pair, 1420, (10000, 40000, 80000, 250000), seconds),
    "idle": idle,
}

# What the table shows: test, value, what it is called, and whether more is better.
ROWS = (
    ("tcp1", "gbps", "TCP, 1 stream: Gbit/s", True),
    ("tcp1", "cpu_s_per_gb", "TCP, 1 stream: CPU s/GB, gateways", False),
    ("tcp1", "machine_cpu_s_per_gb", "TCP, 1 stream: CPU s/GB, machine", False),
    ("tcp4", "gbps", "TCP, 4 streams: Gbit/s", True),
    ("tcp4", "cpu_s_per_gb", "TCP, 4 streams: CPU s/GB, gateways", False),
    ("tcp4", "machine_cpu_s_per_gb", "TCP, 4 streams: CPU s/GB, machine", False),
    ("load", "p50_ms", "round trip under TCP: p50, ms", False),
    ("load", "p99_ms", "round trip under TCP: p99, ms", False),
    ("small", "best_kpps", "64 B: best kpps delivered", True),
    ("small", "kpackets_per_cpu_s", "64 B: thousand packets per CPU s, gateways", True),
    ("small", "overload_share", "64 B, 600 kpps offered: share of the best", True),
    ("small", "lowest_p50_us", "64 B, 25 kpps: one-way p50, µs", False),
    ("small", "lowest_p99_us", "64 B, 25 kpps: one-way p99, µs", False),
    ("udp", "best_kpps", "1420 B: best kpps delivered", True),
    ("udp", "kpackets_per_cpu_s", "1420 B: thousand packets per CPU s, gateways", True),
    ("udp", "overload_share", "1420 B, 250 kpps offered: share of the best", True),
    ("udp", "lowest_p50_us", "1420 B, 10 kpps: one-way p50, µs", False),
    ("udp", "lowest_p99_us", "1420 B, 10 kpps: one-way p99, µs", False),
    ("idle", "core_percent", "idle: percent of a core, one gateway", False),
)


def one_round(implementation, args):
    with tempfile.TemporaryDirectory() as folder:
        pair = None
        try:
            pair = Pair(folder, implementation, args.workers)
            return {test: TESTS[test](pair, args.seconds) for test in args.tests}
        finally:
            if pair:
                pair.net.close()


def floor(seconds):
    """Each way's figures, one run of bench_hostport."""
    out = subprocess.run([ROOT / "build/perf/bench_hostport", "--json", "1", str(seconds)],
                         capture_output=True, text=True, check=True).stdout
    return {r["way"]: {"gbps": r["gbps"], "cpu_s_per_gb": r["cpu_s_per_gb"]} for r in json.loads(out)["results"]}


def floor_line(floors):
    medians = {way: median(floors, way, "cpu_s_per_gb")["median"] for way in floors[0]}
    return "What the host port costs without sealing, both ends, CPU s/GB of TCP: " + ", ".join(
        f"{way} {value:.2f}" for way, value in medians.items()) + " (perf/bench_hostport.c)."


def cpu_name():
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    return (found.group(1) if found else platform.machine()) + (", AVX-512" if "avx512f" in flags else "")


def command(*args):
    return subprocess.run(args, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def median(rounds, test, key):
    values = [r[test][key] for r in rounds]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def times_better(ours, theirs, more_is_better):
    above, below = (ours, theirs) if more_is_better else (theirs, ours)
    return above["median"] / below["median"] if below["median"] else None


def summary(results, tests):
    rows = []
    for test, key, label, more in ROWS:
        if test in tests:
            ours, theirs = (median(results[i], test, key) for i in ("tailplane", "wireguard-go"))
            rows.append({"test": test, "what": key, "label": label, "tailplane": ours, "wireguard-go": theirs,
                         "times_better": times_better(ours, theirs, more)})
    return rows


def report(machine, rows, floors, args):
    lines = [f"# Host port, {machine['date']}", "",
             f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['compiler']}, "
             f"commit {machine['commit']}. Both gateways and what loads them on this machine, TCP cubic, MTU 1420, "
             f"{args.workers} worker(s); medians of {args.rounds} interleaved rounds, {args.seconds} s each "
             "(lowest–highest).", "",
             "| | tailplane | wireguard-go | times better |", "| --- | --- | --- | --- |"]
    cell = "{median:.2f} ({min:.2f}–{max:.2f})"
    for r in rows:
        times = "" if r["times_better"] is None else f"{r['times_better']:.2f}"
        lines.append(f"| {r['label']} | {cell.format(**r['tailplane'])} | "
                     f"{cell.format(**r['wireguard-go'])} | {times} |")
    lines += ["", floor_line(floors)] if floors else []
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tests", default=",".join([*TESTS, "floor"]), help="some of %(default)s")
    parser.add_argument("--nice", type=int, default=0, help="priority, where the machine has other work")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="write perf/results/DATE-CPU.{md,json}")
    args = parser.parse_args()
    args.tests = args.tests.split(",")
    args.floor = "floor" in args.tests
    args.tests = [t for t in args.tests if t != "floor"]
    if unknown := set(args.tests) - set(TESTS):
        parser.error(f"no test {', '.join(sorted(unknown))}; there are: {', '.join(TESTS)}, floor")
    return args


def main():
    args = arguments()
    if os.geteuid():
        sys.exit("network namespaces need root")
    os.nice(args.nice)
    results, floors = {name: [] for name in START}, []
    for i in range(args.rounds):
        if args.floor:
            floors.append(floor(args.seconds))
        for name in START:
            print(f"round {i + 1} of {args.rounds}: {name}", file=sys.stderr)
            results[name].append(one_round(name, args))
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "kernel": platform.release(),
               "compiler": command("cc", "--version").split("\n", 1)[0],
               "commit": command("git", "rev-parse", "--short", "HEAD"),
               "date": datetime.date.today().isoformat()}
    rows = summary(results, args.tests)
    text = report(machine, rows, floors, args)
    data = json.dumps({"machine": machine, "results": rows, "rounds": results, "floor": floors,
                       "notes": [floor_line(floors)] if floors else []}, indent=1)
    print(data if args.json else text)
    if args.save:
        base = ROOT / "perf/results" / f"{machine['date']}-hostport-{re.sub('[^A-Za-z0-9]+', '-', machine['cpu']).lower()}"
        base.parent.mkdir(exist_ok=True)
        base.with_suffix(".md").write_text(text)
        base.with_suffix(".json").write_text(data + "\n")


if __name__ == "__main__":
    main()
