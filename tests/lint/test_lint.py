# SPDX-License-Identifier: BSD-3-Clause
"""The tree keeps its own style."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import rules

ROOT = Path(__file__).resolve().parents[2]
# Inputs and expected outputs are what they are.
DATA = re.compile(r"/(corpus|data|cases|expected|results)/|\.(patch|svg|png)$|^LICENSE$")


def tree():
    out = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    return sorted(p for p in out.decode().split("\0") if p and (ROOT / p).is_file())


FILES = tree()


def files(pattern):
    return [p for p in FILES if re.search(pattern, p) and not DATA.search(p)]


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern, check, bad", rules.RULES, ids=lambda r: getattr(r, "__name__", ""))
def test_rule(pattern, check, bad):
    assert pattern.search(bad[0]) and list(check(*bad)), "the rule does not see its own bad example"
    found = [f"{path}:{c}" for path in FILES if pattern.search(path) and not DATA.search(path)
             for c in check(path, text_of(path))]
    assert not found, "\n" + "\n".join(found)


def test_long_files_are_named():
    """No verdict below the ceiling, but named: would two nouns read better?"""
    lines = {p: text_of(p).count("\n") for p in files(rules.SOURCE)}
    long = [f"{p} ({n})" for p, n in lines.items() if n > rules.FILE_LOOK_TWICE]
    if long:
        warnings.warn(f"more than {rules.FILE_LOOK_TWICE} lines: {', '.join(long)}")
    assert lines and not [p for p, n in lines.items() if n > rules.FILE_CEILING]


def test_clang_format():
    sources = files(rules.SOURCE)
    run = subprocess.run(
        ["clang-format-14", "--dry-run", "--Werror", *sources], cwd=ROOT, capture_output=True, text=True
    )
    wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line})
    assert run.returncode == 0, "./dev fmt would change: " + " ".join(wrong)


def include_flags():
    dirs = ["core/include", "core/cli", "core/crypto", "core/fetch", "dataplane/include", "dataplane/wg", "core", "dataplane", "perf/lib", "tests/lib",
            "control", "control/proto", "control/tailnet", "control/map", "control/noise", "control/server", "control/transport",
            "control/include", "derp/include", "derp", "derp/proto", "derp/server", "derp/client", "derp/mesh", "derp/edge"]
    dpdk = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True).stdout
    return [*(f"-I{ROOT / d}" for d in dirs if (ROOT / d).is_dir()), *shlex.split(dpdk)]


def test_headers_compile_alone():
    flags = include_flags()

    def compile_alone(path):
        run = subprocess.run(
            ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-x", "c", "-", *flags],
            input=f'#include "{ROOT / path}"\n', capture_output=True, text=True,
        )
        return "" if run.returncode == 0 else f"{path}:\n{run.stderr}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bad = [b for b in pool.map(compile_alone, files(r"\.h$")) if b]
    assert not bad, "\n".join(bad)


def test_fuzzers_compiler_knows_what_is_asked_of_the_processor():
    """libFuzzer is clang's, and its names of features are not gcc's; nothing else builds with it."""
    if platform.machine() != "x86_64":
        pytest.skip("these files are for x86-64")
    asking = [p for p in files(r"\.c$") if "__builtin_cpu_" in text_of(p)]
    assert asking
    for path in asking:
        run = subprocess.run(["clang-14", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{(ROOT / path).parent}",
                              *include_flags(), ROOT / path], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def scripts():
    return [p for p in files(r"(^|/)(dev|run|[^.]+|.*\.sh)$") if re.match(r"#!.*\bbash\b", text_of(p))]


def test_scripts_parse():
    bad = [p for p in scripts() if subprocess.run(["bash", "-n", ROOT / p]).returncode]
    assert scripts() and not bad


def test_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    run = subprocess.run(["shellcheck", *scripts()], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_python_compiles():
    for path in files(r"\.py$"):
        compile(text_of(path), path, "exec")


def manual_pages():
    build = Path(os.environ.get("TAILPLANE_BUILD_DIR", ROOT / "build"))
    made = [p for p in build.glob("**/*.[1-8]") if "meson-" not in str(p)] if build.is_dir() else []
    return [ROOT / p for p in files(r"\.[1-8]$")] + made


def test_manual_pages():
    pages = manual_pages()
    if not pages:
        pytest.skip("no manual pages in the tree or the build folder")
    bad = []
    for page in pages:
        run = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
            capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        )
        if run.returncode or run.stderr.strip():
            bad.append(f"{page}: {run.stderr.strip()}")
    assert not bad, "\n".join(bad)
