# SPDX-License-Identifier: BSD-3-Clause
"""tailplaned on a machine: a configuration from Python values, its control socket, its life."""

import base64
import itertools
import json
import os
import socket
from pathlib import Path

import pytest

from wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TAILPLANE_BUILD_DIR", ROOT / "build"))
DAEMON = BUILD / "core" / "tailplaned"
CLI = BUILD / "core" / "cli" / "tailplane"
os.environ.setdefault("TAILPLANE_PLUGIN_PATH", f"{BUILD}/dataplane:{BUILD}/control:{BUILD}/derp:{BUILD}/plugins/gateway")
RUNTIME_DIR = "/run/tailplane"  # each machine has its own /run


def libconfig(value):
    """A Python value as libconfig text: dict = group, tuple/list of dicts = list, else array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (str, Path)):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + " ".join(f"{k} = {libconfig(v)};" for k, v in value.items()) + " }"
    inside = ", ".join(libconfig(v) for v in value)
    return f"( {inside} )" if value and isinstance(value[0], dict) else f"[ {inside} ]"


class OperationFailed(Exception):
    pass


class Control:
    """The control socket: one JSON object a line each way."""

    def __init__(self, path, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("r", encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.sock.close()

    def call(self, op, **args):
        """The result; rows of a stream are in `self.rows`."""
        self.rows = []
        self.sock.sendall(json.dumps({"op": op, "args": args}).encode() + b"\n")
        while line := self.lines.readline():
            answer = json.loads(line)
            if "row" in answer:
                self.rows.append(answer["row"])
            elif "error" in answer:
                raise OperationFailed(answer["error"])
            else:
                return answer["result"]
        raise OperationFailed("the daemon closed the connection")


class Tailplaned:
    """One daemon; its state directory lives as long as the test, over restarts."""

    _numbers = itertools.count(1)

    def __init__(self, machine, config, name=None, environment=None):
        """`config`: groups as dict. A `private_key` or `preshared_key` in a tunnel or peer becomes
        a secret file and the setting that names it."""
        if not DAEMON.exists():
            pytest.skip(f"{DAEMON} is not built")
        self.machine, self.environment = machine, environment
        self.folder = machine.net.dir / f"{name or machine.name}.{next(self._numbers)}"
        self.state_dir = self.folder / "state"
        self.state_dir.mkdir(parents=True, mode=0o700)
        self.config_file = self.folder / "tailplane.conf"
        self.configure(config)
        self.program = None

    def configure(self, config):
        """Writes the file; a running daemon is asked to `reload` by the test."""
        self.config = config
        core = {"state_dir": self.state_dir, "runtime_dir": RUNTIME_DIR, "user": "root",
                "metrics": {"listen": ""}}
        config = {**config, "core": {**core, **config.get("core", {})}}
        config = self._secrets_to_files(config)
        self.config_file.write_text("".join(f"{k} = {libconfig(v)};\n" for k, v in config.items()))

    def _secrets_to_files(self, value):
        if isinstance(value, (list, tuple)):
            return [self._secrets_to_files(v) for v in value]
        if not isinstance(value, dict):
            return value
        out = {}
        for key, v in value.items():
            if key in ("private_key", "preshared_key"):
                name = f"{value['name']}.{key}"
                path = self.state_dir / name
                path.touch(mode=0o600)
                path.write_text(v + "\n")
                out[f"{key}_file"] = name
            else:
                out[key] = self._secrets_to_files(v)
        return out

    def start(self, *args, wait=True):
        self.program = self.machine.start(DAEMON, "-c", self.config_file, *args, name="tailplaned", env=self.environment)
        if wait:
            self.wait_up()
        return self

    def wait_up(self, timeout=15):
        def answers():
            assert self.program.alive(), f"tailplaned ended with {self.program.popen.returncode}"
            return self.call("plugins")

        try:
            wait_until(answers, "tailplaned answers on its control socket", timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.program.log()}") from None

    def control(self):
        return Control(self.machine.path(f"{RUNTIME_DIR}/ctl.sock"))

    def call(self, op, **args):
        with self.control() as control:
            return control.call(op, **args)

    def cli(self, *args, check=True):
        return self.machine.run(CLI, "-s", f"{RUNTIME_DIR}/ctl.sock", *args, check=check)

    def check_config(self, *args):
        """`tailplaned -n`: its exit status and words."""
        return self.machine.run(DAEMON, *(args or ["-n"]), "-c", self.config_file, check=False)

    def peers(self):
        """`tailplane peers` by public key."""
        return {p["public_key"]: p for p in self.call("peers")}

    def drops(self):
        """Only what counted: name -> packets."""
        return {d["reason"]: d["packets"] for d in self.call("drops") if d["packets"]}

    def stop(self):
        assert self.program.stop() == 0, self.program.log()

    def restart(self):
        self.stop()
        return self.start()


def peer(name, key, allowed_ips, **settings):
    public = key if isinstance(key, str) else key.public
    return {"name": name, "public_key": public, "allowed_ips": list(allowed_ips), **settings}


def tunnel(name, key, addresses, peers, listen_port=51820, mtu=1420, **settings):
    return {"name": name, "interface": name, "private_key": key.private, "listen_port": listen_port,
            "addresses": list(addresses), "mtu": mtu, **settings, "peers": list(peers)}


def gateway(*tunnels, workers=1, hugepages=False, **settings):
    """A configuration of a host-port gateway. Hugepages are the whole machine's: daemons of tests
    that run at the same time would take them from each other."""
    return {"plugins": ["dataplane"],
            "dataplane": {"workers": workers, "hugepages": hugepages, **settings, "tunnels": list(tunnels)}}


def public_key_bytes(text):
    return base64.b64decode(text)
