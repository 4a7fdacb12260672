# SPDX-License-Identifier: BSD-3-Clause
"""How long the server waits for those who do nothing: half a request, silence between requests, a client that
never reads its map. Starts early and is looked at late: it takes a minute of real time, beside the other tests."""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from conftest import DAEMON, Daemon
from test_front import connect, metric, read_head, serve
from test_transport import Client, facts
from wait import wait_until

SLOW = 30  # of a machine that is busy itself


class Waited:
    """A socket, and when the other end closed it."""

    def __init__(self, sock):
        self.sock, self.seconds = sock, None
        self.began = time.monotonic()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        self.sock.settimeout(None)
        try:
            while self.sock.recv(4096):
                pass
        except OSError:
            pass
        self.seconds = time.monotonic() - self.began


def after_an_answer(daemon):
    s = connect(daemon)
    s.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"404" in read_head(s)
    return s


def said(daemon, data):
    s = connect(daemon)
    s.sendall(data)
    return s


@pytest.fixture(scope="session")
def patience():
    if not DAEMON.exists():
        pytest.skip(f"{DAEMON} is not built")
    folder = Path(tempfile.mkdtemp(prefix="tailplane-"))
    daemon = Daemon(folder)
    serve(daemon, ("rpcs",))
    try:
        # a map that nobody reads: more than the kernel holds waits, and the socket takes no more
        client = Client(daemon, window=1 << 28)
        client.begin("POST", "/machine/map", 10)
        facts(daemon, held=1)
        client.say("stop")
        daemon.call("rpc send", len=1_000_000, times=40)
        unused = Client(daemon, machine="20" + "22" * 31)  # a Noise session in which nothing is asked
        unused.began = time.monotonic()
        yield {
            "daemon": daemon, "client": client, "unused": unused, "began": time.monotonic(),
            "nothing": Waited(connect(daemon)),
            "half a request": Waited(said(daemon, b"GET /nothing HTTP/1.1\r\nHost:")),
            "between requests": Waited(after_an_answer(daemon)),
        }
        client.close()
        unused.close()
    finally:
        daemon.end()
        shutil.rmtree(folder)


@pytest.mark.first
def test_patience_begins(patience):
    assert metric(patience["daemon"], 'tailplane_http_connections{state="idle"}') == 1


@pytest.mark.last
@pytest.mark.parametrize("what, seconds", [("nothing", 10), ("half a request", 10), ("between requests", 60)])
def test_patience(patience, what, seconds):
    waited = patience[what]
    wait_until(lambda: waited.seconds, f"{what}: the server hangs up", seconds + SLOW, every=0.5)
    assert seconds - 1 <= waited.seconds <= seconds + SLOW


@pytest.mark.last
def test_a_session_without_requests(patience):
    assert patience["unused"].hear("closed")["closed"]


@pytest.mark.last
def test_a_client_that_never_reads(patience):
    daemon = patience["daemon"]
    wait_until(lambda: metric(daemon, "tailplane_control_stalled_total") == 1, "it is given up",
               60 + SLOW - (time.monotonic() - patience["began"]), every=0.5)
    facts(daemon, held=0)
