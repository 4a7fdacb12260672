# SPDX-License-Identifier: BSD-3-Clause
"""The kernels alone, beside libsodium, OpenSSL and ipsec-mb."""

from . import svg
from .host import ROOT, run_json, short, spread, table, target, unique

TITLE = "The AEAD alone"
BENCH = ROOT / "build/perf/bench_aead"

# Least ratio when sealing, by size; opening may be a tenth below unless it has a figure of its own.
TARGETS = {
    "AMD Zen 5": {
        ("avx512", "ipsec-mb-job-avx512"): {64: 8, 512: 2.5, 1420: 1.8, "imix": 2.2},
        ("avx2", "ipsec-mb-job-avx2"): {64: 5.5, 512: 2.2, 1420: 1.9, "imix": 1.8},
        ("avx512", "libsodium"): {64: 8, 512: 3.5, 1420: 4, "imix": 3.5},
    },
    "Intel Emerald Rapids": {
        ("avx512", "ipsec-mb-job-avx512"): {64: 4, 512: 2.1, 1420: 1.4, "imix": 1.5},
        ("avx2", "ipsec-mb-job-avx2"): {64: 3.5, 512: 1.7, 1420: 1.5, "imix": 1.4},
        ("avx512", "libsodium"): {64: 8, 512: 3.5, 1420: 4, "imix": 3.5},
    },
}
OPEN = {("Intel Emerald Rapids", "avx512", "ipsec-mb-job-avx512", 1420): 1.3}


def measure(context):
    quick = ["--rounds", "3"] if context.quick else []
    return {
        "sweep": run_json(BENCH, "--json", *quick),
        "bursts": run_json(BENCH, "--json", "--ops", "seal", "--cache", "hot", "--sizes", "64,1420",
                           "--batch", "1,2,4,8,16,32,64", *quick),
    }


def chosen(rows, **conditions):
    return [r for r in rows if all(r[key] == value for key, value in conditions.items())]


def cell_gbps(row):
    return spread(row["gbps"], row["gbps_min"], row["gbps_max"])


def size_table(rows, first, cell):
    """A row per implementation, a column per size."""
    sizes = unique(r["size"] for r in rows)
    lines = []
    for impl in unique(r["impl"] for r in rows):
        mine = {r["size"]: r for r in rows if r["impl"] == impl}
        lines.append([impl] + [cell(mine[s]) for s in sizes])
    return table([first] + [f"{s} B" if s != "imix" else "IMIX" for s in sizes], lines)


def ratio_table(rows):
    sizes = unique(r["size"] for r in rows)
    lines = []
    for impl, peer in unique((r["impl"], r["peer"]) for r in rows):
        mine = {r["size"]: r for r in rows if (r["impl"], r["peer"]) == (impl, peer)}
        lines.append([f"{impl} / {peer}"] +
                     [spread(mine[s]["ratio"], mine[s]["ratio_min"], mine[s]["ratio_max"]) for s in sizes])
    return table(["times as fast"] + [f"{s} B" if s != "imix" else "IMIX" for s in sizes], lines)


def burst_lines(data):
    rows = data["bursts"]["results"]
    batches = unique(r["batch"] for r in rows)
    out = ["### Bursts of other lengths, seal, hot, Gbit/s", ""]
    for size in unique(r["size"] for r in rows):
        lines = []
        for impl in unique(r["impl"] for r in rows):
            mine = {r["batch"]: r for r in chosen(rows, impl=impl, size=size)}
            lines.append([impl] + [short(mine[b]["gbps"]) for b in batches])
        out += table([f"{size} B, packets in a burst"] + batches, lines)
    return out


def text(data):
    sweep = data["sweep"]
    first = sweep["results"][0]
    versions = sweep["machine"]
    out = [f"Bursts of {first['batch']} packets under {first['keys']} keys, in place, medians of {sweep['rounds']} "
           "interleaved repetitions (lowest–highest). *Hot*: the same buffers again and again; *cold*: a pool of "
           "4096 buffers (9.4 MB) in random order. Gbit/s counts the text alone; cycles are of the core's clock, "
           "measured before and after each cell. IMIX: 64, 576 and 1420 B, 7 : 4 : 1 in random order. Ratios are "
           "taken repetition by repetition. "
           f"libsodium {versions['libsodium']}, {versions['openssl']}, ipsec-mb {versions['ipsec_mb']}.", ""]
    for cache in ("hot", "cold"):
        for op in ("seal", "open"):
            rows = chosen(sweep["results"], cache=cache, op=op)
            if not rows:
                continue
            out += [f"### {op.capitalize()}, {cache}", ""]
            out += size_table(rows, "Gbit/s", cell_gbps)
            out += ratio_table(chosen(sweep["ratios"], cache=cache, op=op))
            out += size_table(rows, "ns; cycles a packet",
                              lambda r: f"{short(r['ns_per_packet'])}; {r['cycles_per_packet']:.0f}")
    return out + burst_lines(data)


def plots(data):
    made = {}
    for op in ("seal", "open"):
        rows = chosen(data["sweep"]["results"], cache="hot", op=op)
        series = {}
        for r in rows:
            name = "IMIX" if r["size"] == "imix" else f"{r['size']} B"
            series.setdefault(r["impl"], {})[name] = (r["gbps"], r["gbps_min"], r["gbps_max"])
        made[f"aead-{op}"] = svg.bars(f"AEAD, {op}, one core, hot, bursts of 32, 32 keys", "text", "Gbit/s", series)
    for size in (64, 1420):
        series = {}
        for r in chosen(data["bursts"]["results"], size=size):
            series.setdefault(r["impl"], []).append((str(r["batch"]), r["gbps"]))
        names = [batch for batch, _gbps in next(iter(series.values()))]
        made[f"aead-bursts-{size}"] = svg.lines(f"AEAD by length of the burst, seal, {size} B", "packets in a burst",
                                                "Gbit/s", series, svg.Names(names))
    return made


def targets(data, kind):
    rows = []
    for (impl, peer), sizes in TARGETS.get(kind, {}).items():
        for op in ("seal", "open"):
            for size, least in sizes.items():
                found = chosen(data["sweep"]["ratios"], impl=impl, peer=peer, op=op, size=size, cache="hot")
                wanted = least if op == "seal" else OPEN.get((kind, impl, peer, size), round(least * 0.9, 2))
                if found:
                    rows.append(target(f"{op} {size}: {impl} / {peer}", wanted, found[0]["ratio"], "x"))
    return rows


def headline(data):
    rows = []
    results = data["sweep"]["results"]
    ours = {r["impl"] for r in data["sweep"]["ratios"]}
    best = max((r for r in results if r["impl"] in ours), key=lambda r: r["gbps"])["impl"]
    for size in (64, 1420, "imix"):
        cells = {r["impl"]: r for r in chosen(results, op="seal", size=size, cache="hot")}
        peers = max((r for impl, r in cells.items() if impl not in ours), key=lambda r: r["gbps"])
        name = "IMIX" if size == "imix" else f"{size} B"
        rows.append((f"AEAD, seal, {name} ({best})", f"{short(cells[best]['gbps'])} Gbit/s; "
                     f"best of libsodium, OpenSSL, ipsec-mb: {short(peers['gbps'])} ({peers['impl']})"))
    return rows
