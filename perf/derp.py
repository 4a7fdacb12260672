#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our DERP relay beside Tailscale's derper in the same run, each on one core, its clients on the other.

    derp_load (core 1) ==== many connections ==== relay (core 0): tailplane or derper, in turns

Clients of perf/derp_load.c: one thread, batches of frames in each write and read. Each pair has 24
packets under way. Figures are for each second of CPU time that the relay's process takes, so that a
machine with other work spoils little; beside them stands what went through in the time.
"""

import argparse
import datetime
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/lib"))

from gobuild import go_program  # noqa: E402
from wait import wait_until  # noqa: E402

LOAD = ROOT / "build/perf/derp_load"
DERPER_VERSION = "1.102.5"
RELAY_CORE, LOAD_CORE = 0, 1
ADDRESS = "127.0.0.1"


def derper_program():
    stamps = "".join(f" -X tailscale.com/version.{name}Stamp={DERPER_VERSION}" for name in ("long", "short"))
    return go_program("tailscale.com/cmd/derper", f"v{DERPER_VERSION}", (1, 26, 0), f"tailscale-{DERPER_VERSION}",
                      ldflags="-s -w" + stamps)


def free_port():
    with socket.socket() as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]


def certificate(folder):
    key, cert = folder / f"{ADDRESS}.key", folder / f"{ADDRESS}.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", f"/CN={ADDRESS}", "-addext", f"subjectAltName=IP:{ADDRESS}", "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    return key, cert


class Relay:
    """One process; it ends with the block."""

    def __init__(self, tls, cores=(RELAY_CORE,)):
        self.tls, self.cores = tls, cores
        self.folder = Path(tempfile.mkdtemp(prefix="derp-bench-"))
        self.port, self.stun_port = free_port(), free_port()
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [str(part) for part in self.command()], stdout=self.log, stderr=self.log,
            env={**os.environ, **self.environment()}, preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        wait_until(self.listens, f"{type(self).__name__} listens", 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def environment(self):
        return {}

    def listens(self):
        with socket.create_connection((ADDRESS, self.port), timeout=1):
            return True

    def load(self, what, *options, timeout=300):
        """What derp_load tells of it."""
        tls = ["--tls"] if self.tls else []
        done = subprocess.run(
            [str(part) for part in [LOAD, *tls, "--relay", self.process.pid, *options, ADDRESS, self.port, what]],
            stdout=subprocess.PIPE, text=True, timeout=timeout, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
        if done.returncode != 0:
            raise SystemExit(f"derp_load {what}: {done.returncode}; the relay says:\n{(self.folder / 'log').read_text()[-2000:]}")
        return json.loads(done.stdout)


class Derper(Relay):
    def command(self):
        tls = []
        if self.tls:
            certificate(self.folder)
            tls = ["-certmode", "manual", "-certdir", self.folder]
        return [derper_program(), "-c", self.folder / "key", "-a", f"{ADDRESS}:{self.port}", "-http-port", "-1",
                "-stun-port", self.stun_port, "-hostname", ADDRESS, *tls]

    def environment(self):
        return {"GOMAXPROCS": str(len(self.cores))}


class Ideal(Relay):
    """Carries and does nothing else (perf/derp/ideal.h): what the generator and the kernel leave."""

    def command(self):
        pem = self.folder / "pem"
        if self.tls:
            pem.write_text("".join(path.read_text() for path in certificate(self.folder)))
        return [LOAD, "ideal", self.port, *([pem] if self.tls else [])]

    def listens(self):
        return "ready" in (self.folder / "log").read_text()


RELAYS = {"derper": Derper, "ideal": Ideal}


def relayed(relay, seconds, *options):
    got = relay.load("window", "--seconds", seconds, *options)
    return {"mpps_cpu": got["received"] / got["relay_cpu_s"] / 1e6, "gbps_cpu": got["bytes"] * 8 / got["relay_cpu_s"] / 1e9,
            "gbps": got["bytes"] * 8 / got["seconds"] / 1e9, "lost": got["lost"],
            "ceiling_gbps": got["bytes"] * 8 / got["own_cpu_s"] / 1e9, "ceiling_mpps": got["received"] / got["own_cpu_s"] / 1e6}


def overrun(relay, seconds):
    best = relay.load("window", "--seconds", seconds)
    got = relay.load("flood", "--seconds", seconds)
    rate = got["received"] / got["relay_cpu_s"]
    return {"share": rate / (best["received"] / best["relay_cpu_s"]), "offered_kpps": got["sent"] / got["seconds"] / 1e3,
            "delivered_kpps": got["received"] / got["seconds"] / 1e3}


# name: (TLS, what is done)
CELLS = {
    "1400-plain": (False, relayed),
    "1400-tls": (True, relayed),
    "1400-tls-record": (True, lambda relay, seconds: relayed(relay, seconds, "--one-a-record")),
    "64-plain": (False, lambda relay, seconds: relayed(relay, seconds, "--size", 64)),
    "64-tls": (True, lambda relay, seconds: relayed(relay, seconds, "--size", 64)),
    "overrun": (False, overrun),
}

# What the table shows: cell, value, what it is called, whether more is better.
ROWS = [
    ("1400-plain", "gbps_cpu", "1400 B, plain: Gbit/s", True),
    ("1400-tls", "gbps_cpu", "1400 B, TLS, many packets a record: Gbit/s", True),
    ("1400-tls-record", "gbps_cpu", "1400 B, TLS, a record for each packet: Gbit/s", True),
    ("64-plain", "mpps_cpu", "64 B, plain: Mpps", True),
    ("64-tls", "mpps_cpu", "64 B, TLS: Mpps", True),
    ("overrun", "share", "overrun: delivered, of the best rate", True),
]


def one_round(name, args):
    """Each cell has a relay of its own, so that none inherits another's memory."""
    cells = {}
    for cell in args.cells:
        tls, measure = CELLS[cell]
        with RELAYS[name](tls) as relay:
            cells[cell] = measure(relay, args.seconds)
    return cells


