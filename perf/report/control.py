# SPDX-License-Identifier: BSD-3-Clause
"""The control server under many nodes (perf/control.py measures)."""

import os
import sys

from .host import ROOT, Absent, run_json, short, table, target

TITLE = "Control server, on one core"

# Headscale 0.29.3, driven by Tailscale's client code, on one core of Emerald Rapids at 2.1 GHz: another machine.
JOIN = {100: ("18.5 s", 1), 500: ("never (more than 115 s)", None), 1000: ("", 5), 10000: ("", 60)}
RECONNECT = {100: ("3.0 s", None), 500: ("16 s", 0.5), 1000: ("", 2), 10000: ("", 60)}
LATENCY = {1000: (30, 100), 10000: (None, 250)}
ALONE_US, TOGETHER_US = 8, 1
# The 8 were set where a send costs the kernel 4.4; what is left is a server's own part, whatever a send costs here.
OWN_US = 3.6
REGISTRATIONS = 2000
RECORDS = 1.2
NODE_KIB = 32
IDLE_SHARE = 0.002
LIST_S = 1


def measure(context):
    if (os.cpu_count() or 1) < 2:
        raise Absent("the server and the nodes need a core each")
    quick = ["--nodes", "100", "--only", "floor,changes", "--rounds", "10"] if context.quick else []
    return run_json(sys.executable, ROOT / "perf/control.py", "--json", *quick, timeout=1800)


def wanted(limit, unit="s"):
    return "" if limit is None else f"≤ {limit:g} {unit}"


def milliseconds(row):
    return f"{short(row['p50_ms'])} / {short(row['p99_ms'])} ms"


def own_us(r):
    return r["alone"]["cpu_us_per_receiver"] - r["floor_us"]


def rows_of(r):
    n = r["n"]
    headscale, limit = JOIN.get(n, ("", None))
    yield f"{n} join, until each knows all others", headscale, wanted(limit), f"{short(r['join']['seconds'])} s"
    yield (f"{n} join: full records sent / least possible", "1.9 to 4.2", f"≤ {RECORDS}",
           f"{r['join']['records_per_minimum']:.2f}")
    if "reconnect" in r:
        headscale, limit = RECONNECT.get(n, ("", None))
        yield f"{n} reconnect, after kill -9 of the server", headscale, wanted(limit), f"{short(r['reconnect']['seconds'])} s"
        if n >= 10000:
            yield (f"{n} `nodes list` meanwhile", "", wanted(LIST_S),
                   ", ".join(f"{short(t)} s" for t in r["reconnect"]["nodes_list_s"]))
    if "alone" in r:
        p50, p99 = LATENCY.get(n, (None, None))
        yield (f"{n} one change → last peer, p50 / p99", "650 / 1200 ms",
               " / ".join(f"{limit:g}" if limit else "–" for limit in (p50, p99)) + " ms" if p99 else "",
               milliseconds(r["alone"]))
        yield (f"{n} CPU per change and receiver, alone", "400 µs" if n == 500 else "", wanted(ALONE_US, "µs"),
               f"{short(r['alone']['cpu_us_per_receiver'])} µs")
        if "floor_us" in r:
            yield (f"{n} of that our own part, beside one send of the kernel's", "", wanted(OWN_US, "µs"),
                   f"{short(own_us(r))} µs beside {short(r['floor_us'])}")
        yield (f"{n} the same, twenty together", "", wanted(TOGETHER_US, "µs"),
               f"{short(r['together']['cpu_us_per_receiver'])} µs; last peer {milliseconds(r['together'])}")
    if "register" in r:
        yield (f"{n} registrations a CPU second, durable", "13", f"≥ {REGISTRATIONS}",
               f"{r['register']['per_cpu_s']:.0f}")
    if "idle" in r:
        yield (f"{n} memory a connected node, kernel's sockets aside", "about 650 KiB" if n == 500 else "",
               wanted(NODE_KIB, "KiB"), f"{r['idle']['bytes_per_node'] / 1024:.1f} KiB")
        if n == 1000:
            yield f"{n} idle", "0.2 % at 250", f"< {IDLE_SHARE * 100} %", f"{r['idle']['cpu_share'] * 100:.3f} %"


