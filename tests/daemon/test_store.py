# SPDX-License-Identifier: BSD-3-Clause
"""Backup and restore while the daemon runs, by the command itself."""

import os
import sqlite3
import stat
import subprocess

import pytest

from daemon import BUILD

CLI = BUILD / "core" / "cli" / "tailplane"


@pytest.fixture
def tables(daemon):
    daemon.configure("tables")
    daemon.start()
    (daemon.state / "tables.key").write_text("first key")
    (daemon.state / "tables.key").chmod(0o600)
    return daemon


def cli(daemon, *args, check=True, **kwargs):
    done = subprocess.run([CLI, "--socket", daemon.socket, *args], capture_output=True, text=True, timeout=30, **kwargs)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_there_and_back(tables):
    backup, key = tables.folder / "backup", tables.state / "tables.key"
    assert tables.call("put", name="early") == 1
    cli(tables, "backup", backup)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert tables.call("put", name="late") == 2
    key.write_text("second key")
    cli(tables, "restore", backup)
    assert tables.call("list") == {"early": 1}
    assert key.read_text() == "first key" and stat.S_IMODE(key.stat().st_mode) == 0o600
    # no id means two things: what was given out since is behind us
    assert tables.call("put", name="later") == 1 + (1 << 20) + 1
    assert (tables.state / "tables.key.before-restore").read_text() == "second key"
    assert not list(tables.state.glob("*.restore")) and not list(tables.state.glob("*.backup"))
    # and it is so after a restart
    assert tables.stop() == 0
    tables.start()
    assert sorted(tables.call("list")) == ["early", "later"]


def test_through_pipes(tables):
    tables.call("put", name="one")
    cli_path = [CLI, "--socket", tables.socket]
    with subprocess.Popen([*cli_path, "backup", "-"], stdout=subprocess.PIPE) as out:
        content = out.stdout.read()
    assert content.startswith(b"SQLite format 3")
    tables.call("put", name="two")
    done = subprocess.run([*cli_path, "restore", "-"], input=content, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert tables.call("list") == {"one": 1}


def refused(tables, path, *words):
    before = tables.call("list")
    said = cli(tables, "restore", path, check=False)
    assert said.returncode == 1
    for word in words:
        assert word in said.stderr
    assert tables.call("list") == before and tables.states()["tables"] == "up"
    return said.stderr


def test_what_is_no_backup(tables):
    tables.call("put", name="kept")
    other, backup = tables.folder / "other", tables.folder / "backup"
    other.write_bytes(os.urandom(100_000))
    refused(tables, other, "not a database")
    other.unlink()
    sqlite3.connect(other).execute("CREATE TABLE x (y)").close()
    refused(tables, other, "not a backup of Tailplane")
    other.write_bytes(b"")
    refused(tables, other)
    cli(tables, "backup", backup)
    content = bytearray(backup.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    other.write_bytes(content)
    refused(tables, other)
    with sqlite3.connect(backup) as db:
        db.execute("UPDATE tailplane_files SET name = '../../evil'")
    refused(tables, backup, "a file that it cannot have")
    assert tables.call("put", name="after") == 2


def test_a_backup_of_the_future(tables, second):
    tables.call("put", name="kept")
    second.configure("tables_newer")
    second.start()
    second.call("put", name="new")
    backup = tables.folder / "backup"
    cli(second, "backup", backup)
    refused(tables, backup, "newer Tailplane", "version 2", "knows 1")


def test_a_backup_that_its_plugin_cannot_take(tables):
    """It starts, fails, and everything goes back to what it was."""
    tables.call("put", name="kept")
    backup = tables.folder / "backup"
    cli(tables, "backup", backup)
    with sqlite3.connect(backup) as db:
        db.execute("INSERT INTO things VALUES (77, 'poison')")
    (tables.state / "tables.key").write_text("second key")
    refused(tables, backup, "poisoned")
    assert (tables.state / "tables.key").read_text() == "second key"
    assert tables.call("put", name="after") == 2


def test_a_store_that_is_corrupt(tables):
    """What is said leads out of it."""
    tables.call("put", name="kept")
    backup, store = tables.folder / "backup", tables.state / "db.sqlite"
    cli(tables, "backup", backup)
    assert tables.stop() == 0
    content = store.read_bytes()
    store.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    said = tables.fails()
    assert f"{store}: " in said and "malformed" in said
    assert "move it away with its -wal and -shm files and start again, then: tailplane restore FILE" in said
    for file in tables.state.glob("db.sqlite*"):
        file.rename(tables.folder / file.name)
    tables.start()
    cli(tables, "restore", backup)
    assert tables.call("list") == {"kept": 1}


def test_nothing_to_back_up(daemon):
    daemon.configure("base")
    daemon.start()
    assert "nothing to back up" in cli(daemon, "backup", daemon.folder / "b", check=False).stderr


def test_a_place_that_cannot_be_written(tables):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    assert "No space" in cli(tables, "backup", "/dev/full", check=False).stderr
    assert tables.call("put", name="on") == 1
