# SPDX-License-Identifier: BSD-3-Clause
"""Our relay with tailscaled around it, as tests of several files have it: beside the control server in one
process, or alone as configs/derp.conf has it. See tailscale.py for the drawing."""

import hashlib
import json
import re
import ssl

from certificates import Authority
from daemon import Tailplaned
from machine import need_namespaces
from proxy import nginx
from tailscale import CURRENT, NET4, Client, Internet
from traffic import wait_ping
from wait import wait_until

ADDRESS = f"{NET4}.2"
URL = f"http://{ADDRESS}:8080"
REGION = 999


def wall(machine):
    """No UDP leaves; the tunnel's own interface is no matter."""
    machine.run("nft", "add table inet wall; add chain inet wall out { type filter hook output priority 0; }; "
                "add rule inet wall out oifname eth0 meta l4proto udp drop")


def relayed(a, b, timeout=60):
    wait_ping(a.machine, b.ip4, timeout=timeout)
    peer = a.peers()[b.machine.name]
    assert not peer["CurAddr"] and peer["Relay"] == "tailplane"


class World:
    """A control server, and a relay: `daemon` and `relay`, which may be one process."""

    environment = None

    def __init__(self, net):
        need_namespaces()
        self.internet = Internet(net)
        self.server = self.internet.machine("server", 2)
        self.clients = 0

    def control(self, *plugins, control=None, **groups):
        self.daemon = Tailplaned(self.server, {
            "plugins": ["control", *plugins],
            "core": {"http": {"listen_addr": [f"{ADDRESS}:8080"]}},
            "control": {"server_url": URL, "first_key": False, "dns": {"base_domain": "tail.test"}, **(control or {})},
            **groups,
        })
        self.daemon.start()
        self.daemon.cli("users", "create", "alice")

    def ask(self, *args):
        """The daemon that has the operation."""
        daemon = self.relay if args[0] == "derp" else self.daemon
        return json.loads(daemon.cli("-o", "json", *args).stdout)

    def wait_works(self):
        wait_until(lambda: self.ask("derp", "status")["works"] == "yes", "the relay works", 30)

    def key(self):
        return self.daemon.cli("preauthkeys", "create", "-u", "alice").stdout.strip()

    def joined(self, name, before=lambda machine: None, version=CURRENT):
        self.clients += 1
        machine = self.internet.machine(name, 10 + self.clients)
        before(machine)
        client = Client(machine, version, environment=self.environment)
        client.up(URL, self.key())
        return client

    def rows(self):
        """Of the relay's clients, by key."""
        return {row["key"]: row for row in self.ask("derp", "clients")}

    def connected(self):
        """To the process that is asked."""
        return {key for key, row in self.rows().items() if row["via"] not in ("old process", "new process")}

    def key_of(self, name):
        return next(n["nodeKey"] for n in self.ask("nodes", "list") if n["givenName"] == name)

    def counter(self, name):
        return int(re.search(rf"^tailplane_derp_{name}_total (\d+)$", self.relay.call("metrics"), re.M).group(1))


class Embedded(World):
    """Plain HTTP for control, TLS of its own for the relay, nothing from outside."""

    def __init__(self, net, **derp):
        super().__init__(net)
        self.control("derp", derp={"tls_listen_addr": [f"{ADDRESS}:8443"], **derp})
        self.relay = self.daemon
        self.wait_works()


class Alone(World):
    """The relay is a machine of its own, .3, with a certificate in files; the control server asks nobody for it
    but reads the map that it prints."""

    def __init__(self, net, behind_proxy=False, **derp):
        """`behind_proxy`: nginx has the certificate, the relay is plain."""
        super().__init__(net)
        self.authority = Authority(net.dir / "authority")
        self.environment = self.authority.env
        self.machine = self.internet.machine("relay", 3)
        self.certificate, self.private_key = net.dir / "relay.crt", net.dir / "relay.key"
        self.issue()
        http = {"listen_addr": [":443"], "tls_cert_path": self.certificate, "tls_key_path": self.private_key}
        if behind_proxy:
            http = {"listen_addr": ["127.0.0.1:8080"], "trusted_proxies": ["127.0.0.1/32"]}
            derp = {"advertised_port": 443, **derp}
            nginx(self.machine, net.dir, self.machine.outside, self.certificate, self.private_key)
        self.relay = Tailplaned(self.machine, {
            "plugins": ["derp"],
            "core": {"http": http},
            "derp": {"hostname": self.machine.outside, "region_id": REGION, **derp},
        })
        self.relay.start()
        self.wait_works()
        path = net.dir / "map.json"
        path.write_text(json.dumps(self.ask("derp", "map")))
        self.control(control={"derp": {"paths": [str(path)]}})

    def issue_beside(self):
        """A new certificate and its key, which are not in place yet."""
        new = [path.with_name(f"{path.name}.new") for path in (self.certificate, self.private_key)]
        self.authority.issue(*new, self.machine.outside)
        return new

    def issue(self):
        certificate, key = self.issue_beside()
        key.rename(self.private_key)
        certificate.rename(self.certificate)

    def pin(self):
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()
