# SPDX-License-Identifier: BSD-3-Clause
"""The completion script in a real bash: what the tab key would offer."""

import subprocess

import pytest

from conftest import TAILPLANE, environment

DRIVER = r"""
source <("$1" completion bash)
PATH=${1%/*}:$PATH
COMP_LINE=$2 COMP_POINT=${#2}
compopt() { echo "option $*"; }
_tailplane tailplane
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(line, **env):
    done = subprocess.run(["bash", "-c", DRIVER, "bash", TAILPLANE, line], capture_output=True, text=True,
                          env=environment(**{"TAILPLANE_SOCKET": "none", **env}), timeout=30)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("line, offered", [
    ("tailplane ke", ["keys"]),
    ("tailplane keys ", ["new", "psk", "public"]),
    ("tailplane import wg --fo", ["--force"]),
    ("tailplane import wg a.conf -w ", ["option -o default", ""]),
    ("tailplane -o y", ["yaml"]),
    # bash takes the '=' for the end of a word
    ("tailplane --output=y", ["yaml"]),
    ("tailplane completion ", ["bash"]),
    ("tailplane help imp", ["import"]),
    ("tailplane nonsense ", [""]),
])
def test_offers(line, offered):
    assert complete(line) == offered


def test_script_is_registered():
    done = subprocess.run(["bash", "-c", 'source <("$1" completion bash); complete -p tailplane', "bash", TAILPLANE],
                          capture_output=True, text=True, env=environment())
    assert done.stdout == "complete -F _tailplane tailplane\n"


def test_script_is_clean(tmp_path):
    script = tmp_path / "tailplane.bash"
    script.write_bytes(subprocess.run([TAILPLANE, "completion", "bash"], capture_output=True, env=environment()).stdout)
    try:
        done = subprocess.run(["shellcheck", "-s", "bash", script], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("shellcheck is not installed")
    assert done.returncode == 0, done.stdout
