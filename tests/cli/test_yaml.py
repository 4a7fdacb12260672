# SPDX-License-Identifier: BSD-3-Clause
"""Random values, written as YAML by us and read by a parser that nobody here wrote."""

import json
import random
import subprocess

import pytest

from conftest import BUILD

yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")

PIECES = [
    "a", "Z", "0", "7", " ", "  ", "\n", "\n\n", "\t", "\r", ":", ": ", " #", "#", "-", "- ", "?", ",", "[", "]", "{", "}",
    "&", "*", "!", "|", ">", "'", '"', "%", "@", "`", "\\", "/", "=", "~", ".", "_", "yes", "null", "true", "1e3", "0x1",
    "2001-01-01", "12:30", "\x00", "\x07", "\x1b", "\x7f", "\u0085", "\u00a0", "\u00e9", "\u2028", "\u2029", "\ufeff", "\ufffd",
    "\u65e5", "\U0001f600", "---", "...",
]


def random_value(rng, depth=0):
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind < 4:
        return "".join(rng.choice(PIECES) for _ in range(rng.randrange(6)))
    if kind == 4:
        return rng.choice([True, False, None])
    if kind == 5:
        return rng.choice([0, -1, 1 << 40, -(1 << 62)])
    if kind == 6:
        return rng.choice([0.0, 0.1, -1.5, 1e20, 1e-9, 123456.789, 1e300])
    if kind == 7:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {random_key(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def random_key(rng):
    # JSON's reader in C takes no zero byte in a key.
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(4))).replace("\x00", "")


def test_round_trip():
    rng = random.Random(20261121)
    values = [random_value(rng) for _ in range(4000)] + [[p] for p in PIECES] + PIECES
    done = subprocess.run(
        [BUILD / "tests" / "unit" / "test_cli_yaml", "-"],
        input="\n".join(map(json.dumps, values)), capture_output=True, text=True, check=True,
    )
    documents = done.stdout.split("---\n")
    loaded = list(yaml.safe_load_all(done.stdout))
    assert len(loaded) == len(values), f"{len(documents)} documents"
    for value, read in zip(values, loaded):
        assert read == value and type(read) is type(value), json.dumps(value)
