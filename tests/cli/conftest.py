# SPDX-License-Identifier: BSD-3-Clause
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TAILPLANE_BUILD_DIR", ROOT / "build"))
TAILPLANE = BUILD / "core" / "cli" / "tailplane"


def environment(**more):
    """Nothing of the caller's terminal or shell; UTF-8."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS")}
    return {**keep, "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}


@pytest.fixture
def tailplane(tmp_path):
    """The command, in an empty folder, with no daemon unless -s names one."""

    def run(*words, expect=0, input="", env=None):
        done = subprocess.run(
            [TAILPLANE, *words], input=input, capture_output=True, text=True, cwd=tmp_path, timeout=30,
            env=environment(TAILPLANE_SOCKET="none", **(env or {})),
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return run
