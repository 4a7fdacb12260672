# SPDX-License-Identifier: BSD-3-Clause
"""A process that is a grandchild: its parent ends and leaves it to us."""

import ctypes
import os
import subprocess

from wait import Late, wait_until

PR_SET_CHILD_SUBREAPER = 36


def become_reaper():
    """Before the process is started whose children are to be adopted."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


class Adopted:
    """As subprocess.Popen has it, as far as tests use it."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            except ChildProcessError:  # not ours yet
                os.kill(self.pid, 0)
        return self.returncode

    def wait(self, timeout):
        try:
            wait_until(lambda: self.poll() is not None, "an adopted process ends", timeout)
        except Late as late:
            raise subprocess.TimeoutExpired("an adopted process", timeout) from late
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(15)

    def kill(self):
        self.send_signal(9)
