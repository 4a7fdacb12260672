# SPDX-License-Identifier: BSD-3-Clause
"""The command and a tailplaned without plugins: one table of operations, seen from outside."""

import getpass
import json
import os
import pty
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import BUILD, TAILPLANE, environment
from test_completion import complete
from wait import wait_until

DAEMON = BUILD / "core" / "tailplaned"


class Daemon:
    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "run" / "ctl.sock"
        self.conf = folder / "tailplane.conf"
        self.configure()
        self.start()

    def start(self):
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen([DAEMON, "-c", self.conf], stdout=log, stderr=log)
        wait_until(self.answers, "tailplaned answers on its control socket")

    def configure(self, more=""):
        self.conf.write_text(
            f'plugins = [ ];\ncore = {{ state_dir = "{self.folder}/state"; runtime_dir = "{self.folder}/run"; '
            f'user = "{getpass.getuser()}"; metrics = {{ listen = ""; }}; {more} }};\n'
        )

    def answers(self):
        assert self.process.poll() is None, self.said()
        return self.run("status", expect=None).returncode == 0

    def said(self):
        return (self.folder / "log").read_text()

    def run(self, *words, expect=0, **env):
        done = subprocess.run([TAILPLANE, *words], capture_output=True, text=True, timeout=30,
                              env=environment(TAILPLANE_SOCKET=str(self.socket), **env))
        if expect is not None:
            assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *words):
        return json.loads(self.run(*words, "-o", "json").stdout)

    def stop(self):
        self.process.terminate()
        return self.process.wait(10)


@pytest.fixture(scope="module")
def daemon():
    if not DAEMON.exists():
        pytest.skip(f"{DAEMON} is not built")
    # A socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="tailplane-"))
    one = Daemon(folder)
    yield one
    one.stop()
    shutil.rmtree(folder)


def test_help_has_the_daemons_commands(daemon):
    overview = daemon.run("help").stdout
    for name in ("status", "plugins", "reload", "metrics", "log level", "keys new"):
        assert f"\n  {name} " in overview
    assert "but no daemon" not in overview


def test_every_command_explains_itself(daemon):
    commands = daemon.json("describe")
    assert len(commands) > 5
    for command in commands:
        words = command["name"].split()
        shown = daemon.run(*words, "--help").stdout
        assert shown.startswith(f"usage: tailplane {command['name']}")
        assert shown == daemon.run("help", *words).stdout
        for arg in command["args"]:
            assert (arg["name"] if "positional" not in arg["flags"] else arg["name"].upper()) in shown or arg["choices"]


def test_outputs_say_the_same(daemon):
    yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")
    status = daemon.json("status")
    assert status["version"] and status["uptime"] > 0
    again = yaml.safe_load(daemon.run("status", "-o", "yaml").stdout)
    assert {**again, "uptime": 0} == {**status, "uptime": 0}
    table = daemon.run("status").stdout
    assert f" {status['version']}\n" in table and f" {status['state_dir']}\n" in table
    assert daemon.json("plugins") == [] and daemon.run("plugins").stdout.count("\n") == 1


def test_text_is_printed_as_it_is(daemon):
    assert daemon.run("metrics").stdout.startswith("# HELP ")
    assert daemon.json("metrics").startswith("# HELP ")


def test_arguments(daemon):
    assert daemon.run("log", "level", "debug").stdout == "debug\n"
    assert daemon.json("log", "level") == "debug"
    assert daemon.run("l", "l", "info").stdout == "info\n"
    wrong = daemon.run("log", "level", "loud", expect=2)
    assert "LEVEL takes " in wrong.stderr and "not 'loud'" in wrong.stderr and wrong.stdout == ""
    assert "did you mean 'status'?" in daemon.run("statsu", expect=2).stderr


def test_slips_of_headscales_words(daemon):
    """The way out for the word that was meant, and not a command that is further from it; but ours first."""
    for word in ("serv", "sevre", "server"):
        assert f"no command '{word}': the server is a program of its own" in daemon.run(word, expect=2).stderr
    assert "no command 'import headscal': settings of the group" in daemon.run("import", "headscal", expect=2).stderr
    for word in ("serfdom", "nss"):  # near to nothing; too short
        assert f"unknown command '{word}'" in daemon.run(word, expect=2).stderr


def test_an_operation_that_fails(daemon):
    daemon.configure("no_such_setting = 1;")
    failed = daemon.run("reload", expect=1)
    assert f"{daemon.conf}:2:" in failed.stderr and "no_such_setting" in failed.stderr and failed.stdout == ""
    daemon.configure()
    daemon.run("reload")


def test_completion_asks_the_daemon(daemon):
    env = {"TAILPLANE_SOCKET": str(daemon.socket)}
    assert "status" in complete("tailplane ", **env)
    assert complete("tailplane log level deb", **env) == ["debug"]
    assert complete(f"tailplane -s {daemon.socket} stat", TAILPLANE_SOCKET="none") == ["status"]


def test_watch(daemon):
    watch = subprocess.Popen([TAILPLANE, "status", "--watch=0.1", "-o", "json"], stdout=subprocess.PIPE, text=True,
                             env=environment(TAILPLANE_SOCKET=str(daemon.socket)))
    seen = [json.loads(watch.stdout.readline())["uptime"] for _ in range(3)]
    assert seen[0] < seen[1] < seen[2]
    watch.send_signal(signal.SIGINT)
    assert watch.wait(10) == -signal.SIGINT
    watch.stdout.close()
    assert "cannot be watched" in daemon.run("reload", "--watch", expect=2).stderr


class Watch:
    """`status --watch` on a terminal."""

    def __init__(self, daemon):
        self.leader, terminal = pty.openpty()
        self.process = subprocess.Popen([TAILPLANE, "status", "--watch=0.1"], stdout=terminal,
                                        env=environment(TAILPLANE_SOCKET=str(daemon.socket)))
        os.close(terminal)
        self.text = ""

    def wait_frames(self, words, n):
        def seen():
            self.text += os.read(self.leader, 65536).decode()
            return sum(words in frame for frame in self.text.split("\x1b[H")) >= n

        wait_until(seen, f"{n} frames with {words!r}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(10) == -signal.SIGINT
        os.close(self.leader)


def test_watch_on_a_terminal(daemon):
    watch = Watch(daemon)
    watch.wait_frames("version:", 3)
    watch.stop()
    assert watch.text.startswith("\x1b[2J\x1b[H") and "\x1b[J" in watch.text


def test_a_daemon_that_stops(tmp_path):
    if not DAEMON.exists():
        pytest.skip(f"{DAEMON} is not built")
    folder = Path(tempfile.mkdtemp(prefix="tailplane-"))
    daemon = Daemon(folder)
    watch = Watch(daemon)
    watch.wait_frames("version:", 1)
    assert daemon.stop() == 0
    gone = daemon.run("status", expect=3)
    assert "start it with" in gone.stderr

    watch.wait_frames("start it with", 1)
    daemon.start()
    watch.text = ""
    watch.wait_frames("version:", 2)
    watch.stop()
    assert daemon.stop() == 0
    shutil.rmtree(folder)
