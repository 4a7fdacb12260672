# SPDX-License-Identifier: BSD-3-Clause
"""What programs read of the benchmarks: `--json` prints one object on standard output."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PERF = Path(os.environ["TAILPLANE_BUILD_DIR"]) / "perf"
NUMBER = (int, float)
RESULT = {"impl": str, "op": str, "size": (int, str), "batch": NUMBER, "keys": int, "gbps": NUMBER, "mpps": NUMBER,
          "cycles_per_packet": NUMBER}


def measure(program, *args):
    if not (PERF / program).exists():
        pytest.skip(f"{program} is not built")
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    run = subprocess.run([PERF / program, "--json", "--rounds", "1", *args], env=env, capture_output=True, text=True,
                         timeout=120)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert isinstance(said["machine"]["cpu"], str) and said["machine"]["clock_ghz"] > 0
    assert said["machine"]["core_to_core_ns"] > 0 or said["machine"]["cpus"] == 1
    for row in said["results"]:
        for name, kind in RESULT.items():
            assert isinstance(row[name], kind), (name, row)
        assert row["gbps"] == pytest.approx(row["mpps"] * row["size"] * 8 / 1000, rel=0.01)
        assert row["cycles_per_packet"] > 0
    return said["results"]


def test_aead():
    rows = measure("bench_aead", "--quick", "--sizes", "64,1420", "--batch", "32", "--keys", "32", "--cache", "hot")
    assert {(r["op"], r["size"], r["batch"], r["keys"]) for r in rows} == {
        (op, size, 32, 32) for op in ("seal", "open") for size in (64, 1420)}
    impls = {r["impl"] for r in rows}
    assert {"portable", "libsodium", "openssl"} <= impls
    assert impls <= {"avx512", "avx512-1x16", "avx2", "portable", "libsodium", "openssl", "ipsec-mb-job-avx2",
                     "ipsec-mb-job-avx512"}


def test_data_plane():
    rows = measure("bench_datapath", "--aead", "portable", "--workers", "1", "--peers", "3", "--sizes", "64",
                   "--window", "1")
    assert {(r["impl"], r["op"], r["size"], r["peers"], r["keys"], r["workers"]) for r in rows} == {
        ("portable", op, 64, 3, 3, 1) for op in ("seal", "open")}
    assert all(r["nodes"].keys() >= {"rx", "route", "wg_output" if r["op"] == "seal" else "wg_input", "tx"} for r in rows)
