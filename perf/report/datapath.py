# SPDX-License-Identifier: BSD-3-Clause
"""The whole graph between ports in memory: by size and kernel, peers, workers, graph node."""

import os
import statistics

from . import aead, svg
from .host import ROOT, Absent, run_json, short, spread, table, target, unique

TITLE = "The data plane"
BENCH = ROOT / "build/perf/bench_datapath"
KERNELS = ("avx512", "avx2", "portable")
SIZES = "64,512,1420,imix"

# Sealing, one worker: Gbit/s at 1420 B, Mpps at 64 B.
TARGETS = {"AMD Zen 5": (30, 8), "Intel Emerald Rapids": (22, 7)}
# Most that addressing so many peers at random may cost against one peer.
PEERS_COST = {(10000, 1420): 0.05, (10000, 64): 0.25, (100000, 1420): 0.20}
# Least that two workers carry of one tunnel, in times of one worker.
TWO_WORKERS = {1420: 1.7, 64: 1.3}
NO_TARGET = {("seal, one flow", 64)}  # all but the AEAD is one worker's, and more than half
NODES_BUDGET = 200  # cycles of a 64-byte packet, AEAD and ports aside, from one peer; what more peers cost is PEERS_COST
BESIDE = ("Beside these: VPP 26.10's node that encrypts (WireGuard, ipsec-mb, one worker, vectors of 256) took 362 ticks at "
          "64 B and 1250 at 1420 B on an Emerald Rapids with a TSC of 2.1 GHz, decrypting about the same; not measured "
          "in this run, and ticks of another machine.")
PORTS = "(ports in memory)"


def run(context, *args):
    return run_json(BENCH, "--json", *(() if "--rounds" in args else ("--rounds", "3" if context.quick else "9")), *args)


def measure(context):
    if not BENCH.exists():
        raise Absent("built without the data plane")
    kernels = {}
    for name in KERNELS:
        try:
            kernels[name] = run(context, "--aead", name, "--peers", "100", "--sizes", SIZES)
        except Absent:
            continue  # not on this machine: the program has said so
    best = next(iter(kernels))
    workers = ",".join(str(n) for n in (1, 2, 4, 8) if n <= os.cpu_count())
    repeats = 1 if context.quick else 5
    return {
        "machine": kernels[best]["machine"],
        "aead": run_json(aead.BENCH, "--json", "--impls", best, "--sizes", "64,1420", "--batch", "64", "--keys", "64",
                         "--cache", "hot", "--rounds", "9")["results"],
        "kernels": kernels,
        "peers": [run(context, "--aead", best, "--peers", "1,100,10000,100000", "--sizes", "64,1420",
                      "--rounds", str(7 * repeats)) for _ in range(min(repeats, 3))],
        "workers": [run(context, "--aead", best, "--peers", "1,100", "--sizes", "64,1420", "--workers", workers,
                        "--rounds", "3") for _ in range(repeats)],
    }


KEY = ("impl", "op", "size", "peers", "workers", "flows")


def merged(runs):
    """One row per cell: the median of the runs, lowest and highest of all. Older reports know no flows."""
    rows = {}
    for one in runs:
        for r in one["results"]:
            rows.setdefault(tuple(r.get(k) for k in KEY), []).append(r)
    return [{**dict(zip(KEY, key)), **{k: statistics.median(r[k] for r in same) for k in ("gbps", "mpps")},
             "nodes": {name: statistics.median(r["nodes"].get(name, 0) for r in same) for name in same[0]["nodes"]},
             "gbps_min": min(r["gbps_min"] for r in same), "gbps_max": max(r["gbps_max"] for r in same)}
            for key, same in rows.items()]


def ratio(runs, above, below):
    """The median of a cell's rate in times of another's, run by run; None where one is missing."""
    pairs = [(find(one["results"], **above), find(one["results"], **below)) for one in runs]
    return statistics.median(a["mpps"] / b["mpps"] for a, b in pairs) if all(map(all, pairs)) else None


