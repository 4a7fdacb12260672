# SPDX-License-Identifier: BSD-3-Clause
"""Lossless rates, latency below them, and what overload leaves: the data plane between ports in memory."""

from . import datapath, svg
from .host import Absent, run_json, short, table, target

TITLE = "Lossless rates and latency"
PERCENTILES = (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"), ("p9999_us", "p99.99"))
HALF_LOAD_P999_US = 50
IDLE_P50_US = 10
OVERLOAD_SHARE = 0.9


def measure(context):
    if not datapath.BENCH.exists():
        raise Absent("built without the data plane")
    sizes = "1420" if context.quick else "64,1420,imix"
    for kernel in datapath.KERNELS:
        try:
            return run_json(datapath.BENCH, "--json", "--search", "--aead", kernel, "--peers", "100", "--sizes", sizes)
        except Absent:
            continue
    raise Absent("no kernel runs here")


def percentiles(figures):
    return [short(figures[key]) for key, _name in PERCENTILES]


def load_name(load):
    return "idle, 10 kpps" if load["share"] == 0 else f"{load['share'] * 100:.0f} %"


def cell_name(row):
    return f"{row['op']}, {datapath.size_name(row['size'])}"


def text(data):
    out = ["One worker, 100 peers, between ports in memory. *NDR*: the highest rate at which most trials of 60 ms lose "
           "nothing; *PDR*: at most 0.5 %; found as MLRsearch does. What the host of a virtual machine takes away "
           "counts. *Overload*: what is delivered when twice the NDR is offered, in times of what is when there is always "
           "one packet more, trial by trial in turns.", "",
           "Latency is one way, from the moment a packet is due to the moment it leaves, at a part of the NDR. Percentiles "
           "are the medians of 11 trials, which one bad trial does not decide; *of all* is p99.9 of all trials' packets "
           "together, which it does. In between, an *ideal worker* has the core: one that is as fast, only looks at "
           "the clock, and works out when packets would have left. What it is late the kernel and the host took, not the "
           "data plane; the targets hold for what is measured all the same.", ""]
    out += table(["", "NDR", "PDR", "best, Mpps", "overload"],
                 [[cell_name(r), *(f"{short(r[g + '_mpps'])} Mpps, {short(r[g + '_gbps'])} Gbit/s" for g in ("ndr", "pdr")),
                   short(r["best_mpps"]), f"{r['overload_share'] * 100:.0f} %"] for r in data["results"]])
    names = [name for _key, name in PERCENTILES]
    head = ["µs", "load", *names, "p99.9 of all", *(f"ideal worker, {name}" for name in names[2:]), "p99.9 of all"]
    return out + table(head, [[cell_name(r), load_name(load), *percentiles(load), short(load["all"]["p999_us"]),
                               *percentiles(load["ideal"])[2:], short(load["ideal_all"]["p999_us"])]
                              for r in data["results"] for load in r["latency"]])


def plots(data):
    made = {}
    for r in data["results"]:
        if r["size"] != 1420:
            continue
        series = {load_name(load): [(name, load[key]) for key, name in PERCENTILES] for load in r["latency"]}
        values = [value for points in series.values() for _name, value in points]
        made[f"latency-{r['op']}"] = svg.lines(
            f"Latency, {cell_name(r)}, at parts of the lossless rate", "percentile", "µs, one way", series,
            svg.Names(name for _key, name in PERCENTILES), svg.Log(min(values), max(values)))
    return made


def targets(data, _kind):
    out = []
    for r in data["results"]:
        loads = {load["share"]: load for load in r["latency"]}
        out.append(target(f"{cell_name(r)}: p99.9 at half the lossless rate (an ideal worker: "
                          f"{short(loads[0.5]['ideal']['p999_us'])} µs)", HALF_LOAD_P999_US,
                          loads[0.5]["p999_us"], "µs", at_most=True))
        out.append(target(f"{cell_name(r)}: p50 when idle", IDLE_P50_US, loads[0]["p50_us"], "µs", at_most=True))
        out.append(target(f"{cell_name(r)}: delivered of the best at twice the lossless rate", OVERLOAD_SHARE,
                          r["overload_share"]))
    return out


def headline(data):
    out = []
    for r in data["results"]:
        if r["size"] == 1420:
            half = next(load for load in r["latency"] if load["share"] == 0.5)
            out.append((f"Latency one way, {cell_name(r)}, at half the lossless {short(r['ndr_gbps'])} Gbit/s",
                        f"p50 {short(half['p50_us'])} µs, p99.9 {short(half['p999_us'])} µs"))
    return out
