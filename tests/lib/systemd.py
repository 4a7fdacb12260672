# SPDX-License-Identifier: BSD-3-Clause
"""A real systemd as the first process of namespaces of its own: this machine's files under an overlay, no unit
of this machine, a network of its own with nothing but loopback."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from daemon import BUILD, ROOT, Control
from wait import Late, wait_until

PROGRAM = "/lib/systemd/systemd"
SBIN, LIB = "usr/local/sbin", "usr/local/lib/tailplane-test"

BOOT = f"""
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
root=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
for dir in run tmp sys/fs/cgroup; do mount -t tmpfs tmpfs "$root/$dir"; done
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
ip link set lo up
rm -rf "$root"/etc/systemd/system/*
printf '[Unit]\\nDefaultDependencies=no\\n' >"$root/etc/systemd/system/test.target"
cp -r "$2/." "$root/"
exec chroot "$root" {PROGRAM} --system --unit=test.target --log-target=console --show-status=no
"""


# What it makes of control groups is below one of its own.
GROUP = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'


def cgroups():
    """Where the unified hierarchy is; None: nowhere."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)


class Systemd:
    def __init__(self, folder, environment):
        """`folder`: has `files`, which go over this machine's; `environment`: of all services."""
        self.folder, self.log_path = folder, folder / "systemd.log"
        (folder / "mount").mkdir()
        self.group = Path(tempfile.mkdtemp(prefix="tailplane-test-", dir=cgroups()))
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(
                ["sh", "-c", GROUP, "group", self.group, "unshare", "--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net",
                 "--fork", "--kill-child", "--propagation", "private", "sh", "-c", BOOT, "boot", folder / "mount",
                 folder / "files"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "container": "test", **environment})
        self.pid = None

    def wait_up(self):
        def first():
            assert self.popen.poll() is None
            children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
            self.pid = int(children[0])
            return self.run("systemctl", "is-system-running").stdout == "running\n"

        wait_until(first, "systemd runs", 20)

    def enter(self, command, *, files=False):
        """In its network; with `files` also in its file system and among its processes."""
        where = ["--all", "--root", "--wd"] if files else ["--net"]
        return ["nsenter", f"--target={self.pid}", *where, "--", *map(str, command)]

    def run(self, *command):
        return subprocess.run(self.enter(command, files=True), capture_output=True, text=True, timeout=60)

    def systemctl(self, *words):
        done = self.run("systemctl", *words)
        assert done.returncode == 0, f"systemctl {words}: {done.stderr}\n{self.log()}"
        return done.stdout

    def show(self, unit, what):
        return self.systemctl("show", "--value", "-p", what, unit).strip()

    def path(self, path):
        return Path(f"/proc/{self.pid}/root{path}")

    def call(self, op, **args):
        with Control(self.path("/run/tailplane/ctl.sock")) as control:
            return control.call(op, **args)

    def log(self):
        services = self.path("/run/services.log")
        return self.log_path.read_text(errors="replace") + (services.read_text() if services.exists() else "")

    def close(self):
        self.popen.kill()
        self.popen.wait(10)
        for group, _, _ in os.walk(self.group, topdown=False):
            wait_until(lambda group=group: not os.rmdir(group), "its control groups are empty")


def installed(folder, *plugins):
    """Our programs and units as `files` of a folder, and the environment that the programs want."""
    files = folder / "files"
    for place in (SBIN, LIB, "etc/systemd/system", "etc/tailplane"):
        (files / place).mkdir(parents=True)
    for program in ("core/tailplaned", "core/cli/tailplane"):
        shutil.copy(BUILD / program, files / SBIN)
    shutil.copy(BUILD / "core/crypto/libtailplane-crypto.so.0", files / LIB)
    for plugin in plugins:
        shutil.copy(BUILD / plugin / f"{plugin}.so", files / LIB)
    for unit in (ROOT / "configs").glob("*.service"):
        shutil.copy(unit, files / "etc/systemd/system")
        drop_in = files / "etc/systemd/system" / f"{unit.name}.d"
        drop_in.mkdir()
        (drop_in / "test.conf").write_text(f"[Service]\nEnvironment=TAILPLANE_PLUGIN_PATH=/{LIB} LD_LIBRARY_PATH=/{LIB}\n"
                                          "StandardError=append:/run/services.log\n")
    return files


def boot(folder, environment=None):
    """Skips the test where systemd cannot be started so."""
    if os.geteuid() != 0 or not os.path.exists(PROGRAM) or not cgroups():
        pytest.skip("a systemd of one's own needs root, systemd and the unified control groups")
    one = Systemd(folder, environment or {})
    try:
        one.wait_up()
    except Late:
        one.close()
        pytest.skip(f"systemd does not start in namespaces here: {one.log()[-500:]}")
    return one
