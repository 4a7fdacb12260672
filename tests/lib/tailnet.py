# SPDX-License-Identifier: BSD-3-Clause
"""A tailnet of ours with clients that are not: see tailscale.py for the drawing."""

import datetime
import json
from pathlib import Path

from daemon import RUNTIME_DIR, Control, Tailplaned
from machine import need_namespaces
from tailscale import CURRENT, NET4, Client, Derper, Internet
from wait import wait_until

PORT = 8080
URL = f"http://{NET4}.2:{PORT}"


class Tailnet:
    def __init__(self, net, *, url=URL, http=None, hosts=None, environment=None, disk=None, plugins=("control",),
                 **control):
        """`disk`: the state's file system is of its own, and of this size; `http`: settings of the front door; `hosts`: names that all machines know; `environment`: of the
        server and of clients."""
        need_namespaces()
        self.url, self.hosts, self.environment = url, hosts or {}, environment or {}
        self.internet = Internet(net)
        self.server = self.machine("server", 2)
        self.derper = Derper(self.machine("relay", 3))
        self.daemon = Tailplaned(self.server, {
            "plugins": list(plugins),
            "core": {"http": http or {"listen_addr": [f"{NET4}.2:{PORT}"]}},
            "control": {"server_url": url, "first_key": False, "derp": {"paths": [str(self.derper.map_file())]},
                        "dns": {"base_domain": "tail.test"}, **control},
        }, environment=self.environment)
        if disk:
            self.server.run("mount", "-t", "tmpfs", "-o", f"size={disk},mode=700", "tmpfs", self.daemon.state_dir)
        self.daemon.start()
        self.cli("users", "create", "alice")
        self.clients = 0

    def machine(self, name, number):
        machine = self.internet.machine(name, number)
        with open(machine.path("/etc/hosts"), "a") as file:
            file.writelines(f"{address} {host}\n" for host, address in self.hosts.items())
        return machine

    def cli(self, *args, check=True):
        return self.daemon.cli(*args, check=check)

    def ask(self, *args):
        return json.loads(self.cli("-o", "json", *args).stdout)

    def doctor(self):
        """Each line by what was looked at; it has not failed for a reason of its own."""
        return {row["check"]: row for row in json.loads(self.cli("-o", "json", "doctor", check=False).stdout)}

    def key(self, *flags, user="alice"):
        return self.cli("preauthkeys", "create", *(["-u", user] if user else []), *flags).stdout.strip()

    def client(self, name, version=CURRENT, environment=None):
        self.clients += 1
        given = self.environment if environment is None else environment
        return Client(self.machine(name, 10 + self.clients), version, given)

    def joined(self, name, *flags, version=CURRENT, key=None):
        client = self.client(name, version)
        client.up(self.url, key or self.key(), *flags)
        return client

    def node(self, name):
        return next(n for n in self.ask("nodes", "list") if n["givenName"] == name)

    def nodes(self):
        return sorted(n["givenName"] for n in self.ask("nodes", "list"))

    def events(self):
        return Events(self.server.path(f"{RUNTIME_DIR}/ctl.sock"))

    def wait_online(self, timeout=60):
        wait_until(lambda: all(n["online"] for n in self.ask("nodes", "list")), "all are online", timeout)


class Events:
    """`events watch`: what happens from now on, by the server's clock."""

    def __init__(self, socket, timeout=60):
        self.control = Control(socket, timeout)
        self.control.sock.sendall(b'{"op": "events watch"}\n')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.__exit__()

    def wait(self, node, what):
        """When that happened to it, in Unix seconds."""
        for line in self.control.lines:
            row = json.loads(line)["row"]
            if row["node"] == node and what in row["what"]:
                return datetime.datetime.fromisoformat(row["time"][:26].rstrip("Z") + "+00:00").timestamp()
        raise AssertionError("the daemon closed the connection")


def kept_waiting(*programs):
    """Seconds for which the threads of programs were ready to run and the machine did not let them."""
    return sum(int((task / "schedstat").read_text().split()[1]) / 1e9
               for program in programs for task in Path(f"/proc/{program.pid}/task").iterdir())


def names_resolve(client, name, address):
    wait_until(lambda: address in client.machine.run("getent", "ahostsv4", f"{name}.tail.test", check=False).stdout,
               f"{name} resolves on {client.machine.name}", 40)
