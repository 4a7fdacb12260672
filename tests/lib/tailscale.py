# SPDX-License-Identifier: BSD-3-Clause
"""Tailscale that we did not write: tailscaled, tailscale and derper, from the Go modules.

    internet 10.55.0.1 (2001:db8:ff::1) - a bridge that is the default route of all
        |-- server .2: tailplaned
        |-- relay .3: derper
        |-- a .11, b .12, ...: clients

Nothing behind the bridge exists: what a client tries to reach there is refused at once. The network
is a private one: to a public address a client that lost its plain connection goes on with TLS alone.
"""

import contextlib
import hashlib
import http.client
import ipaddress
import json
import re
import socket
import ssl
from pathlib import Path

from gobuild import go_program
from wait import wait_until

CURRENT, OLDER, OLDEST = "1.102.4", "1.90.9", "1.80.3"  # the oldest that is served
NEEDS_GO = {CURRENT: (1, 26, 0), OLDER: (1, 25, 3), OLDEST: (1, 23, 1)}
NET4, NET6 = "10.55.0", "2001:db8:ff:"

ENVIRONMENT = {
    "TS_NO_LOGS_NO_SUPPORT": "true",
    "TS_DISABLE_PORTMAPPER": "1",
    "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
    "TS_DEBUG_FIREWALL_MODE": "nftables",
}


def program(name, version=CURRENT):
    stamps = f"-s -w -X tailscale.com/version.longStamp={version} -X tailscale.com/version.shortStamp={version}"
    return go_program(f"tailscale.com/cmd/{name}", f"v{version}", NEEDS_GO[version], f"tailscale-{version}",
                      ldflags=stamps)


class Internet:
    """The bridge between a server and its clients."""

    def __init__(self, net):
        self.net = net
        self.router = net.machine("internet")
        self.router.run("ip", "link", "add", "br0", "type", "bridge")
        self.router.run("ip", "link", "set", "br0", "up")
        self.router.address("br0", f"{NET4}.1/24", f"{NET6}:1/64")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.run("ip", "route", "add", "unreachable", "default")
        self.router.run("ip", "-6", "route", "add", "unreachable", "default")
        self.ports = 0

    def machine(self, name, number):
        machine = self.net.machine(name)
        dev = f"p{self.ports}"
        self.ports += 1
        self.net.link(machine, self.router, [f"{NET4}.{number}/24", f"{NET6}:{number}/64"], b_dev=dev)
        self.router.run("ip", "link", "set", dev, "master", "br0")
        machine.run("ip", "route", "add", "default", "via", f"{NET4}.1")
        machine.run("ip", "-6", "route", "add", "default", "via", f"{NET6}:1")
        private_etc(machine)
        machine.outside = f"{NET4}.{number}"
        return machine


def private_etc(machine):
    """A client replaces /etc/resolv.conf by rename and leaves files beside it."""
    folder = machine.net.dir / f"{machine.name}.etc"
    machine.run("cp", "-a", "/etc", folder)
    machine.run("mount", "--bind", folder, "/etc")
    machine.run("sh", "-c", f"rm -f /etc/resolv.conf; echo nameserver {NET4}.1 >/etc/resolv.conf")
    with open(folder / "hosts", "a") as hosts:
        hosts.write(f"127.0.0.1 {machine.name}\n")


class Derper:
    """The relay, with a certificate of its own that the map pins."""

    REGION = 900

    def __init__(self, machine, version=CURRENT, authority=None, args=(), env=None):
        """`authority` (certificates.Authority) signs its certificate; without one it signs itself."""
        self.machine, self.version, self.args, self.env = machine, version, args, env
        self.folder = folder = machine.net.dir / f"{machine.name}.derper"
        folder.mkdir()
        address = machine.outside
        if authority:
            authority.issue(folder / f"{address}.crt", folder / f"{address}.key", address)
        else:
            machine.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}",
                        "-keyout", folder / f"{address}.key", "-out", folder / f"{address}.crt")
        der = ssl.PEM_cert_to_DER_cert((folder / f"{address}.crt").read_text())
        self.pin = hashlib.sha256(der).hexdigest()
        self.start()

    def start(self):
        machine = self.machine
        self.program = machine.start(
            program("derper", self.version), "-c", self.folder / "derper.key", "-a", ":443", "-http-port", "-1",
            "-certmode", "manual", "-certdir", self.folder, "-hostname", machine.outside, "-stun", *self.args,
            name="derper", env=self.env)
        wait_until(lambda: machine.run("sh", "-c", "ss -ltn | grep -q :443", check=False).returncode == 0,
                   "derper listens", 30)

    def map_file(self):
        node = {"Name": "900a", "RegionID": self.REGION, "HostName": self.machine.outside,
                "IPv4": self.machine.outside, "IPv6": "none", "CertName": f"sha256-raw:{self.pin}"}
        region = {"RegionID": self.REGION, "RegionCode": "test", "RegionName": "Test", "Nodes": [node]}
        path = self.machine.net.dir / "derp.json"
        path.write_text(json.dumps({"Regions": {str(self.REGION): region}}))
        return path


