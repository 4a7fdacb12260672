# SPDX-License-Identifier: BSD-3-Clause
"""Our units under a real systemd: a relay that may do next to nothing works, is restarted without a connection
refused, and changes its process under systemd's eyes."""

import http.client
import threading

import pytest

from certificates import Authority
from daemon import BUILD, libconfig
from derp_client import Talker
from machine import network_of
from systemd import boot, installed
from wait import wait_until

UNIT = "tailplaned-derp"
ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def systemd(tmp_path_factory):
    if not (BUILD / "derp/derp.so").exists():
        pytest.skip("the plugin derp is not built")
    folder = tmp_path_factory.mktemp("systemd")
    files = installed(folder, "derp")
    authority = Authority(folder / "authority")
    certificate, key = (files / "etc/tailplane" / f"derp.{end}" for end in ("crt", "key"))
    authority.issue(certificate, key, ADDRESS)
    config = {"plugins": ["derp"],
              "core": {"http": {"listen_addr": [":443"], "tls_cert_path": "/etc/tailplane/derp.crt",
                                "tls_key_path": "/etc/tailplane/derp.key"}},
              "derp": {"drain": "2s"}}
    (files / "etc/tailplane/derp.conf").write_text("".join(f"{k} = {libconfig(v)};\n" for k, v in config.items()))
    one = boot(folder)
    one.authority = authority
    one.run("chgrp", "tailplane", "/etc/tailplane/derp.key")
    one.run("chmod", "640", "/etc/tailplane/derp.key")
    yield one
    one.close()


def test_units_are_right(systemd):
    """systemd finds no fault in them; of what it could take from a relay nothing is left but what it needs."""
    for unit in ("tailplaned", UNIT):
        done = systemd.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}.service")
        assert done.returncode == 0 and unit not in done.stdout + done.stderr, done.stdout + done.stderr
    done = systemd.run("systemd-analyze", "security", "--offline=yes", "--threshold=25",
                       f"/etc/systemd/system/{UNIT}.service")
    assert done.returncode == 0, done.stdout


class Visitors(threading.Thread):
    """Ask on port 80, one after the other, for as long as the block is."""

    def __init__(self, systemd):
        super().__init__(daemon=True)
        self.systemd, self.answered, self.refused, self.done = systemd, 0, [], threading.Event()
        self.cut = []  # came in, and got no answer

    def run(self):
        while not self.done.is_set():
            try:
                connection = http.client.HTTPConnection(ADDRESS, 80, timeout=20)
                with network_of(self.systemd.pid):
                    connection.connect()
                connection.request("GET", "/generate_204")
                assert connection.getresponse().status == 204
                connection.close()
                self.answered += 1
            except (http.client.RemoteDisconnected, ConnectionResetError) as why:
                self.cut.append(repr(why))
            except (OSError, AssertionError, http.client.HTTPException) as why:
                self.refused.append(repr(why))

    def __enter__(self):
        self.start()
        self.wait_more()
        return self

    def wait_more(self):
        seen = self.answered
        wait_until(lambda: self.answered > seen + 3, "more of them are answered", 30)

    def __exit__(self, *_):
        self.wait_more()
        self.done.set()
        self.join(30)
        assert not self.refused, self.refused


def talker(systemd):
    return Talker(systemd, f"https://{ADDRESS}", env=systemd.authority.env)


def works(systemd):
    wait_until(lambda: systemd.call("derp status")["works"] == "yes", "the relay works", 30)


def test_life(systemd):
    systemd.systemctl("start", UNIT)  # returns when it has said that it is ready
    assert systemd.show(UNIT, "ActiveState") == "active"
    works(systemd)
    status = systemd.path(f"/proc/{systemd.show(UNIT, 'MainPID')}/status").read_text()
    assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status and "\nUid:\t0" not in status
    with talker(systemd) as client:
        client.wait("up")

        # the whole process anew: its sockets were with systemd meanwhile
        first = systemd.show(UNIT, "MainPID")
        assert int(systemd.show(UNIT, "NFileDescriptorStore")) >= 2
        since = len(client.events)
        with Visitors(systemd):
            systemd.systemctl("restart", UNIT)
        client.wait("down", since)
        client.wait("up", since, timeout=30)
        works(systemd)
        second = systemd.show(UNIT, "MainPID")
        assert second != first

        # a successor: systemd follows
        since = len(client.events)
        assert systemd.call("status")["pid"] == int(second)
        with Visitors(systemd) as visitors:
            systemd.call("restart")
            wait_until(lambda: systemd.show(UNIT, "MainPID") != second, "systemd knows the new main process")
        assert not visitors.cut, visitors.cut
        third = systemd.show(UNIT, "MainPID")
        assert systemd.call("status")["pid"] == int(third)
        client.wait("restarting", since)
        client.wait("up", since, timeout=30)
        wait_until(lambda: not systemd.path(f"/proc/{second}").exists(), "the old process has ended", 30)
        assert systemd.show(UNIT, "ActiveState") == "active" and systemd.show(UNIT, "NRestarts") == "0"

        # and the new process is one as any
        systemd.systemctl("reload", UNIT)
        assert systemd.show(UNIT, "MainPID") == third
        works(systemd)
    systemd.systemctl("stop", UNIT)
    assert systemd.show(UNIT, "Result") == "success", systemd.systemctl("show", UNIT) + systemd.log()
    assert systemd.show(UNIT, "ActiveState") == "inactive"
