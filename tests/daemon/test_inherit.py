# SPDX-License-Identifier: BSD-3-Clause
"""Listening sockets that outlive the daemon, as a service manager keeps them."""

import array
import os
import socket

import pytest

from test_http import free_port
from wait import wait_until


@pytest.fixture
def listening():
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        yield sock


def start_with(daemon, sock):
    """The daemon with this socket as its descriptor 3, and in its environment what says so."""
    def hand_over():
        os.dup2(sock.fileno(), 3)

    daemon.env.update(LISTEN_FDS="1")
    script = 'LISTEN_PID=$$ exec "$0" "$@"'
    return daemon.start(preexec_fn=hand_over, close_fds=False, args_before=["sh", "-c", script])


def ask(sock):
    sock.settimeout(20)
    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return sock.recv(64)


def test_nobody_is_refused(daemon, listening):
    """Who connects before the daemon runs, and between two of them, is answered by the next."""
    address = listening.getsockname()
    daemon.configure(core={"metrics": {"listen": f"127.0.0.1:{address[1]}"}})
    with socket.create_connection(address) as early:
        start_with(daemon, listening)
        assert ask(early).startswith(b"HTTP/1.1 200")
    assert daemon.stop() == 0
    with socket.create_connection(address) as between:
        start_with(daemon, listening)
        assert ask(between).startswith(b"HTTP/1.1 200")
    daemon.end()


def test_unknown_ones_are_closed(daemon, listening):
    start_with(daemon, listening)
    assert f"not in the configuration, and closed: 127.0.0.1:{listening.getsockname()[1]}" in daemon.log()
    daemon.end()


def test_left_with_the_manager(daemon):
    """Each socket goes to the manager under a name of its own; one that a reload gives up is taken out."""
    first, second = free_port(), free_port()
    path = daemon.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(0.1)
        daemon.env["NOTIFY_SOCKET"] = str(path)
        stored, removed = {}, []

        def look():
            while True:
                try:
                    text, ancillary, _, _ = manager.recvmsg(1024, socket.CMSG_SPACE(4))
                except TimeoutError:
                    return
                facts = dict(line.split("=", 1) for line in text.decode().splitlines())
                for _, _, data in ancillary:
                    with socket.socket(fileno=array.array("i", data)[0]) as copy:
                        stored[facts["FDNAME"]] = copy.getsockname()[1]
                if "FDSTOREREMOVE" in facts:
                    removed.append(facts["FDNAME"])

        def seen(condition):
            look()
            return condition()

        daemon.configure(core={"metrics": {"listen": f"127.0.0.1:{first}"}})
        daemon.start()
        wait_until(lambda: seen(lambda: stored.get(f"listen-127.0.0.1_{first}") == first), "it is stored")
        daemon.configure(core={"metrics": {"listen": f"127.0.0.1:{second}"}})
        daemon.call("reload")
        wait_until(lambda: seen(lambda: stored.get(f"listen-127.0.0.1_{second}") == second and removed), "it is exchanged")
        assert removed == [f"listen-127.0.0.1_{first}"]
        daemon.end()
        look()
        assert len(removed) == 1  # at its end they stay
