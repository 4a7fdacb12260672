# SPDX-License-Identifier: BSD-3-Clause
"""Reload: all or nothing."""

import signal

import pytest

from daemon import OperationFailed
from wait import wait_until


@pytest.fixture
def three(daemon):
    """base <- middle <- top, and plain, which nobody needs."""
    daemon.configure("top", "middle", "base", "plain")
    daemon.start()
    daemon.trace()
    return daemon


ALL = ("top", "middle", "base", "plain")


def refused(daemon):
    with pytest.raises(OperationFailed) as failure:
        daemon.call("reload")
    return str(failure.value)


def test_nothing_to_do(three):
    assert three.call("reload") == "base took the settings in, middle took the settings in, top took the settings in"
    assert three.trace() == ["base check 0", "middle check 0", "top check 0", "base apply 0", "middle apply 0",
                             "top apply 0"]


def test_absorb(three):
    three.configure(*ALL, base={"value": 3})
    assert "base took the settings in" in three.call("reload")
    assert "base apply 3" in three.trace()
    assert three.call("base") == 3
    assert set(three.states().values()) == {"up"}


def test_hangup_reloads_too(three):
    three.configure(*ALL, base={"value": 3})
    three.kill(signal.SIGHUP)
    wait_until(lambda: three.call("base") == 3, "the new value")
    three.configure(*ALL, base={"valu": 4})
    three.kill(signal.SIGHUP)
    wait_until(lambda: f"{three.conf}:" in three.log() and "valu" in three.log(), "the complaint")
    assert three.call("base") == 3


def test_a_restart_takes_along_who_needs_it(three):
    three.configure(*ALL, middle={"place": 1})
    said = three.call("reload")
    assert said == "base took the settings in, middle restarted, top restarted"
    assert three.trace() == [
        "base check 0", "middle check 0", "top check 0",
        "top stop 0", "middle stop 0", "base apply 0", "middle start 0", "top start 0"]


def test_settings_that_differ_restart_who_does_not_check(three):
    three.configure(*ALL, plain={"value": 1})
    assert "plain restarted" in three.call("reload")
    assert [t for t in three.trace() if t.startswith("plain")] == ["plain stop 0", "plain start 1"]
    assert three.call("plain") == 1


def test_who_refuses_keeps_all_others(three):
    three.configure(*ALL, base={"value": 5}, middle={"place": 2}, top={"value": -1}, plain={"value": 1})
    assert refused(three) == "plugin top: the value -1 cannot be"
    assert three.trace() == ["base check 5", "middle check 0", "top check -1"]
    assert three.call("base") == 0 and three.call("plain") == 0


def test_a_bad_file_has_no_effect(three):
    three.conf.write_text(three.conf.read_text() + "base = { value = true; };\n")
    said = refused(three)
    assert f"{three.conf}:" in said and "value" in said
    assert three.trace() == []
    three.conf.write_text("plugins = [ \"circle_a\", \"circle_b\" ];")
    assert "circle" in refused(three)
    assert three.call("base") == 0 and three.trace() == []


def test_plugins_come_and_go(three):
    three.configure("base", "middle", "calls")
    said = three.call("reload")
    assert "calls added" in said and "top removed" in said and "plain removed" in said
    trace = three.trace()
    assert [t for t in trace if t.startswith(("top", "plain"))] == ["plain stop 0", "top stop 0", "plain fini", "top fini"]
    assert three.call("echo", int=1) == {"int": 1}
    states = {p["name"]: (p["state"], p["reason"]) for p in three.call("plugins")}
    assert states["top"] == ("down", "not in the configuration")
    with pytest.raises(OperationFailed, match='no operation "top"'):
        three.call("top")
    three.configure(*ALL)
    assert "top added" in three.call("reload")
    assert [t for t in three.trace() if t.startswith("top")] == ["top init 0", "top start 0"]
    assert three.call("top") == 0


