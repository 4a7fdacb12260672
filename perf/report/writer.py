# SPDX-License-Identifier: BSD-3-Clause
"""From the measured data to the files of perf/results, and to the README's quotation of them."""

import json
import re

from .host import ROOT, short, slug, table

RESULTS = ROOT / "perf/results"
BEGIN = "<!-- perf: from perf/results by `./dev bench --readme` -->"
END = "<!-- perf: end -->"


def target_lines(targets):
    if not targets:
        return ["No targets are set for this kind of machine.", ""]
    held = sum(t["held"] for t in targets)
    rows = [[t["what"], f"{'≤' if t['at_most'] else '≥'} {t['wanted']:g} {t['unit']}".strip(),
             f"{short(t['measured'])} {t['unit']}".strip(), "held" if t["held"] else "**missed**"] for t in targets]
    return [f"{held} of {len(targets)} held.", ""] + table(["target", "wanted", "measured", ""], rows)


def machine_lines(machine, minutes):
    clock = f"{machine['clock_ghz']:.2f} GHz measured" if machine.get("clock_ghz") else "clock not measured"
    ticks = f" (TSC {machine['ticks_ghz']:.3f} GHz)" if machine.get("ticks_ghz") else ""
    changed = " with changes that are not committed" if machine["changed"] else ""
    where = "a virtual machine, " if machine["virtual"] else ""
    stolen = f"; the host took {machine['stolen_s']:.1f} s of CPU time from it" if machine["virtual"] else ""
    return [f"{machine['kind']} ({machine['cpu']}), {where}{machine['cpus']} cores, {clock}{ticks}. "
            f"Linux {machine['kernel']}; {machine['compiler']}; commit {machine['commit']}{changed}. "
            f"Load average before: {machine['load_before']}; the run took {minutes:.0f} minutes{stolen}.", ""]


def save(report, subjects):
    """Writes DATE-CPU.md, .json and its charts; earlier reports of the same kind of machine go. One subject's
    own report ("part") is DATE-CPU-SUBJECT, beside the whole one."""
    machine = report["machine"]
    name = slug(machine["kind"]) + (f"-{report['part']}" if report.get("part") else "")
    base = f"{machine['date']}-{name}"
    RESULTS.mkdir(exist_ok=True)
    for old in RESULTS.iterdir():
        if re.fullmatch(rf"\d{{4}}-\d\d-\d\d-{name}(\.md|\.json|-[a-z0-9-]+\.svg)", old.name):
            old.unlink()
    out = [f"# {machine['kind']}, {machine['date']}", "", *machine_lines(machine, report["minutes"]),
           "## Targets", "", *target_lines(report["targets"])]
    for subject, module in subjects.items():
        if subject in report["absent"]:
            out += [f"## {module.TITLE}", "", f"Not measured: {report['absent'][subject]}.", ""]
        if subject not in report["subjects"]:
            continue
        out += [f"## {module.TITLE}", ""]
        for plot, drawing in module.plots(report["subjects"][subject]).items():
            (RESULTS / f"{base}-{plot}.svg").write_text(drawing)
            out += [f"![{plot}]({base}-{plot}.svg)", ""]
        out += module.text(report["subjects"][subject])
    (RESULTS / f"{base}.md").write_text("\n".join(out).rstrip() + "\n")
    (RESULTS / f"{base}.json").write_text(json.dumps(report, indent=1) + "\n")
    return RESULTS / f"{base}.md"


def committed(part=None):
    """The newest report of each kind of machine, newest first; `part`: of that subject alone."""
    newest = {}
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text())
        if "subjects" in report and report.get("part") == part:
            newest[report["machine"]["kind"]] = (path, report)
    return sorted(newest.values(), key=lambda entry: entry[0].name, reverse=True)


def readme_section(subjects):
    lines = [BEGIN, ""]
    for path, report in committed():
        machine = report["machine"]
        lines += [f"Measured on {machine['date']} on {machine['kind']} at {machine['clock_ghz']:.2f} GHz, commit "
                  f"{machine['commit']}; everything in [{path.stem}](perf/results/{path.stem}.md):", ""]
        rows = []
        for subject, module in subjects.items():
            if subject in report["subjects"]:
                rows += module.headline(report["subjects"][subject])
        lines += table(["", ""], rows)
    for part, module in subjects.items():
        for path, report in committed(part):
            machine = report["machine"]
            lines += [f"On {machine['date']} on {machine['kind']}, commit {machine['commit']}; everything in "
                      f"[{path.stem}](perf/results/{path.stem}.md):", "",
                      *table(["", ""], module.headline(report["subjects"][part]))]
    if len(lines) == 2:
        lines += ["Nothing measured yet.", ""]
    return "\n".join(lines + [END])


def readme_refresh(subjects):
    readme = ROOT / "README.md"
    before, _begin, rest = readme.read_text().partition(BEGIN)
    _old, _end, after = rest.partition(END)
    readme.write_text(before + readme_section(subjects) + after)