def paired(runs, above, below):
    """The same, round by round: for cells that were measured next to each other."""
    pairs = [(find(one["results"], **above), find(one["results"], **below)) for one in runs]
    ratios = [a / b for one, other in pairs if one and other
              for a, b in zip(one["rounds_mpps"], other["rounds_mpps"]) if a and b]
    return statistics.median(ratios) if ratios else None


def size_name(size):
    return "IMIX" if size == "imix" else f"{size} B"


def peers_name(count):
    return "1 peer" if count == 1 else f"{count} peers"


def both(row):
    return f"{short(row['mpps'])} Mpps, {spread(row['gbps'], row['gbps_min'], row['gbps_max'])}"


def grid(rows, down, across, names):
    """A table out of rows: what differs down, what differs across."""
    columns = unique(across(r) for r in rows)
    cells = {(down(r), across(r)): both(r) for r in rows}
    return table([*names, *columns], [[*key, *(cells.get((key, c), "") for c in columns)]
                                      for key in unique(down(r) for r in rows)])


def worker_rows(runs):
    """What one worker seals is one flow's, and all flows' too."""
    out = []
    for r in merged(runs):
        fat = r["op"] == "seal" and r["flows"] == 1 and r["peers"] == 1
        out += [{**r, "op": "seal, one flow"}] if fat else []
        out += [r] if not fat or r["workers"] == 1 else []
    return out


def node_lines(data):
    out = ["### By graph node", "", "Ticks of the TSC for each packet, as `tailplane graph` counts them; bursts as long "
           "as the worker takes; packets of one peer, or of 100 at random, each of whom has a key, a window, counters and an "
           "address of its own to look at. `wg_output` and `wg_input` include the AEAD.", ""]
    columns = [r for r in merged(data["peers"]) if r["peers"] in (1, 100)]
    names = unique(name for r in columns for name in r["nodes"])
    lines = [[name, *(f"{r['nodes'][name]:.0f}" if name in r["nodes"] else "" for r in columns)] for name in names]
    lines.append(["all but the AEAD, as it is alone, and the ports: cycles",
                  *(f"{beside_aead(data, r):.0f}" for r in columns)])
    out += table(["", *(f"{r['op']}, {size_name(r['size'])}, {peers_name(r['peers'])}" for r in columns)], lines)
    return out + [BESIDE, ""]


def beside_aead(data, row):
    """Cycles: windows, counters, look-ups and headers are in the nodes that seal and open, too."""
    sealing = find(data["aead"], op=row["op"], size=row["size"])["ticks_per_packet"]
    ticks = sum(t for name, t in row["nodes"].items() if name != PORTS) - sealing
    return ticks * data["machine"]["clock_ghz"] / data["machine"]["ticks_ghz"]


def text(data):
    kernel_rows = [r for k in data["kernels"].values() for r in k["results"]]
    first = next(iter(data["kernels"].values()))
    out = ["Everything from the Ethernet frame that comes in to the one that goes out, between two ports in memory "
           f"(rings of {first['ring']} buffers); one worker where nothing else is said. Medians of {first['rounds']} "
           f"windows of {first['window_ms']} ms (lowest–highest); by peers and by workers, medians of whole runs, ratios "
           "round by round and run by run. Gbit/s counts inner packets.", "",
           "### By size and kernel, 100 peers", ""]
    out += grid(kernel_rows, lambda r: (r["impl"], r["op"]), lambda r: size_name(r["size"]), ["", ""])
    out += node_lines(data)
    out += ["### By peers addressed at random", ""]
    out += grid(merged(data["peers"]), lambda r: (r["op"], size_name(r["size"])), lambda r: peers_name(r["peers"]), ["", ""])
    out += ["### By workers", "", *cores_lines(data)]
    return out + grid(worker_rows(data["workers"]), lambda r: (r["op"], size_name(r["size"]), r["peers"]),
                      lambda r: f"{r['workers']} workers" if r["workers"] > 1 else "1 worker", ["", "", "peers"])