def median(rounds, cell, value):
    values = [r[cell][value] for r in rounds]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def times_better(one, other, more_is_better):
    above, below = (one, other) if more_is_better else (other, one)
    return above["median"] / below["median"] if below["median"] else None


def summary(results, cells):
    rows = []
    for cell, value, label, more in ROWS:
        if cell not in cells:
            continue
        row = {"cell": cell, "what": value, "label": label}
        row.update({name: median(rounds, cell, value) for name, rounds in results.items()})
        row["times_better"] = {name: times_better(row[name], row["derper"], more)
                               for name in results if name != "derper" and "derper" in results}
        rows.append(row)
    return rows


def ceiling_line(results, cells):
    """What the generator alone could do: its packets for each second of its own CPU time."""
    parts = []
    for cell in cells:
        values = [r[cell]["ceiling_gbps"] for rounds in results.values() for r in rounds if "ceiling_gbps" in r[cell]]
        if values:
            parts.append(f"{cell} {max(values):.1f}")
    return "The generator's own ceiling, Gbit/s for each second of its CPU time: " + ", ".join(parts) + "." if parts else ""


def command(*args):
    return subprocess.run(args, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()


def cpu_name():
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def machine():
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "kernel": platform.release(),
            "compiler": command("cc", "--version").split("\n", 1)[0], "openssl": command("openssl", "version"),
            "go": command("go", "version"), "derper": DERPER_VERSION,
            "commit": command("git", "rev-parse", "--short", "HEAD"), "date": datetime.date.today().isoformat()}


def report(about, rows, notes, args):
    names = args.relays
    others = [name for name in names if name != "derper"] if "derper" in names else []
    lines = [f"# DERP relay, {about['date']}", "",
             f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['compiler']}, {about['openssl']}, "
             f"commit {about['commit']}; derper {about['derper']} ({about['go']}). The relay on core {RELAY_CORE}, its clients "
             f"on core {LOAD_CORE}, 16 pairs with 24 packets under way each; for each second of the relay's CPU time; medians "
             f"of {args.rounds} interleaved rounds, {args.seconds} s each (lowest–highest).", "",
             "| | " + " | ".join(names + [f"{name}, times better" for name in others]) + " |",
             "| --- |" + " --- |" * (len(names) + len(others))]
    for row in rows:
        cells = ["{median:.3g} ({min:.3g}–{max:.3g})".format(**row[name]) for name in names]
        cells += ["" if row["times_better"][name] is None else f"{row['times_better'][name]:.2f}" for name in others]
        lines.append("| " + " | ".join([row["label"], *cells]) + " |")
    for note in notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--cells", default=",".join(CELLS), help="some of %(default)s")
    parser.add_argument("--relays", default=",".join(RELAYS), help="some of %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args()
    args.cells, args.relays = args.cells.split(","), args.relays.split(",")
    for chosen, known in ((args.cells, CELLS), (args.relays, RELAYS)):
        if unknown := set(chosen) - set(known):
            parser.error(f"no {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return args


def main():
    args = arguments()
    results = {name: [] for name in args.relays}
    for i in range(args.rounds):
        for name in args.relays:
            print(f"round {i + 1} of {args.rounds}: {name}", file=sys.stderr)
            results[name].append(one_round(name, args))
    about, rows = machine(), summary(results, args.cells)
    notes = [note for note in [ceiling_line(results, args.cells)] if note]
    if args.json:
        print(json.dumps({"machine": about, "results": rows, "rounds": results, "notes": notes}, indent=1))
    else:
        print(report(about, rows, notes, args))


if __name__ == "__main__":
    main()
