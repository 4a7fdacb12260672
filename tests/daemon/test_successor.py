# SPDX-License-Identifier: BSD-3-Clause
"""A restart without a gap: a new process takes over while the old one still runs."""

import contextlib
import signal
import socket

import pytest

from adopted import Adopted, become_reaper
from daemon import OperationFailed
from derp import DerpClient

from test_derp import is_served, judge, key_file, relay, talker  # noqa: F401 (fixtures)
from wait import wait_until

become_reaper()


def successor(daemon, start=lambda daemon: daemon.call("restart")["pid"]):
    """`daemon` is the new process from then on; the old one."""
    old = daemon.process
    pid = start(daemon)
    daemon.process = Adopted(pid)
    return old


def test_restart(daemon):
    """Whoever asks is answered, by the one or the other; the lock and the control socket are the new one's."""
    daemon.start()
    for _ in range(3):
        before = daemon.call("status")["pid"]
        old = successor(daemon)
        after = daemon.call("status")["pid"]
        assert before == old.pid and after == daemon.process.pid != before
        assert old.wait(20) == 0
        assert daemon.call("status")["pid"] == after and daemon.socket.exists()
        assert (daemon.state / "lock").read_text() == f"{after}\n"
    assert f"in use by process {after}" in daemon.fails()


def test_signal(daemon):
    daemon.start()

    def by_signal(daemon):
        daemon.kill(signal.SIGUSR2)
        wait_until(lambda: daemon.call("status")["pid"] != daemon.process.pid, "another process answers")
        return daemon.call("status")["pid"]

    assert successor(daemon, by_signal).wait(20) == 0


def test_one_that_cannot_start(daemon):
    """Nothing has happened."""
    daemon.start()
    good = daemon.conf.read_text()
    daemon.conf.write_text("nonsense")
    with pytest.raises(OperationFailed, match="could not start"):
        daemon.call("restart")
    assert daemon.socket.exists() and daemon.call("status")["pid"] == daemon.process.pid
    assert (daemon.state / "lock").read_text() == f"{daemon.process.pid}\n"
    daemon.conf.write_text(good)
    daemon.call("reload")
    assert successor(daemon).wait(20) == 0


def test_plugin_that_is_one(daemon):
    daemon.configure("base")
    daemon.start()
    with pytest.raises(OperationFailed, match="plugin base cannot be in two processes"):
        daemon.call("restart")
    assert daemon.states() == {"base": "up"}


