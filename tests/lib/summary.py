#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what the suites reported, test by test, and says it.

  summary.py has-meson-suite BUILD SUITE   exit 0 when the build has meson tests of that suite
  summary.py suite RESULTS SUITE           one line for a suite, with its failures
  summary.py total RESULTS                 all skips with their reasons, then the closing line

RESULTS holds SUITE.meson.json (meson's log, one JSON object a line), SUITE.pytest.xml (JUnit), and
SUITE.broken (a reason) when the runner itself failed, which counts as one failed test.
A C program counts as the cmocka or TAP tests that it reported, or as one test when it reported none.
"""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    passed: int = 0
    failed: list = field(default_factory=list)  # (name, text)
    skipped: list = field(default_factory=list)  # (name, reason)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


CMOCKA = re.compile(r"^\[ +(RUN|OK|SKIPPED|FAILED) +\] (.*)$")
TAP = re.compile(r"^(not )?ok\b[ \d]*(?:- )?(.*)$")


def cmocka(program, text, tally):
    """Between RUN and the verdict a test may print, say why it skips. No verdict: it failed."""
    name, said, found = None, [], False
    for line in text.splitlines():
        m = CMOCKA.match(line)
        word = m.group(1) if m else None
        if m is None and not line.startswith("[======"):
            said.append(line)
            continue
        if word == "RUN" or m is None:
            if name:
                tally.failed.append((f"{program}: {name}", "\n".join(said)))
            name, said, found = (m.group(2), [], True) if m else (None, [], found)
        elif name == m.group(2):
            if word == "OK":
                tally.passed += 1
            elif word == "SKIPPED":
                tally.skipped.append((f"{program}: {name}", " ".join(said).strip() or "no reason given"))
            else:
                tally.failed.append((f"{program}: {name}", "\n".join(said)))
            name = None
    if name:
        tally.failed.append((f"{program}: {name}", "\n".join(said)))
    return found


def tap(program, text, tally):
    found = False
    for line in text.splitlines():
        m = TAP.match(line)
        if m is None:
            continue
        found = True
        bad, rest = m.groups()
        name, _, directive = rest.partition("# ")
        if directive.upper().startswith("SKIP") or rest.startswith("# SKIP"):
            tally.skipped.append((f"{program}: {name.strip()}", directive[4:].strip() or "no reason given"))
        elif bad:
            tally.failed.append((f"{program}: {name.strip()}", ""))
        else:
            tally.passed += 1
    return found


def meson_program(entry):
    """One program of meson's log."""
    tally = Tally()
    program = entry["name"].split(" / ")[-1]
    out, err = entry.get("stdout", ""), entry.get("stderr", "")
    whole = "\n".join(part for part in (out, err) if part)
    result = entry["result"]
    if result == "SKIP":
        reason = (whole.strip().splitlines() or ["no reason given"])[-1]
        tally.skipped.append((program, reason))
        return tally
    found = cmocka(program, out, tally) or tap(program, out, tally)
    ok = result in ("OK", "EXPECTEDFAIL")
    if ok and not found:
        tally.passed = 1
    if not ok:
        text = f"{result}, exit {entry.get('returncode')}\n{whole}"
        tally.failed = [(name, "") for name, _ in tally.failed] or [(program, "")]
        tally.failed[0] = (tally.failed[0][0], text)
    return tally


def meson_log(path):
    tally = Tally()
    for line in path.read_text().splitlines():
        if line.strip():
            tally.add(meson_program(json.loads(line)))
    return tally


def junit(path):
    """A test that failed and whose clean-up failed too stands there twice, and counts once."""
    tally = Tally()
    cases = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        cases.setdefault(f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}", []).append(case)
    for name, parts in cases.items():
        skips = [s for part in parts for s in part.findall("skipped")]
        if any(part.find(bad) is not None for part in parts for bad in ("failure", "error")):
            tally.failed.append((name, ""))  # pytest has shown the text already
        elif skips:
            tally.skipped.append((name, skips[0].get("message") or "no reason given"))
        else:
            tally.passed += 1
    return tally


def suite_tally(results, suite):
    tally = Tally()
    log, xml = results / f"{suite}.meson.json", results / f"{suite}.pytest.xml"
    broken = results / f"{suite}.broken"
    if log.exists():
        tally.add(meson_log(log))
    if xml.exists():
        tally.add(junit(xml))
    if broken.exists():
        tally.failed.append(("runner", broken.read_text().strip()))
    return tally


def say_suite(results, suite):
    tally = suite_tally(results, suite)
    (results / f"{suite}.ran").touch()
    for name, text in tally.failed:
        print(f"FAILED {name}")
        for line in text.splitlines()[-80:]:
            print(f"    {line}")
    print(f"    {suite}: {tally.line()}", flush=True)


def say_total(results):
    total = Tally()
    for ran in sorted(results.glob("*.ran")):
        tally = suite_tally(results, ran.stem)
        for name, reason in tally.skipped:
            print(f"skipped {ran.stem} {name}: {reason}")
        for name, _ in tally.failed:
            print(f"FAILED {ran.stem} {name}")
        total.add(tally)
    print(total.line(), flush=True)
    return 1 if total.failed or not total.passed else 0


def has_meson_suite(build, suite):
    if not (Path(build) / "build.ninja").exists():
        return 1
    out = subprocess.run(
        ["meson", "introspect", "--tests", build], check=True, capture_output=True, text=True
    ).stdout
    names = {name.split(":")[-1] for test in json.loads(out) for name in test["suite"]}
    return 0 if suite in names else 1


def main(argv):
    if argv[:1] == ["has-meson-suite"]:
        return has_meson_suite(argv[1], argv[2])
    if argv[:1] == ["suite"]:
        return say_suite(Path(argv[1]), argv[2])
    if argv[:1] == ["total"]:
        return say_total(Path(argv[1]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
