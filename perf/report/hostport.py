# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways over the host port, beside two wireguard-go (perf/hostport.py measures)."""

import os
import sys

from .host import ROOT, Absent, run_json, short, spread, table, target

TITLE = "Host port, beside wireguard-go"

# Times better than wireguard-go, on any machine; None: absolute.
TARGETS = {("tcp1", "cpu_s_per_gb"): 2.5, ("tcp4", "cpu_s_per_gb"): 2.5, ("tcp1", "gbps"): 2, ("tcp4", "gbps"): 2,
           ("udp", "kpackets_per_cpu_s"): 2.5, ("udp", "best_kpps"): 2, ("small", "kpackets_per_cpu_s"): 3}
SHARE_UNDER_OVERLOAD = 0.9
HEADLINES = (("tcp1", "gbps"), ("tcp1", "cpu_s_per_gb"), ("small", "kpackets_per_cpu_s"))


def measure(context):
    if os.geteuid() != 0:
        raise Absent("network namespaces need root")
    quick = ["--rounds", "1", "--seconds", "1"] if context.quick else []
    return run_json(sys.executable, ROOT / "perf/hostport.py", "--json", *quick)


def figures(row, who):
    return spread(*(row[who][key] for key in ("median", "min", "max")))


def text(data):
    rounds = len(next(iter(data["rounds"].values())))
    rows = [[r["label"], figures(r, "tailplane"), figures(r, "wireguard-go"),
             "" if r["times_better"] is None else f"{r['times_better']:.2f}"] for r in data["results"]]
    return [f"Both gateways and what loads them on this machine, TCP cubic, MTU 1420; medians of {rounds} interleaved "
            "rounds (lowest–highest).", ""] + table(["", "tailplane", "wireguard-go", "times better"], rows) + [
                line for note in data.get("notes", []) for line in ("", note)]


def plots(_data):
    return {}


def targets(data, _kind):
    rows = []
    for r in data["results"]:
        wanted = TARGETS.get((r["test"], r["what"]))
        if wanted and r["times_better"] is not None:
            rows.append(target(f"{r['label']}, times better than wireguard-go", wanted, r["times_better"], "x"))
        if r["what"] == "overload_share":
            rows.append(target(f"host port, {r['label']}", SHARE_UNDER_OVERLOAD, r["tailplane"]["median"]))
    return rows


def headline(data):
    found = {(r["test"], r["what"]): r for r in data["results"]}
    return [(f"Host port, {r['label']}", f"{short(r['tailplane']['median'])}; wireguard-go: "
             f"{short(r['wireguard-go']['median'])} ({r['times_better']:.2f} times better)")
            for r in map(found.get, HEADLINES) if r and r["times_better"] is not None]
