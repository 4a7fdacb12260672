#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways over the host port, beside two wireguard-go in the same run.

    [a] client --- tunnel --- [b] server      both ends, and iperf3, on this machine's cores

For each implementation, interleaved: TCP with 1 and 4 streams (throughput; CPU seconds per GB of
the two gateway processes, and of the whole machine), and round trips while 1 stream runs.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/lib"))

from machine import Background, Network  # noqa: E402
from traffic import iperf3, ping, wait_ping  # noqa: E402
from wait import wait_until  # noqa: E402
from wg import WireguardGo, new_key, wireguard_go  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
INNER = {"a": "10.9.0.1", "b": "10.9.0.2"}
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


def measured(a, b, programs, streams, seconds):
    before, machine_before = sum(process_cpu(p.pid) for p in programs), machine_cpu()
    flow = iperf3(a, b, INNER["b"], seconds=seconds, streams=streams)
    gigabytes = flow.bytes / 1e9
    return {"gbps": flow.bits_per_second / 1e9,
            "cpu_s_per_gb": (sum(process_cpu(p.pid) for p in programs) - before) / gigabytes,
            "machine_cpu_s_per_gb": (machine_cpu() - machine_before) / gigabytes,
            "retransmits": flow.retransmits}


def loaded_ping(a, b, seconds):
    load = Background(iperf3, a, b, INNER["b"], seconds=seconds)
    rtts = sorted(ping(a, INNER["b"], count=seconds * 80, interval=0.01).rtt_ms)
    load.result(seconds + 30)
    return {"p50_ms": rtts[len(rtts) // 2], "p99_ms": rtts[int(len(rtts) * 0.99)]}


def one_round(implementation, workers, seconds):
    with tempfile.TemporaryDirectory() as folder:
        net = Network(folder)
        try:
            a, b = net.machine("a"), net.machine("b")
            net.link(a, b, [OUTER["a"] + "/24"], [OUTER["b"] + "/24"])
            keys = {"a": new_key(), "b": new_key()}
            programs = [START[implementation](a, "a", keys["a"], keys["b"], workers),
                        START[implementation](b, "b", keys["b"], keys["a"], workers)]
            wait_ping(a, INNER["b"])
            iperf3(a, b, INNER["b"], seconds=1)  # warm: windows, caches, clocks
            return {"tcp1": measured(a, b, programs, 1, seconds),
                    "tcp4": measured(a, b, programs, 4, seconds),
                    "ping": loaded_ping(a, b, seconds)}
        finally:
            net.close()


def cpu_name():
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    return (found.group(1) if found else platform.machine()) + (", AVX-512" if "avx512f" in flags else "")


def command(*args):
    return subprocess.run(args, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def median(rounds, test, key):
    values = [r[test][key] for r in rounds]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(results):
    rows = []
    for test, key, unit in (("tcp1", "gbps", "Gbit/s"), ("tcp1", "cpu_s_per_gb", "CPU s/GB, gateways"),
                            ("tcp1", "machine_cpu_s_per_gb", "CPU s/GB, machine"),
                            ("tcp4", "gbps", "Gbit/s"), ("tcp4", "cpu_s_per_gb", "CPU s/GB, gateways"),
                            ("tcp4", "machine_cpu_s_per_gb", "CPU s/GB, machine"),
                            ("ping", "p50_ms", "ms"), ("ping", "p99_ms", "ms")):
        ours, theirs = (median(results[i], test, key) for i in ("tailplane", "wireguard-go"))
        better = ours["median"] / theirs["median"] if key == "gbps" else theirs["median"] / ours["median"]
        rows.append({"test": test, "what": key, "unit": unit, "tailplane": ours, "wireguard-go": theirs,
                     "times_better": better})
    return rows


def report(machine, rows, rounds, seconds):
    lines = [f"# Host port, {machine['date']}", "",
             f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['compiler']}, "
             f"commit {machine['commit']}. Both gateways and iperf3 on this machine, TCP cubic, MTU 1420; "
             f"medians of {rounds} interleaved rounds of {seconds} s (lowest–highest).", "",
             "| test | | tailplane | wireguard-go | times better |", "| --- | --- | --- | --- | --- |"]
    names = {"tcp1": "TCP, 1 stream", "tcp4": "TCP, 4 streams", "ping": "round trip under load"}
    for r in rows:
        cell = "{median:.2f} ({min:.2f}–{max:.2f})"
        label = r["unit"] if r["test"] != "ping" else r["what"][:3] + ", ms"
        lines.append(f"| {names[r['test']]} | {label} | {cell.format(**r['tailplane'])} | "
                     f"{cell.format(**r['wireguard-go'])} | {r['times_better']:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="write perf/results/DATE-CPU.{md,json}")
    args = parser.parse_args()
    if os.geteuid():
        sys.exit("network namespaces need root")
    results = {name: [] for name in START}
    for i in range(args.rounds):
        for name in START:
            print(f"round {i + 1} of {args.rounds}: {name}", file=sys.stderr)
            results[name].append(one_round(name, args.workers, args.seconds))
    machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "kernel": platform.release(),
               "compiler": command("cc", "--version").split("\n", 1)[0],
               "commit": command("git", "rev-parse", "--short", "HEAD"),
               "date": datetime.date.today().isoformat()}
    rows = summary(results)
    text = report(machine, rows, args.rounds, args.seconds)
    data = json.dumps({"machine": machine, "results": rows, "rounds": results}, indent=1)
    print(data if args.json else text)
    if args.save:
        base = ROOT / "perf/results" / f"{machine['date']}-hostport-{re.sub('[^A-Za-z0-9]+', '-', machine['cpu']).lower()}"
        base.parent.mkdir(exist_ok=True)
        base.with_suffix(".md").write_text(text)
        base.with_suffix(".json").write_text(data + "\n")


if __name__ == "__main__":
    main()
