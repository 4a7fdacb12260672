# SPDX-License-Identifier: BSD-3-Clause
"""What the report of perf/run says, and that the README quotes what is committed."""

import runpy
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "perf"))

from report import derp, host, svg, writer  # noqa: E402

SUBJECTS = runpy.run_path(str(ROOT / "perf/run"))["SUBJECTS"]


def test_readme_quotes_the_committed_results():
    assert writer.readme_section(SUBJECTS) in (ROOT / "README.md").read_text(), "run ./dev bench --readme"


def test_committed_charts_exist():
    for path, report in writer.committed():
        for subject, data in report["subjects"].items():
            for plot in SUBJECTS[subject].plots(data):
                assert (path.parent / f"{path.stem}-{plot}.svg").exists()


def test_bars_are_svg():
    drawing = svg.bars("a < b", "x", "y", {"one": {"64 B": (2.0, 1.5, 2.5), "IMIX": (7.0, 6.0, 8.0)}})
    root = ElementTree.fromstring(drawing)
    bars = [e for e in root if e.tag.endswith("rect") and "x" in e.keys() and e.get("width") != "12"]
    assert len(bars) == 2
    assert float(bars[1].get("height")) > 3 * float(bars[0].get("height"))
    assert "a < b" in "".join(root.itertext())


def test_lines_on_logarithmic_axes():
    drawing = svg.lines("t", "x", "y", {"one": [(1, 10.0), (1000, 10000.0)]}, svg.Log(1, 1000), svg.Log(10, 10000))
    line = next(e for e in ElementTree.fromstring(drawing) if e.tag.endswith("polyline"))
    first, last = (tuple(map(float, p.split(","))) for p in line.get("points").split())
    assert first == (svg.LEFT, svg.HEIGHT - svg.BOTTOM) and last == (svg.WIDTH - svg.RIGHT, svg.TOP)


def test_targets_either_way():
    assert host.target("t", 2, 2.1)["held"] and not host.target("t", 2, 1.9)["held"]
    assert host.target("t", 50, 49, at_most=True)["held"] and not host.target("t", 50, 51, at_most=True)["held"]


def relay_data(ours, theirs, missing=None):
    """One row of perf/derp.py, as it is when a relay was not measured too."""
    def series(value):
        return value and {"median": value, "min": value, "max": value}

    row = {"cell": "64-tls", "what": "mpps_cpu", "label": "64 B, TLS: Mpps", "derper": series(theirs),
           "tailplane": series(ours), "ideal": series(missing),
           "times_better": {"tailplane": ours / theirs if theirs else None, "ideal": None}}
    how = {"derper": "1", "go": "g", "openssl": "o", "relay_core": 0, "load_core": 1, "rounds": 1, "near_times": 1, "seconds": 1}
    return {"how": how, "results": [row], "rounds": {"derper": [{}], "tailplane": [{}], "ideal": [{}]}, "notes": ["a note"]}


def test_relay_beside_derper():
    text = "\n".join(derp.text(relay_data(2.0, 0.5)))
    assert "| 64 B, TLS: Mpps | 0.50 (0.50–0.50) | 2.00 (2.00–2.00) |  | 4.00 |  |" in text and "a note" in text
    assert derp.targets(relay_data(2.0, 0.5), None)[0]["held"]
    assert not derp.targets(relay_data(1.9, 0.5), None)[0]["held"]
    assert derp.targets(relay_data(2.0, None), None) == []
    assert derp.headline(relay_data(2.0, None)) == []


def test_two_loops_beside_one():
    def rates(**cells):
        return {"results": [{"cell": f"1400-tls-{cell}", "what": "gbps", "label": cell, "times_better": {},
                             "tailplane": {"median": rate}} for cell, rate in cells.items()]}

    def held(**cells):
        return [t["held"] for t in derp.targets(rates(**cells), None)]

    assert held(**{"30": 5.0, "60": 10.0, "2x30": 8.6}) == [True, True]
    assert held(**{"30": 5.0, "60": 10.0, "2x30": 8.4}) == [False, False]
    assert held(**{"30": 4.0, "60": 10.0, "2x30": 8.4}) == [True, False]
    assert held(**{"60": 10.0, "2x30": 8.6}) == [True]
