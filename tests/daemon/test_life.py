# SPDX-License-Identifier: BSD-3-Clause
"""From the command line to the loop and back: order, states, what keeps a daemon from starting."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from daemon import DAEMON, OperationFailed
from wait import wait_until


def test_order_is_that_of_needs_and_mirrored(daemon):
    daemon.configure("top", "plain", "middle", "base", base={"value": 7}, top={"value": 9})
    daemon.start()
    assert daemon.trace() == [
        "base init 7", "middle init 0", "top init 9", "plain init 0",
        "base start 7", "middle start 0", "top start 9", "plain start 0"]
    assert list(daemon.states()) == ["base", "middle", "top", "plain"]
    assert daemon.call("base") == 7
    assert daemon.stop() == 0
    assert daemon.trace() == [
        "plain stop 0", "top stop 9", "middle stop 0", "base stop 7",
        "plain fini", "top fini", "middle fini", "base fini"]
    assert not daemon.socket.exists()


def test_version_health_and_configtest(daemon):
    daemon.configure("base")
    daemon.start()
    assert daemon.call("version") == {"version": daemon.call("status")["version"]}
    assert daemon.call("health") == {"databaseConnectivity": True}
    assert daemon.call("configtest") == "the configuration is good"
    daemon.configure("bass")
    with pytest.raises(OperationFailed, match='no plugin "bass"'):
        daemon.call("configtest")
    assert daemon.states() == {"base": "up"}


def test_plugins_tell_their_states(daemon):
    daemon.configure("middle", "base")
    daemon.start()
    rows = {p["name"]: p for p in daemon.call("plugins")}
    assert rows["middle"]["state"] == "up" and rows["middle"]["needs"] == ["base"]
    assert rows["base"]["reason"] == "" and rows["base"]["since"] > 1_500_000_000
    status = daemon.call("status")
    assert status["pid"] == daemon.process.pid and status["state_dir"] == str(daemon.state)
    assert status["base"] == {"state": "up", "value": 0}


@pytest.mark.parametrize("plugins, words", [
    (["circle_a", "circle_b"], ["conf:1: ", "circle: circle_a -> circle_b -> circle_a"]),
    (["base", "orphan"], ['conf:1: plugin "orphan" needs "nowhere", which is not loaded: add it to plugins']),
    (["middle"], ['"middle" needs "base"']),
    (["bass"], ['conf:1: there is no plugin "bass": no bass.so in ', "core.plugin_path"]),
    (["wrong_abi"], ['wrong_abi.so cannot be plugin "wrong_abi": it was built for plugin ABI 2', "build it again"]),
    (["wrong_size"], ["wrong_size.so", "bytes", "build it again"]),
    (["wrong_name"], ['wrong_name.so cannot be plugin "wrong_name": it calls itself "another"']),
    (["no_symbol"], ["no_symbol.so is no plugin: it has no symbol tailplane_plugin"]),
    (["thief"], ['its operation "status" is the core\'s']),
    (["base", "copycat"], ['its operation "base" is that of plugin "base"']),
    (["../base"], ["cannot name a plugin"]),
])
def test_what_cannot_be_loaded(daemon, plugins, words):
    daemon.configure(*plugins)
    for args in ([], ["-n"]):
        said = daemon.fails(*args)
        for word in words:
            assert word in said
    assert daemon.trace() == []


def test_a_failed_init_takes_back_those_before(daemon):
    daemon.configure("base", "middle", "top", middle={"fail_init": True})
    assert "plugin middle: init failed: told to fail in init" in daemon.fails()
    assert daemon.trace() == ["base init 0", "middle init 0", "base fini"]


def test_a_failed_start_takes_back_those_before(daemon):
    daemon.configure("base", "middle", "top", middle={"fail_start": True})
    assert "plugin middle: start failed: told to fail in start" in daemon.fails()
    assert daemon.trace() == [
        "base init 0", "middle init 0", "top init 0", "base start 0", "middle start 0",
        "base stop 0", "top fini", "middle fini", "base fini"]
    assert not daemon.socket.exists()
    daemon.configure("base")
    daemon.start()


def test_errors_name_file_and_line(daemon):
    daemon.conf.write_text('plugins = [ "base" ];\nbase = {\n  valu = 3;\n};\n')
    said = daemon.fails("-n")
    assert f"{daemon.conf}:3: " in said and '"value"' in said
    daemon.conf.unlink()
    assert str(daemon.conf) in daemon.fails() and "No such file" in daemon.fails()


@pytest.mark.parametrize("core, words", [
    ({"state_dir": "state"}, '"state" is not an absolute path'),
    ({"jobs": 0}, "1 to 64"),
    ({"log_level": "loud"}, "loud"),
    ({"user": ""}, "name a user"),
    ({"aead": "rot13"}, '"rot13" is no implementation'),
    ({"metrics": {"listen": "localhost"}}, '"localhost" is not an address with a port'),
    ({"metrics": {"listen": "0.0.0.0:9586"}}, "can be reached from other machines"),
    ({"metrics": {"listen": "[::]:9586"}}, "can be reached from other machines"),
])
def test_core_settings_are_checked(daemon, core, words):
    daemon.env["TAILPLANE_AEAD"] = ""
    daemon.configure(core=core)
    assert words in daemon.fails()


def test_the_aead_is_a_setting_that_the_environment_overrides(daemon):
    def chosen(setting, environment=""):
        daemon.env["TAILPLANE_AEAD"] = environment
        daemon.configure(core={"aead": setting})
        daemon.start()
        name = daemon.call("status")["aead"]
        daemon.stop()
        return name

    best = chosen("auto")
    assert chosen("portable") == "portable"
    assert chosen(best, "portable") == "portable" and chosen("portable", best) == best
    if "avx2" in Path("/proc/cpuinfo").read_text():
        assert best != "portable" and chosen("avx2") == "avx2"
    daemon.env["TAILPLANE_AEAD"] = "rot13"
    assert 'TAILPLANE_AEAD: "rot13" is no implementation' in daemon.fails()


def test_printed_configuration_reads_back(daemon):
    daemon.configure("base", base={"value": 5})
    printed = subprocess.run([DAEMON, "-nv", "-c", daemon.conf], env=daemon.environment(), capture_output=True,
                             text=True, check=True).stdout
    assert "value = 5;" in printed and 'log_level = "info";' in printed
    daemon.conf.write_text(printed)
    again = subprocess.run([DAEMON, "-nv", "-c", daemon.conf], env=daemon.environment(), capture_output=True,
                           text=True, check=True).stdout
    assert again == printed
    assert daemon.trace() == []


def test_the_command_line(daemon):
    def run(*args):
        return subprocess.run([DAEMON, *args], capture_output=True, text=True, env=daemon.environment())

    assert re.fullmatch(r"tailplaned \d+\.\d+\.\d+\n", run("-V").stdout)
    assert run("--help").stdout.startswith("usage: tailplaned ")
    assert run("-x").returncode == 2 and run("-n", "word").returncode == 2
    manual = run("--manual-settings").stdout
    assert "state_dir" in manual and "hang_in_stop" in manual


def test_plugins_are_found_by_setting(daemon):
    where = daemon.env.pop("TAILPLANE_PLUGIN_PATH")
    daemon.configure("base", core={"plugin_path": ["/nowhere", where]})
    daemon.start()
    assert daemon.call("plugins")[0]["file"] == f"{where}/base.so"


def test_two_daemons_do_not_share_a_state_directory(daemon, second):
    daemon.start()
    second.configure(core={"state_dir": daemon.state})
    said = second.fails()
    assert f"{daemon.state} is in use by process {daemon.process.pid}" in said
    assert daemon.call("status")


def test_two_daemons_do_not_share_a_socket(daemon, second):
    daemon.configure("base")
    daemon.start()
    daemon.trace()
    second.configure("base", core={"runtime_dir": daemon.run})
    second.env["TAILPLANE_TEST_TRACE"] = daemon.env["TAILPLANE_TEST_TRACE"]
    assert f"process {daemon.process.pid} answers at {daemon.socket} already" in second.fails()
    assert "base start 0" not in daemon.trace()
    assert daemon.call("status")


def test_kill_and_restart(daemon):
    daemon.configure("base")
    daemon.start()
    daemon.kill(signal.SIGKILL)
    daemon.process.wait(10)
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.states() == {"base": "up"}


def test_what_is_in_the_way_of_the_socket_stays(daemon):
    daemon.run.mkdir()
    daemon.socket.write_text("precious")
    assert f"{daemon.socket} is in the way, and no socket" in daemon.fails()
    assert daemon.socket.read_text() == "precious"


def test_directories_are_made_for_the_owner_alone(daemon):
    daemon.configure("base", core={"state_dir": daemon.folder / "a" / "b"})
    daemon.start()
    assert (daemon.folder / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert daemon.run.stat().st_mode & 0o777 == 0o750
    assert daemon.socket.stat().st_mode & 0o777 == 0o660


def test_interrupts(daemon):
    daemon.configure("base")
    daemon.start()
    assert daemon.stop(signal.SIGINT) == 0
    daemon.configure("base", base={"hang_in_stop": True})
    daemon.trace()
    daemon.start()
    daemon.kill(signal.SIGINT)
    wait_until(lambda: "base stop 0" in daemon.trace_file.read_text(), "stop is called")
    assert daemon.process.poll() is None
    assert daemon.stop(signal.SIGINT) == 128 + signal.SIGINT


def test_secrets_that_others_can_read_are_refused(daemon):
    daemon.state.mkdir(mode=0o700)
    secret = daemon.state / "key"
    secret.write_text("x" * 44)
    secret.chmod(0o640)
    daemon.configure("base", base={"secret": "key"})
    assert f"chmod 600 {secret}" in daemon.fails()
    secret.chmod(0o600)
    daemon.start()
    assert "xxxx" not in daemon.log()


def test_a_host_without_the_dataplane_maps_no_dpdk(daemon):
    daemon.configure("base", "calls")
    daemon.start()
    maps = open(f"/proc/{daemon.process.pid}/maps").read()
    assert "base.so" in maps and "librte_" not in maps


def test_no_core_dumps_unless_wanted(daemon):
    def limit():
        lines = open(f"/proc/{daemon.process.pid}/limits").read().splitlines()
        return next(l for l in lines if l.startswith("Max core file size")).split()[4]

    daemon.start()
    assert limit() == "0"
    daemon.stop()
    daemon.configure(core={"coredumps": True})
    daemon.start()
    assert limit() == "unlimited" or os.getuid() != 0