def test_service_manager(daemon):
    """Learns whose the service is, and that by the one that had it; is not told that it stops; the watchdog is fed
    by the new process."""
    path = daemon.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        daemon.env.update(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        daemon.start(args_before=["sh", "-c", 'WATCHDOG_PID=$$ exec "$0" "$@"'])

        def told():
            text, ancillary, _, _ = manager.recvmsg(256, socket.CMSG_SPACE(12))
            return text.decode(), int.from_bytes(ancillary[0][2][:4], "little")

        old = successor(daemon)
        assert old.wait(20) == 0
        seen = []
        while seen.count(("WATCHDOG=1", daemon.process.pid)) < 2:
            seen.append(told())
        assert (f"MAINPID={daemon.process.pid}", old.pid) in seen
        assert not [text for text, _ in seen if text == "STOPPING=1"]


def test_relay(relay):
    """Clients are sent away over the time that is set, and come back; who comes meanwhile is served."""
    relay.begin(drain="2s")
    wait_until(lambda: relay.call("derp status")["works"] == "yes", "it works")
    with talker(relay) as a, talker(relay) as b:
        for one in (a, b):
            one.wait("up")
        since = [len(one.events) for one in (a, b)]
        old = successor(relay)
        with talker(relay) as new:
            new.wait("up")
            assert old.poll() is None, "the old one is still sending away"
            for one, at in zip((a, b), since):
                one.wait("restarting", at)
                one.wait("up", at + 1)
            assert old.wait(20) == 0
            new.send(a.key, "hello")
            a.wait_packet(new.key, "hello")
            assert not new.seen("down")


def test_clients_of_both(relay):
    """While there are two processes the new one tells of the clients of both, and closes them at either."""
    relay.begin(drain="10s")
    with contextlib.ExitStack() as stack:
        for _ in range(80):  # are sent away before
            DerpClient(stack.enter_context(socket.create_connection(("127.0.0.1", relay.port)))).join()
        late = [stack.enter_context(talker(relay)) for _ in range(3)]
        for one in late:
            one.wait("up")
        old = successor(relay)

        def ways(one):
            return [row["via"] for row in relay.call("derp clients") if row["key"] == f"nodekey:{one.key}"]

        for one in late:
            wait_until(lambda one=one: ways(one) == ["old process"], "it is listed", every=0.02)
            since = len(one.events)
            relay.call("derp close", key=f"nodekey:{one.key}")
            one.wait("up", since)
            assert not one.seen("restarting"), "it was not closed, but sent away"
            wait_until(lambda one=one: ways(one) == ["upgrade"], "it is at the new process, and there alone")
        assert old.poll() is None


class Pair:
    """Two clients that send each other numbered packets, one after the other."""

    def __init__(self, a, b):
        self.clients, self.number = (a, b), 0
        self.carried = {False: 0, True: 0}  # while both are at one process; while they are not

    def state(self):
        return [[e["event"] for e in one.events if e["event"] in ("up", "down", "restarting")] for one in self.clients]

    def carry(self, one, other):
        """A packet, unless one of the two is known to be on its way. Long before the next one sets out, it has
        arrived. It waits when its receiver does; what its sender has not written yet when it sets out is lost."""
        before, way = self.state(), len(one.events)
        if any(events[-1] != "up" for events in before):
            return
        self.number += 1
        since = len(other.events)
        one.send(other.key, f"number {self.number}")
        wait_until(lambda: other.seen("packet", since, bytes=f"number {self.number}".encode().hex())
                   or one.seen("down", way), f"number {self.number} arrives", timeout=5, every=0.001)
        self.carried[len({events.count("up") for events in before}) > 1] += self.state() == before

    def go_on(self, until):
        while not until():
            self.carry(*self.clients)
            self.carry(*reversed(self.clients))


@pytest.mark.parametrize("loops", [1, 2])
def test_pair(relay, loops):
    """Clients of which one has moved and the other has not reach each other as before, and are never told that the
    other is gone."""
    relay.configure("derp", core={"http": {"listen_addr": [f"127.0.0.1:{relay.port}"]}, "io_loops": loops},
                    derp={"stun_listen_addr": "127.0.0.1:0", "drain": "6s"})
    relay.start()
    with contextlib.ExitStack() as stack:
        def join():
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port)))
            return DerpClient(sock).join()

        # they are sent away in the order in which they came, four of each loop a second
        a = stack.enter_context(talker(relay))
        a.wait("up")
        crowd = [join() for _ in range(12 * loops)]
        b = stack.enter_context(talker(relay))
        b.wait("up")
        pair = Pair(a, b)
        pair.go_on(lambda: pair.number > 20)
        old = successor(relay)
        pair.go_on(lambda: old.poll() is not None and all(len(one.seen("up")) == 2 for one in (a, b)))
        assert old.wait(1) == 0
        assert pair.carried[True] > 20, pair.carried
        pair.go_on(lambda n=pair.number: pair.number > n + 20)
        assert not a.seen("gone") and not b.seen("gone") and len(crowd) == 12 * loops


def test_grace(relay, judge):
    """Who was let in lately is let in by the new process, too, while nobody says who may; nobody else is."""
    relay.begin(verify_client_url=judge.url, drain="1s")
    known, unknown = (key_file(relay.folder, name) for name in ("known", "unknown"))
    with talker(relay, "--key", known) as one:
        judge.known.add(f"nodekey:{one.key}")
        one.wait("up", timeout=30)
        judge.status = 502
        since = len(one.events)
        old = successor(relay)
        one.wait("up", since, timeout=30)
        assert old.wait(20) == 0
        assert not is_served(relay, "--key", unknown)
    old = successor(relay)  # and by the one after that, who never asked for itself
    assert old.wait(20) == 0
    assert is_served(relay, "--key", known) and not is_served(relay, "--key", unknown)
