# SPDX-License-Identifier: BSD-3-Clause
"""What the daemon is to the machine around it: its log, its service manager, its privileges."""

import os
import pty
import pwd
import re
import signal
import socket
import subprocess

import pytest

from daemon import CLI, OperationFailed
from wait import wait_until

NOBODY = "nobody"


# --- log ---


def test_lines_in_a_file_are_plain(daemon):
    daemon.start("-d")
    wait_until(lambda: "is up, pid" in daemon.log(), "it says that it is up")
    for line in daemon.log().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (warn|info|debug) ", line), line
    assert "\033" not in daemon.log()


def test_levels(daemon):
    daemon.configure("calls", "base", core={"log_level": "warn"})
    daemon.start()
    daemon.call("log", text="quiet", times=1)
    daemon.call("log level", level="info")
    daemon.call("log", text="heard", times=1)
    wait_until(lambda: " info  heard\n" in daemon.log(), "the line")
    assert "quiet" not in daemon.log() and "is up" not in daemon.log()


def test_a_line_is_one_line(daemon):
    daemon.configure("calls")
    daemon.start()
    daemon.call("log", text="one\n2026-01-01 two \033[31mred\x7f\tétui", times=1)
    daemon.call("log", text="x" * 5000, times=1)
    wait_until(lambda: r" one\x0a2026-01-01 two \x1b[31mred\x7f" + "\tétui\n" in daemon.log(), "the escaped line")
    wait_until(lambda: "xxxx" in daemon.log(), "the long line")
    assert max(map(len, daemon.log().splitlines())) < 1200


