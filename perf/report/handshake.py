# SPDX-License-Identifier: BSD-3-Clause
"""Handshakes: how many a core answers, and where the time goes."""

import os

from . import datapath
from .host import ROOT, Absent, run_json, short, spread, table, target

TITLE = "Handshakes"
BENCH = ROOT / "build/perf/bench_handshake"
PER_SECOND = 5000
ARRIVING = 1000
MOST_LOSS = {"own": 5, "shared": 15}
PLACES = {"own": "on a core of their own", "shared": "on the worker's core"}


def measure(context):
    threads = "1" if os.cpu_count() == 1 else f"1,{min(os.cpu_count(), 8)}"
    rounds = ("--rounds", "3" if context.quick else "9")
    data = run_json(BENCH, "--json", "--threads", threads, *rounds)
    data["among_data"] = among_data(rounds)
    return data


def among_data(rounds):
    """What they cost the data plane; empty without one."""
    for kernel in datapath.KERNELS if datapath.BENCH.exists() else ():
        try:
            return run_json(datapath.BENCH, "--json", "--handshakes", str(ARRIVING), "--aead", kernel, "--peers", "100",
                            "--sizes", "64,1420", *rounds)["results"]
        except Absent:
            continue
    return []


def pools(data):
    return [r for r in data["results"] if "threads" in r]


def cell(row):
    return spread(*(row[key] / 1e3 for key in ("ns", "ns_min", "ns_max")))


def text(data):
    whole = data["results"][0]
    out = [f"A responder takes {cell(whole)} µs for a handshake in one thread: {whole['per_second']:.0f} a second; "
           f"medians of {data['rounds']} rounds (lowest–highest). What that is made of:", ""]
    out += table(["step", "µs", "share"],
                 [[r["op"], cell(r), f"{r['ns'] / whole['ns'] * 100:.0f} %"] for r in data["steps"]])
    out += ["As jobs of the pool, lanes and all; by the CPU time of the whole process:", ""]
    out += table(["threads", "handshakes a CPU second", "a second by the clock"],
                 [[r["threads"], f"{r['per_cpu_second']:.0f} ({r['per_cpu_second_min']:.0f}–"
                   f"{r['per_cpu_second_max']:.0f})", f"{r['per_second']:.0f}"] for r in pools(data)])
    rows = [r for r in data["results"][1:] if "threads" not in r]
    out += ["One by one, beside what else could be used:", ""]
    out += table(["primitive", "", "µs"], [[r["op"], r["impl"], cell(r)] for r in rows])
    return out + among_lines(data)


def among_lines(data):
    if not data["among_data"]:
        return []
    out = [f"{ARRIVING} handshakes a second arrive among the data of one worker and are answered the whole way, control "
           "loop and jobs on another core or on the worker's; windows with and without them take turns:", ""]
    return out + table(
        ["", "loop and jobs", "Mpps without", "Mpps with", "data lost to them", "answered"],
        [[f"{r['op']}, {r['size']} B", PLACES[r["placement"]], short(r["plain_mpps"]), short(r["loaded_mpps"]),
          f"{r['loss_percent']:.1f} % ({r['loss_percent_min']:.1f}–{r['loss_percent_max']:.1f})",
          f"{r['answered'] * 100:.0f} %"] for r in data["among_data"]])


def plots(_data):
    return {}


def targets(data, _kind):
    return [target("responder's handshakes in the pool, for each CPU second", PER_SECOND,
                   pools(data)[0]["per_cpu_second"])] + [
        target(f"{r['op']} {r['size']}: data lost to {ARRIVING} handshakes a second {PLACES[r['placement']]}",
               MOST_LOSS[r["placement"]], r["loss_percent"], "%", at_most=True) for r in data["among_data"]]


def headline(data):
    return [("Handshakes, responder, one core", f"{pools(data)[0]['per_cpu_second']:.0f} a second")]