class LocalApi(http.client.HTTPConnection):
    """tailscaled's own door."""

    def __init__(self, path):
        super().__init__("local-tailscaled.sock", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Client:
    """tailscaled on a machine of its own."""

    def __init__(self, machine, version=CURRENT, environment=None):
        self.machine, self.version = machine, version
        self.environment = {**ENVIRONMENT, **(environment or {})}
        self.folder = machine.net.dir / f"{machine.name}.ts"
        self.folder.mkdir()
        self.socket = self.folder / "ts.sock"
        self.start()

    def start(self):
        self.program = self.machine.start(
            program("tailscaled", self.version), f"--statedir={self.folder}", f"--socket={self.socket}",
            "--port=41641", "--tun=tailscale0", "--no-logs-no-support", name="tailscaled", env=self.environment)
        wait_until(self.socket.exists, "tailscaled has its socket", 30)

    def run(self, *args, check=True, timeout=90):
        return self.machine.run(program("tailscale", self.version), f"--socket={self.socket}", *args, check=check,
                                timeout=timeout)

    def up(self, url, key=None, *flags, check=True, hostname=None, timeout=60):
        return self.run("up", f"--login-server={url}", f"--hostname={hostname or self.machine.name}",
                        "--accept-routes", f"--timeout={timeout}s", *([f"--auth-key={key}"] if key else []), *flags,
                        check=check)

    def login(self, url, *flags):
        """`up` without a key, and the page that it wants to be opened; `finish()` waits for its end."""
        program_ = self.machine.start(
            program("tailscale", self.version), f"--socket={self.socket}", "up", f"--login-server={url}",
            f"--hostname={self.machine.name}", "--accept-routes", "--timeout=120s", *flags, name="up")
        page = wait_until(lambda: re.search(r"https?://\S+/register/\S+", program_.log()), "the page to open", 60)
        return page.group(0), lambda: program_.wait(60)

    def status(self):
        """What `tailscale status --json` shows. Asked without that program: it is looked at so often that starting it
        would take more of the machine than what is tested."""
        try:
            with contextlib.closing(LocalApi(self.socket)) as api:
                api.request("GET", "/localapi/v0/status")
                answer = api.getresponse()
                return json.loads(answer.read()) if answer.status == 200 else {}
        except (OSError, http.client.HTTPException):
            return {}

    def state(self):
        return self.status().get("BackendState")

    def wait_state(self, state, timeout=60):
        wait_until(lambda: self.state() == state, f"{self.machine.name} is {state}", timeout)

    def addresses(self):
        return self.status()["Self"]["TailscaleIPs"]

    @property
    def ip4(self):
        return next(a for a in self.addresses() if ipaddress.ip_address(a).version == 4)

    @property
    def ip6(self):
        return next(a for a in self.addresses() if ipaddress.ip_address(a).version == 6)

    def peers(self):
        """By short name."""
        return {p["DNSName"].split(".")[0]: p for p in (self.status().get("Peer") or {}).values()}

    def wait_peer(self, name, timeout=60, **facts):
        """Until this peer is there with these facts (Online=True, ...)."""
        def there():
            peer = self.peers().get(name)
            return peer and all(peer.get(k) == v for k, v in facts.items())

        wait_until(there, f"{self.machine.name} sees {name} {facts or ''}", timeout)

    def wait_no_peer(self, name, timeout=60):
        wait_until(lambda: self.status() and name not in self.peers(), f"{self.machine.name} sees no {name}", timeout)

    def log(self):
        return Path(self.program.log_path).read_text(errors="replace")