def test_the_journal_gets_levels_and_no_time(daemon):
    ours, theirs = socket.socketpair()
    stat = os.fstat(theirs.fileno())
    daemon.env["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
    daemon.configure("calls")
    daemon.start("-d", stderr=theirs)
    daemon.call("log", text="heard", times=1)
    theirs.close()
    daemon.stop()
    lines = b"".join(iter(lambda: ours.recv(65536), b"")).decode().splitlines()
    ours.close()
    assert "<6>heard" in lines and all(re.match("<[467]>", line) for line in lines)


def test_a_terminal_gets_colour_and_texts(daemon):
    ours, theirs = pty.openpty()
    daemon.configure("calls")
    daemon.start("-d", stdout=theirs, stderr=theirs)
    daemon.call("present")
    seen = b""
    while b"for your eyes\r\n" not in seen:
        seen += os.read(ours, 4096)
    assert b"\033[2mdebug\033[0m " in seen and re.search(rb"\d\d:\d\d:\d\d\.\d{3} info  ", seen)
    daemon.stop()
    os.close(ours)
    os.close(theirs)


def test_texts_for_a_person_go_into_no_file(daemon):
    daemon.configure("calls")
    with open(daemon.folder / "out", "w+") as out:
        daemon.start(stdout=out)
        daemon.call("present")
        wait_until(lambda: "a text for the terminal was not written" in daemon.log(), "the note")
        daemon.stop()
        assert "eyes" not in daemon.log() and (daemon.folder / "out").read_text() == ""


def test_a_terminal_that_hangs_does_not_hold_the_loop(daemon):
    reader, writer = os.pipe()
    daemon.configure("calls")
    daemon.start(stderr=writer)
    os.close(writer)
    for _ in range(4):
        daemon.call("log", text="x" * 900, times=2000)
    lost = re.search(r"^tailplane_log_lost_total (\d+)$", daemon.call("metrics"), re.M)
    assert int(lost[1]) > 1000
    assert "log_level" in daemon.call("status")
    # reads on: the log catches up and says what it lost
    seen = b""
    while b" lines lost" not in seen:
        seen += os.read(reader, 1 << 16)
    daemon.call("log", text="caught up", times=1)
    while b"caught up" not in seen:
        seen += os.read(reader, 1 << 16)
    daemon.stop()
    os.close(reader)


def test_a_stop_does_not_wait_for_a_terminal_that_hangs(daemon):
    reader, writer = os.pipe()
    daemon.configure("calls")
    daemon.start(stderr=writer)
    os.close(writer)
    daemon.call("log", text="x" * 900, times=2000)
    assert daemon.stop() == 0
    os.close(reader)


# --- service manager ---


def test_notifications(daemon):
    path = daemon.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        daemon.env.update(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        daemon.configure("base")
        daemon.start()
        told = [manager.recv(200).decode() for _ in range(3)]
        assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        daemon.kill(signal.SIGHUP)
        while not (got := manager.recv(200).decode()).startswith("RELOADING"):
            assert got == "WATCHDOG=1"
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", got)
        assert manager.recv(200) == b"READY=1"
        daemon.kill(signal.SIGTERM)
        while (got := manager.recv(200)) == b"WATCHDOG=1":
            pass
        assert got == b"STOPPING=1"
        assert daemon.process.wait(10) == 0


# --- programs that plugins start ---


def test_a_plugin_waits_for_its_own_children(daemon):
    daemon.configure("calls")
    daemon.start()
    assert daemon.call("child") == 1


# --- privileges ---

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up privileges")


def status_of(task):
    lines = open(f"{task}/status").read().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
def dropped(daemon):
    """A daemon that root starts and nobody runs; its folder can be entered."""
    daemon.folder.chmod(0o711)
    daemon.trace_file.touch()
    daemon.trace_file.chmod(0o666)
    daemon.configure("base", "calls", "raw", core={"user": NOBODY})
    return daemon


@needs_root
def test_only_the_capabilities_that_plugins_need_stay(dropped):
    dropped.start()
    uid = pwd.getpwnam(NOBODY).pw_uid
    for tid in os.listdir(f"/proc/{dropped.process.pid}/task"):
        status = status_of(f"/proc/{dropped.process.pid}/task/{tid}")
        assert set(status["Uid"].split()) == {str(uid)} and status["NoNewPrivs"] == "1", status
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << 13  # CAP_NET_RAW
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


@needs_root
def test_state_belongs_to_the_user(dropped):
    """Also what an earlier start as root has left."""
    dropped.configure("calls", "base", core={"user": "root"})
    dropped.start()
    dropped.call("write", path="folder/key", text="secret")
    dropped.stop()
    dropped.configure("calls", "base", core={"user": NOBODY}, base={"secret": "folder/key"})
    dropped.start()
    uid = pwd.getpwnam(NOBODY).pw_uid
    assert {p.stat().st_uid for p in [dropped.state, dropped.run, dropped.socket, *dropped.state.rglob("*")]} == {uid}
    dropped.call("write", path="folder/key", text="another")
    dropped.stop()
    # back to root, which leaves the files to whom they belong
    dropped.configure("calls", core={"user": "root"})
    dropped.start()
    dropped.call("write", path="folder/key", text="third")
    assert (dropped.state / "folder" / "key").stat().st_uid == uid


@needs_root
def test_a_foreign_state_directory_is_refused(dropped):
    dropped.state.mkdir()
    os.chown(dropped.state, 12345, 12345)
    said = dropped.fails()
    assert f"belongs to user 12345" in said and f"chown -R {pwd.getpwnam(NOBODY).pw_uid} {dropped.state}" in said


@needs_root
def test_a_secret_of_root_says_whose_it_must_be(dropped):
    secret = dropped.folder / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    dropped.configure("base", core={"user": NOBODY}, base={"secret": secret})
    assert f"chown {pwd.getpwnam(NOBODY).pw_uid} {secret}" in dropped.fails()


@needs_root
def test_no_such_user(dropped):
    dropped.configure(core={"user": "no-such-user"})
    said = dropped.fails()
    assert 'there is no user "no-such-user"' in said and re.search(r"useradd --system .* no-such-user\n", said)
    assert not dropped.state.exists()


@needs_root
def test_a_plugin_that_needs_what_was_given_up(dropped):
    dropped.configure("base", core={"user": NOBODY})
    dropped.conf.chmod(0o644)
    dropped.start()
    dropped.trace()
    dropped.configure("base", "raw", core={"user": NOBODY})
    with pytest.raises(OperationFailed, match="plugin raw: it needs the capability CAP_NET_RAW, which was given up: restart"):
        dropped.call("reload")
    assert dropped.states()["base"] == "up"


@needs_root
def test_not_started_as_root(dropped):
    """Goes on as whoever it is."""
    os.chown(dropped.folder, pwd.getpwnam(NOBODY).pw_uid, -1)
    dropped.configure("base", core={"user": "tailplane"})
    dropped.start(user=NOBODY)
    wait_until(lambda: "not started as root: goes on as user" in dropped.log(), "it says so")
    assert dropped.states() == {"base": "up"}
    assert subprocess.run([CLI, "-s", dropped.socket, "status"], capture_output=True).returncode == 0
