# SPDX-License-Identifier: BSD-3-Clause
"""Our DERP relay beside derper (perf/derp.py measures)."""

import sys

from .host import ROOT, run_json, short, spread, table, target

TITLE = "DERP relay, beside derper"

# Times better than derper, on any machine.
TIMES = {("1400-plain", "gbps_cpu"): 3, ("1400-tls", "gbps_cpu"): 3, ("1400-tls-record", "gbps_cpu"): 2,
         ("64-plain", "mpps_cpu"): 4, ("64-tls", "mpps_cpu"): 4, ("setup-tls", "per_cpu_s"): 2,
         ("setup-plain", "per_cpu_s"): 3, ("stun-link", "per_cpu_s"): 1.5, ("stun-port", "per_cpu_s"): 10}
AT_LEAST = {("overrun", "share"): 0.9}
AT_MOST = {("memory-plain", "kib"): 6, ("idle-tls", "kib"): 16, ("idle-tls", "core_percent"): 0.5,
           ("latency", "p50_us"): 130, ("loaded", "p99_us"): 500, ("loaded", "lost_percent"): 0,
           ("stall-plain", "closed_after_s"): 3, ("stall-tls", "closed_after_s"): 7.5,
           ("stall-plain", "hidden_kib"): 512, ("stall-tls", "hidden_kib"): 512}
# Two loops, each with the same share of a core as the one; and beside one that has as much as the two.
TWO_LOOPS = {"1400-plain-2x30": "1400-plain-30", "1400-tls-2x30": "1400-tls-30"}
TWO_LOOPS_TIMES = 1.7
SAME_TIME = {"1400-plain-2x30": "1400-plain-60", "1400-tls-2x30": "1400-tls-60"}
HEADLINES = (("1400-plain", "gbps_cpu"), ("1400-tls", "gbps_cpu"), ("64-plain", "mpps_cpu"), ("setup-tls", "per_cpu_s"),
             ("idle-tls", "kib"))


def measure(context):
    quick = ["--quick", "--rounds", "1", "--seconds", "1"] if context.quick else []
    return run_json(sys.executable, ROOT / "perf/derp.py", "--json", *quick, timeout=3600)


def text(data):
    names = list(data["rounds"])
    others = [name for name in names if name != "derper"] if "derper" in names else []
    how = data["how"]
    rows = []
    for r in data["results"]:
        cells = [spread(*(r[name][key] for key in ("median", "min", "max"))) if r[name] else "" for name in names]
        times = [r["times_better"][name] for name in others]
        rows.append([r["label"], *cells, *("" if t is None else f"{t:.2f}" for t in times)])
    return [f"Throughput, connections and STUN are for each second of the relay's CPU time. derper {how['derper']} "
            f"({how['go']}), {how['openssl']}. The relay on core {how['relay_core']}, its clients on core {how['load_core']}; "
            "16 pairs of clients with 24 packets under way each; medians of "
            f"{how['rounds']} interleaved rounds, {how['seconds']} s each (lowest–highest); STUN from another machine and "
            f"connections with TLS by Tailscale's clients {how['near_times']} times as many. *ideal* trusts its clients and only "
            "carries: what the kernel, OpenSSL and the generator leave. One loop or two with a share of a core: rates of a relay each of "
            "whose loops has so much CPU time and no more (derper: its threads together); two loops and two threads of clients "
            "share both cores, each loop with 16 pairs, of which half have an end on either loop, as chance would have it. "
            "STUN: 64 requests under way; *ideal* is an echo of datagrams. From another machine (a network namespace), requests come "
            "over a veth pair, and answers leave by an interface that counts them and throws them away, so the relay pays for its own "
            "system calls alone, as with a network card. Over loopback it delivers each answer into its client's socket, too, which costs "
            "all the same and draws them together; the client looks for answers 16 000 times a second, whoever gives them. On an Ethernet port it is ours alone, "
            "beside derper's sockets: one worker of the data plane, and DPDK's pcap driver, which copies requests out of memory. "
            "Delays and the stalled reader: both programs before all other work of the machine.", "",
            *table(["", *names, *(f"{name}, times better" for name in others)], rows), *data["notes"], ""]


def plots(_data):
    return {}


def targets(data, _kind):
    rows = []
    medians = {(r["cell"], r["what"]): r["tailplane"]["median"] for r in data["results"] if r.get("tailplane")}
    for r in data["results"]:
        key, ours = (r["cell"], r["what"]), r.get("tailplane")
        if not ours:
            continue
        if key in TIMES and r["times_better"].get("tailplane") is not None:
            rows.append(target(f"{r['label']}, times better than derper", TIMES[key], r["times_better"]["tailplane"], "x"))
        if one := medians.get((TWO_LOOPS.get(r["cell"]), r["what"])):
            rows.append(target(f"{r['label']}, times what one of them does", TWO_LOOPS_TIMES, medians[key] / one, "x"))
        if one := medians.get((SAME_TIME.get(r["cell"]), r["what"])):
            rows.append(target(f"{r['label']}, of what one with 60 % does", TWO_LOOPS_TIMES / 2, medians[key] / one))
        if key in AT_LEAST:
            rows.append(target(r["label"], AT_LEAST[key], ours["median"]))
        if key in AT_MOST:
            rows.append(target(r["label"], AT_MOST[key], ours["median"], at_most=True))
    return rows


def headline(data):
    found = {(r["cell"], r["what"]): r for r in data["results"]}
    return [(f"DERP relay, {r['label']}{' a CPU second' if 'cpu' in r['what'] else ''}",
             f"{short(r['tailplane']['median'])}; derper: {short(r['derper']['median'])} "
             f"({r['times_better']['tailplane']:.2f} times better)")
            for r in map(found.get, HEADLINES) if r and r.get("tailplane") and r["times_better"].get("tailplane")]
