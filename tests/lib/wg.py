# SPDX-License-Identifier: BSD-3-Clause
"""WireGuard that we did not write: wireguard-go in two versions, and the `wg` tool."""

import base64
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gobuild import go_program, lacks
from wait import wait_until

CURRENT_VERSION = "v0.0.0-20260522210424-ecfc5a8d5446"
CURRENT_NEEDS_GO = (1, 23, 1)


@dataclass(frozen=True)
class Key:
    private: str
    public: str

    @property
    def public_bytes(self):
        return base64.b64decode(self.public)


def wg(*args, text=None):
    return subprocess.run(["wg", *args], input=text, capture_output=True, text=True, check=True).stdout.strip()


def new_key():
    private = wg("genkey")
    return Key(private, wg("pubkey", text=private))


def new_psk():
    return wg("genpsk")


def newest():
    """The newest version that this machine can have."""
    return "debian" if lacks("wireguard-go", CURRENT_NEEDS_GO) else "current"


def wireguard_go(which):
    """The program: "debian" (the package) or "current" (built from the Go module, kept in the cache)."""
    if which == "debian":
        found = shutil.which("wireguard-go")
        if not found:
            pytest.skip("the package wireguard-go is not installed")
        return Path(found)
    return go_program("golang.zx2c4.com/wireguard", CURRENT_VERSION, CURRENT_NEEDS_GO,
                      f"wireguard-go-{CURRENT_VERSION}")


@dataclass
class Peer:
    """A line of `wg show IF dump`."""

    public_key: str
    preshared_key: str
    endpoint: str
    allowed_ips: set
    latest_handshake: int
    rx_bytes: int
    tx_bytes: int
    keepalive: str


def show(machine, interface):
    """The peers as `wg show` tells them, by public key; works on any implementation."""
    lines = machine.run("wg", "show", interface, "dump").stdout.splitlines()[1:]
    peers = {}
    for line in lines:
        key, psk, endpoint, ips, handshake, rx, tx, keepalive = line.split("\t")
        allowed = set() if ips == "(none)" else set(ips.split(","))
        peers[key] = Peer(key, psk, endpoint, allowed, int(handshake), int(rx), int(tx), keepalive)
    return peers


class WireguardGo:
    """A wireguard-go interface on a machine."""

    def __init__(self, machine, program, key, addresses=(), port=0, mtu=1420, interface="wg0"):
        self.machine, self.key, self.interface = machine, key, interface
        self.program = machine.start(
            program, "-f", interface, name="wireguard-go",
            env={"LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1",
                 "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"},
        )
        wait_until(machine.path(f"/run/wireguard/{interface}.sock").exists, "wireguard-go's socket")
        self.set("private-key", "/dev/stdin", "listen-port", str(port), input=key.private)
        machine.address(interface, *addresses)
        machine.run("ip", "link", "set", interface, "mtu", mtu, "up")

    def set(self, *args, **kwargs):
        self.machine.run("wg", "set", self.interface, *args, **kwargs)

    def peer(self, public, allowed_ips, endpoint=None, psk=None, keepalive=None):
        """Adds or changes a peer and routes its prefixes to the interface."""
        args = ["peer", public, "allowed-ips", ",".join(allowed_ips)]
        if endpoint:
            args += ["endpoint", endpoint]
        if keepalive:
            args += ["persistent-keepalive", str(keepalive)]
        if psk:
            args += ["preshared-key", "/dev/stdin"]
        self.set(*args, input=psk)
        for prefix in allowed_ips:
            self.machine.run("ip", "route", "replace", prefix, "dev", self.interface)

    def show(self, public):
        return show(self.machine, self.interface)[public]

    def wait_handshake(self, public, timeout=15):
        return wait_until(
            lambda: self.show(public).latest_handshake, f"{self.machine.name}: handshake", timeout
        )


def from_quick(machine, program, text, interface="wg0"):
    """A client from a configuration in wg-quick's format, as a person would paste it."""
    settings = dict(
        (k.strip(), v.strip()) for k, v in (line.split("=", 1) for line in text.splitlines() if "=" in line)
    )
    addresses = [a.strip() for a in settings["Address"].split(",")]
    private = settings["PrivateKey"]
    client = WireguardGo(machine, program, Key(private, wg("pubkey", text=private)), addresses,
                         mtu=int(settings.get("MTU", 1420)), interface=interface)
    client.peer(settings["PublicKey"], [p.strip() for p in settings["AllowedIPs"].split(",")],
                settings["Endpoint"], settings.get("PresharedKey"), settings.get("PersistentKeepalive"))
    return client