def cores_lines(data):
    """Older reports did not look."""
    trips = sorted(r["machine"]["core_to_core_ns"] for r in data["workers"] if r["machine"].get("core_to_core_ns"))
    if not trips:
        return []
    return [f"After each run a cache line went from one core to another and back in "
            f"{spread(statistics.median(trips), trips[0], trips[-1])} ns. Workers who share a tunnel hand packets over from "
            "cache to cache: on cores that share none of their caches they gain little or nothing.", ""]


def plots(data):
    sizes, peers, workers = {}, {}, {}
    for kernel in data["kernels"].values():
        for r in kernel["results"]:
            sizes.setdefault(f"{r['op']}, {r['impl']}", {})[size_name(r["size"])] = (
                r["gbps"], r["gbps_min"], r["gbps_max"])
    for r in merged(data["peers"]):
        peers.setdefault(f"{r['op']}, {size_name(r['size'])}", []).append((f"{r['peers']}", r["mpps"]))
    for r in worker_rows(data["workers"]):
        name = f"{r['op']}, {size_name(r['size'])}, {peers_name(r['peers'])}"
        workers.setdefault(name, []).append((f"{r['workers']}", r["mpps"]))
    return {
        "datapath-sizes": svg.bars("Data plane, one worker, 100 peers", "inner packet", "Gbit/s", sizes),
        "datapath-peers": svg.lines("Data plane by peers addressed at random, one worker", "peers", "Mpps", peers,
                                    svg.Names(p for p, _mpps in next(iter(peers.values())))),
        "datapath-workers": svg.lines("Data plane by workers", "workers", "Mpps", workers,
                                      svg.Names(w for w, _mpps in next(iter(workers.values())))),
    }


def find(rows, **conditions):
    return next((r for r in rows if all(r[key] == value for key, value in conditions.items())), None)


def peer_targets(runs):
    out = []
    for (peers, size), most in PEERS_COST.items():
        share = paired(runs, {"op": "seal", "size": size, "peers": peers}, {"op": "seal", "size": size, "peers": 1})
        if share is not None:
            out.append(target(f"seal {size}: what {peers} peers cost against one", most * 100, (1 - share) * 100, "%",
                              at_most=True))
    return out


def worker_targets(runs):
    out = []
    cells = {"seal": {"op": "seal", "flows": 2}, "seal, one flow": {"op": "seal", "flows": 1}, "open": {"op": "open"}}
    for size, least in TWO_WORKERS.items():
        for name, cell in cells.items():
            cell = {**cell, "size": size, "peers": 1}
            times = ratio(runs, {**cell, "workers": 2}, {**cell, "workers": 1, "flows": 1})
            if times is not None and (name, size) not in NO_TARGET:
                out.append(target(f"{name} {size}: one tunnel, two workers against one", least, times, "x"))
    return out


def targets(data, kind):
    rows = next(iter(data["kernels"].values()))["results"]
    out = []
    if kind in TARGETS:
        out.append(target("data plane, seal 1420, one worker", TARGETS[kind][0],
                          find(rows, op="seal", size=1420)["gbps"], "Gbit/s"))
        out.append(target("data plane, seal 64, one worker", TARGETS[kind][1],
                          find(rows, op="seal", size=64)["mpps"], "Mpps"))
    for op in ("seal", "open"):
        out.append(target(f"all of the graph but the AEAD, {op} 64, one peer", NODES_BUDGET,
                          beside_aead(data, find(merged(data["peers"]), op=op, size=64, peers=1)), "cycles",
                          at_most=True))
    return out + peer_targets(data["peers"]) + worker_targets(data["workers"])


def headline(data):
    rows = next(iter(data["kernels"].values()))["results"]
    return [(f"Data plane, one worker, {op}, {size_name(size)}",
             f"{short(r['gbps'])} Gbit/s, {short(r['mpps'])} Mpps")
            for size in (64, 1420, "imix") for op in ("seal", "open")
            for r in [find(rows, op=op, size=size)]]