def test_who_is_needed_cannot_go(three):
    three.configure("top", "middle", "plain")
    assert 'plugin "middle" needs "base"' in refused(three)
    assert three.trace() == []


def test_a_failed_restart_goes_back(three):
    three.configure(*ALL, base={"value": 8}, middle={"fail_start": True, "value": 1}, plain={"value": 2})
    said = refused(three)
    assert "plugin middle: start failed: told to fail in start; went back to the old settings" in said
    assert three.trace() == [
        "base check 8", "middle check 1", "top check 0",
        "plain stop 0", "top stop 0", "middle stop 0",
        "base apply 8", "middle start 1",
        "base check 0", "base apply 0",
        "middle start 0", "top start 0", "plain start 0"]
    assert set(three.states().values()) == {"up"}
    assert [three.call(name) for name in ALL] == [0, 0, 0, 0]


def test_a_plugin_that_cannot_be_added_leaves_no_trace(three):
    three.configure(*ALL, "calls", "raw", raw={"fail_init": True})
    assert "plugin raw: init failed: told to fail in init; went back" in refused(three)
    assert [t for t in three.trace() if "check" not in t] == ["raw init 0"]
    states = three.states()
    assert states["calls"] == "down" and states["raw"] == "failed"
    three.configure(*ALL, "calls", "raw", raw={"fail_start": True})
    assert "went back" in refused(three)
    assert [t for t in three.trace() if t.startswith("raw")] == ["raw init 0", "raw start 0", "raw fini"]


def test_one_that_fails_with_the_old_settings_too(three):
    brake = three.folder / "brake"
    three.configure(*ALL, middle={"fail_start_while": brake})
    three.call("reload")
    three.trace()
    brake.touch()
    three.configure(*ALL, middle={"fail_start_while": brake, "place": 1})
    said = refused(three)
    assert "with the old settings too: plugin middle: start failed" in said
    assert "plugin top: it needs middle, which does not run" in said
    states = {p["name"]: (p["state"], p["reason"]) for p in three.call("plugins")}
    assert states["middle"] == ("failed", "told to fail in start")
    assert states["top"] == ("failed", "it needs middle, which does not run")
    assert states["base"][0] == states["plain"][0] == "up"
    brake.unlink()
    three.call("reload")
    assert set(three.states().values()) == {"up"}


@pytest.mark.parametrize("core", [{"state_dir": "/elsewhere"}, {"runtime_dir": "/elsewhere"}, {"jobs": 3}, {"user": "nobody"}])
def test_what_the_core_cannot_change(three, core):
    three.configure(*ALL, core=core, base={"value": 1})
    assert refused(three) == f"core.{next(iter(core))} cannot change while running: restart the daemon"
    assert three.call("base") == 0


def test_the_log_level_changes(three):
    three.configure(*ALL, core={"log_level": "debug"})
    three.call("reload")
    assert three.call("log level") == "debug"
    three.call("log level", level="warn")
    three.call("reload")
    assert three.call("log level") == "warn"


def test_calls_of_a_plugin_that_stops_end(daemon):
    daemon.configure("calls", "base")
    daemon.start()
    with daemon.control() as stream, daemon.control() as silent:
        stream.sock.sendall(b'{"op":"stream"}\n')
        assert stream.lines.readline().startswith('{"row"')
        silent.sock.sendall(b'{"op":"silent"}\n')
        daemon.configure("base")
        daemon.call("reload")
        assert silent.lines.readline() == '{"error":"plugin calls stopped meanwhile"}\n'
        line = stream.lines.readline()
        while line.startswith('{"row"'):
            line = stream.lines.readline()
        assert line == '{"error":"plugin calls stopped meanwhile"}\n'
        # both connections live on
        assert silent.call("base") == stream.call("base") == 0
    daemon.configure("calls", "base")
    daemon.call("reload")
    assert daemon.call("counts")["closed"] == 1
