# SPDX-License-Identifier: BSD-3-Clause
"""Handshakes: how many a core answers, and where the time goes."""

import os

from .host import ROOT, run_json, spread, table, target

TITLE = "Handshakes"
BENCH = ROOT / "build/perf/bench_handshake"
PER_SECOND = 5000


def measure(context):
    threads = "1" if os.cpu_count() == 1 else f"1,{min(os.cpu_count(), 8)}"
    return run_json(BENCH, "--json", "--threads", threads, "--rounds", "3" if context.quick else "9")


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
    return out + table(["primitive", "", "µs"], [[r["op"], r["impl"], cell(r)] for r in rows])


def plots(_data):
    return {}


def targets(data, _kind):
    return [target("responder's handshakes in the pool, for each CPU second", PER_SECOND,
                   pools(data)[0]["per_cpu_second"])]


def headline(data):
    return [("Handshakes, responder, one core", f"{pools(data)[0]['per_cpu_second']:.0f} a second")]
