# SPDX-License-Identifier: BSD-3-Clause
"""Our client of relays, driven by lines: derp_talk (its head comment has the commands)."""

import json
import subprocess
import threading

import pytest

from daemon import BUILD
from wait import wait_until

PROGRAM = BUILD / "tests" / "interop" / "derp_talk"


class Talker:
    def __init__(self, machine, *args, env=None):
        if not PROGRAM.exists():
            pytest.skip(f"{PROGRAM} is not built")
        variables = [f"{k}={v}" for k, v in (env or {}).items()]
        self.popen = subprocess.Popen(machine.enter(["env", *variables, PROGRAM, *args]), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, bufsize=1)
        self.events = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.key = self.wait("key")["key"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.stdin.close()
        assert self.popen.wait(10) == 0
        self.reader.join(10)
        self.popen.stdout.close()

    def _read(self):
        for line in self.popen.stdout:
            self.events.append(json.loads(line))

    def tell(self, *words):
        self.popen.stdin.write(" ".join(map(str, words)) + "\n")

    def send(self, to, text):
        self.tell("send", to, text.encode().hex())

    def seen(self, event, since=0, **facts):
        return [e for e in self.events[since:]
                if e["event"] == event and all(e.get(k) == v for k, v in facts.items())]

    def wait(self, event, since=0, timeout=15, **facts):
        """The first such event, since that many events ago came."""
        wait_until(lambda: self.seen(event, since, **facts), f"{event} {facts or ''}", timeout)
        return self.seen(event, since, **facts)[0]

    def wait_packet(self, sender, text, since=0, timeout=15):
        return self.wait("packet", since, timeout, bytes=text.encode().hex(), **{"from": sender})

    def facts(self):
        since = len(self.events)
        self.tell("facts")
        return self.wait("facts", since)
