# SPDX-License-Identifier: BSD-3-Clause
"""tailplaned with plugins made for the purpose, in a folder of its own, without namespaces."""

import getpass
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from daemon import BUILD, DAEMON, Control, libconfig
from wait import wait_until

PLUGINS = BUILD / "tests" / "daemon"
KEPT = ("PATH", "TAILPLANE_AEAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")


class Ended(Exception):
    pass


class Daemon:
    """One folder with configuration, state, sockets and log; a daemon that comes and goes."""

    def __init__(self, folder):
        self.folder = folder
        self.state, self.run = folder / "state", folder / "run"
        self.conf, self.log_file, self.trace_file = folder / "conf", folder / "log", folder / "trace"
        self.socket = self.run / "ctl.sock"
        self.process = None
        self.env = {"TAILPLANE_PLUGIN_PATH": str(PLUGINS), "TAILPLANE_TEST_TRACE": str(self.trace_file)}
        self.configure()

    def configure(self, *plugins, core=None, **groups):
        """`core` adds to what a test needs there; None takes a setting out."""
        base = {"state_dir": self.state, "runtime_dir": self.run, "user": getpass.getuser(), "metrics": {"listen": ""}}
        settings = {k: v for k, v in {**base, **(core or {})}.items() if v is not None}
        config = {"plugins": list(plugins), "core": settings, **groups}
        self.conf.write_text("".join(f"{k} = {libconfig(v)};\n" for k, v in config.items()))

    def environment(self):
        return {**{k: os.environ[k] for k in KEPT if k in os.environ}, **self.env}

    def spawn(self, *args, args_before=(), **popen):
        popen = {"stdout": subprocess.DEVNULL, "stderr": open(self.log_file, "a"), "stdin": subprocess.DEVNULL, **popen}
        self.process = subprocess.Popen([*args_before, DAEMON, "-c", self.conf, *args], env=self.environment(), **popen)
        return self

    def start(self, *args, **popen):
        self.spawn(*args, **popen)
        wait_until(self.answers, "tailplaned answers on its control socket", timeout=20)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Ended(f"tailplaned ended with {self.process.returncode}:\n{self.log()}")
        return self.socket.exists() and self.call("describe")

    def fails(self, *args):
        """Runs to its end, which must be exit status 1; what it said."""
        done = subprocess.run([DAEMON, "-c", self.conf, *args], env=self.environment(), capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def control(self, timeout=10):
        # the queue of those who wait may be full for a moment
        return wait_until(lambda: Control(self.socket, timeout), "a connection to the control socket")

    def call(self, op, **args):
        with self.control() as control:
            return control.call(op, **args)

    def states(self):
        return {p["name"]: p["state"] for p in self.call("plugins")}

    def log(self):
        return self.log_file.read_text(errors="replace")

    def trace(self):
        """What was traced since the last time."""
        lines = self.trace_file.read_text().splitlines() if self.trace_file.exists() else []
        self.trace_file.unlink(missing_ok=True)
        return lines

    def idle_fds(self):
        """Descriptors when nobody is connected but who asks, who is not counted."""
        with self.control() as control:
            def alone():
                text = control.call("metrics")
                return "\ntailplane_ctl_connections 1\n" in text and not re.search(r"\ntailplane_http_connections\{.*\} [1-9]", text)

            wait_until(alone, "all others have gone")
            return self.fds() - 1

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def set_limit(self, files):
        """Of open files, as if the daemon had been started with it."""
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (files, files))

    def kill(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        self.kill(number)
        return self.process.wait(20)

    def end(self):
        if self.process and self.process.poll() is None:
            status = self.stop()
            assert status == 0, f"tailplaned ended with {status}:\n{self.log()}"
        elif self.process and self.process.returncode not in (0, 1, -signal.SIGKILL, 128 + signal.SIGINT):
            raise Ended(f"tailplaned ended with {self.process.returncode}:\n{self.log()}")


@pytest.fixture
def folder():
    # A socket's path is short: not below pytest's own folder.
    path = Path(tempfile.mkdtemp(prefix="tailplane-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(folder):
    if not DAEMON.exists():
        pytest.skip(f"{DAEMON} is not built")
    one = Daemon(folder)
    yield one
    one.end()


@pytest.fixture
def second(daemon):
    """Another daemon in a folder of its own within the first one's."""
    folder = daemon.folder / "2"
    folder.mkdir()
    one = Daemon(folder)
    yield one
    one.end()