def text(data):
    out = ["tailplaned on core 0, all nodes on core 1, real sockets with Noise, HTTP/2 and zstd; Headscale 0.29.3 as "
           "measured on another machine (one core of Emerald Rapids at 2.1 GHz).", ""]
    out += table(["", "Headscale", "target", "here"], [row for r in data["results"] for row in rows_of(r)])
    out += ["Whose core was the limit:", ""]
    out += table(["", "seconds", "server, CPU s", "generator, CPU s", "MB", "server's peak, MiB"], [
        [f"{r['n']} {what}", short(r[what]["seconds"]), short(r[what]["cpu_s"]), short(r[what]["own_cpu_s"]),
         f"{r[what]['bytes'] / 1e6:.0f}", f"{r[what]['peak_bytes'] / 2**20:.0f}"]
        for r in data["results"] for what in ("join", "reconnect") if what in r])
    real = data.get("clients")
    if real and "absent" in real:
        out += [f"Not compared with Tailscale's own clients: {real['absent']}.", ""]
    elif real:
        made = real["generator"]
        out += [f"{real['n']} nodes of Tailscale's library (tsnet {real['version']}, one process on all cores) join in "
                f"{short(real['seconds'])} s and cost the server {real['cpu_s']:.3f} s of CPU, with "
                f"{real['records_per_minimum']:.2f} times the fewest records; the generator's {real['n']} join in "
                f"{short(made['seconds'])} s for {made['cpu_s']:.3f} s: theirs come one by one, so that less is "
                "told at a time.", ""]
    return out


def plots(_data):
    return {}


def targets(data, _kind):
    rows = []

    def at_most(what, limit, measured, unit):
        if limit is not None:
            rows.append(target(what, limit, measured, unit, at_most=True))

    for r in data["results"]:
        n = r["n"]
        at_most(f"{n} nodes join", JOIN.get(n, (None, None))[1], r["join"]["seconds"], "s")
        at_most(f"{n} nodes join, records sent / least", RECORDS, r["join"]["records_per_minimum"], "")
        if "reconnect" in r:
            at_most(f"{n} nodes reconnect", RECONNECT.get(n, (None, None))[1], r["reconnect"]["seconds"], "s")
            if n >= 10000:
                at_most(f"{n} nodes, list under a storm", LIST_S, max(r["reconnect"]["nodes_list_s"]), "s")
        if "alone" in r:
            p50, p99 = LATENCY.get(n, (None, None))
            at_most(f"{n} nodes, a change told to the last, p50", p50, r["alone"]["p50_ms"], "ms")
            at_most(f"{n} nodes, a change told to the last, p99", p99, r["alone"]["p99_ms"], "ms")
        if "alone" in r and n >= 500:
            at_most(f"{n} nodes, CPU of a change a receiver", ALONE_US, r["alone"]["cpu_us_per_receiver"], "µs")
            if "floor_us" in r:
                at_most(f"{n} nodes, the same less one send of the kernel's", OWN_US, own_us(r), "µs")
            at_most(f"{n} nodes, the same, 20 together", TOGETHER_US, r["together"]["cpu_us_per_receiver"], "µs")
        if "register" in r and n >= 500:
            rows.append(target(f"{n} registrations a CPU second", REGISTRATIONS, r["register"]["per_cpu_s"]))
        if "idle" in r and n >= 500:
            at_most(f"{n} nodes, memory of each", NODE_KIB, r["idle"]["bytes_per_node"] / 1024, "KiB")
        if "idle" in r and n == 1000:
            at_most(f"{n} nodes, idle CPU", IDLE_SHARE * 100, r["idle"]["cpu_share"] * 100, "%")
    return rows


def headline(data):
    found = {r["n"]: r for r in data["results"]}
    return [(f"Control server, one core, {n} nodes", f"join in {short(r['join']['seconds'])} s, reconnect in "
             f"{short(r['reconnect']['seconds'])} s, one change told to all in {short(r['alone']['p50_ms'])} ms")
            for n, r in found.items() if n in (1000, 10000) and "reconnect" in r and "alone" in r]
