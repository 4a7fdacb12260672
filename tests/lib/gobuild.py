# SPDX-License-Identifier: BSD-3-Clause
"""Programs of others that are built from Go modules, by name and exact version, and kept in a cache."""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailplane-tests"


def _go_version():
    out = subprocess.run(["go", "version"], capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", out)
    return tuple(int(n or 0) for n in found.groups()) if found else (0, 0, 0)


def lacks(what, needs_go):
    """Why it can't be built here; None: it can."""
    if not shutil.which("go"):
        return f"Go is not installed; {what} is built with it"
    if _go_version() < needs_go:
        return f"Go is older than {'.'.join(map(str, needs_go))}, which {what} needs"
    return None


def _build(path, command, environment=None, **run):
    """`path` made by `command`, by one of all who ask for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f".{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            environment = {**os.environ, "GOBIN": str(path.parent), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local",
                           **(environment or {})}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, **run)
            assert done.returncode == 0, done.stderr
    return path


@functools.cache
def go_program(package, version, needs_go, folder, binary=None, ldflags="-s -w"):
    """The path of `package@version`; skips the test where it can't be built. `folder`: in the cache."""
    path = CACHE / folder / (binary or package.rsplit("/", 1)[-1])
    if path.exists():
        return path
    if why := lacks(f"{package} {version}", needs_go):
        pytest.skip(why)
    return _build(path, ["go", "install", "-trimpath", f"-ldflags={ldflags}", f"{package}@{version}"])


@functools.cache
def go_source(folder, needs_go, tags="", javascript=False):
    """The program in a folder of ours (go.mod says which modules it is built with); skips the test where it
    can't be built. `javascript`: for one that has a machine of its own for that (wasm_exec_node.js)."""
    files = {name: (Path(folder) / name).read_bytes() for name in ("go.mod", "main.go")}
    version = hashlib.sha256(b"".join(files.values()) + tags.encode()).hexdigest()[:16] + ("-js" if javascript else "")
    path = CACHE / f"{Path(folder).name}-{version}" / Path(folder).name
    if path.exists():
        return path
    if why := lacks(path.name, needs_go):
        pytest.skip(why)
    with tempfile.TemporaryDirectory() as source:
        for name, text in files.items():
            (Path(source) / name).write_bytes(text)
        return _build(path, ["go", "build", "-mod=mod", "-trimpath", f"-tags={tags}", "-ldflags=-s -w", "-o", path, "."],
                      {"GOOS": "js", "GOARCH": "wasm"} if javascript else None, cwd=source)
