# SPDX-License-Identifier: BSD-3-Clause
"""A limit on the CPU time of a process, or of some of its threads each, by control groups of its own."""

import itertools
import os
from pathlib import Path

from report.host import Absent
from wait import wait_until

PERIOD_US = 20_000
FIRST = 88761 / 1024  # what a process of nice -20 weighs beside one of nice 0
NUMBERS = itertools.count()


def hierarchy():
    """Where groups are made, and the controller's version; Absent where none limits CPU time."""
    for _, place, kind, options, *_ in map(str.split, Path("/proc/self/mounts").read_text().splitlines()):
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(place), 1
        if kind == "cgroup2" and "cpu" in (Path(place) / "cgroup.controllers").read_text().split():
            return Path(place), 2
    raise Absent("no control groups limit CPU time here")


class Quota:
    def __init__(self, pid, cores, threads=(), first=False):
        """`cores`: of the process, or of each of the threads. `first`: before what the machine does besides, as nice -20
        is."""
        place, self.version = hierarchy()
        self.top = place / f"derp-bench-{os.getpid()}-{next(NUMBERS)}"
        self.groups = []
        try:
            self.make(pid, cores, threads, FIRST if first else 1)
        except OSError as error:
            if self.groups:
                (place / "cgroup.procs").write_text(f"{pid}\n")
            self.close()
            raise Absent(f"no control group can be made that limits CPU time: {error}") from error

    def make(self, pid, cores, threads, weight):
        self.delegate(self.top.parent)
        self.group(self.top)
        self.weigh(weight)
        (self.top / "cgroup.procs").write_text(f"{pid}\n")
        if not threads:
            self.limit(self.top, cores)
        for thread in threads:
            self.limit_thread(self.top / f"{thread}", thread, cores)

    def group(self, path):
        path.mkdir()
        self.groups.append(path)

    def delegate(self, group):
        if self.version == 2:
            (group / "cgroup.subtree_control").write_text("+cpu\n")

    def weigh(self, weight):
        name, usual = ("cpu.weight", 100) if self.version == 2 else ("cpu.shares", 1024)
        (self.top / name).write_text(f"{int(usual * weight)}\n")

    def limit(self, group, cores):
        quota = int(cores * PERIOD_US)
        if self.version == 2:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}\n")
        else:
            (group / "cpu.cfs_period_us").write_text(f"{PERIOD_US}\n")
            (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")

    def limit_thread(self, group, thread, cores):
        self.group(group)
        if self.version == 2:
            (group / "cgroup.type").write_text("threaded\n")
            self.delegate(self.top)
        self.limit(group, cores)
        (group / ("cgroup.threads" if self.version == 2 else "tasks")).write_text(f"{thread}\n")

    def close(self):
        """When the process has ended."""
        wait_until(self.removed, "the control groups are empty", 10)

    def removed(self):
        while self.groups:
            self.groups[-1].rmdir()  # OSError: not yet
            self.groups.pop()
        return True
