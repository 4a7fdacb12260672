# SPDX-License-Identifier: BSD-3-Clause
"""The machine a report is about, and the small things that all subjects share."""

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# (vendor, family): {model: name}; None: every model. What a virtual machine calls itself says less.
KINDS = {
    ("AuthenticAMD", 26): {None: "AMD Zen 5"},
    ("AuthenticAMD", 25): {**dict.fromkeys([*range(0x10, 0x20), *range(0x60, 0x80), *range(0xA0, 0xB0)],
                                           "AMD Zen 4"), None: "AMD Zen 3"},
    ("AuthenticAMD", 23): {None: "AMD Zen 1 or 2"},
    ("GenuineIntel", 6): {207: "Intel Emerald Rapids", 143: "Intel Sapphire Rapids", 106: "Intel Ice Lake",
                          85: "Intel Skylake or Cascade Lake", 173: "Intel Granite Rapids"},
}


class Absent(Exception):
    """This part cannot be measured here; the reason is for people."""


def cpuinfo():
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines():
        key, _colon, value = line.partition(":")
        fields[key.strip()] = value.strip()
    return fields


def kind():
    """"AMD Zen 5", or what the processor calls itself."""
    fields = cpuinfo()
    try:
        models = KINDS[fields["vendor_id"], int(fields["cpu family"])]
        model = int(fields["model"])
        return models.get(model) or models[None]
    except KeyError:
        return fields.get("model name") or platform.machine()


def slug(text):
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def stolen_seconds():
    """What the host took from this virtual machine's cores since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def command(*args):
    return subprocess.run(args, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()


def describe():
    return {
        "kind": kind(),
        "cpu": cpuinfo().get("model name", platform.machine()),
        "cpus": os.cpu_count(),
        "virtual": "hypervisor" in cpuinfo().get("flags", "").split(),
        "kernel": platform.release(),
        "compiler": command("cc", "--version").split("\n", 1)[0],
        "commit": command("git", "rev-parse", "--short=12", "HEAD"),
        "changed": bool(command("git", "status", "--porcelain", "--untracked-files=no", "--", ":!perf/results")),
        "date": datetime.date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def run_json(*args, timeout=600):
    """The JSON object that a program prints; what it says on stderr goes on to the terminal."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, cwd=ROOT, timeout=timeout, check=False)
    if done.returncode != 0:
        raise Absent(f"{Path(args[0]).name} ended with {done.returncode}")
    return json.loads(done.stdout)


def target(what, wanted, measured, unit="", at_most=False):
    held = measured <= wanted if at_most else measured >= wanted
    return {"what": what, "wanted": wanted, "measured": round(measured, 4), "unit": unit,
            "at_most": at_most, "held": held}


def table(head, rows):
    lines = ["| " + " | ".join(map(str, head)) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def unique(values):
    return list(dict.fromkeys(values))


def short(value):
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(median, low, high):
    return f"{short(median)} ({short(low)}–{short(high)})"
