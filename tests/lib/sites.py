# SPDX-License-Identifier: BSD-3-Clause
"""Two gateways with Ethernet ports, a site behind each, a tunnel between them:

    host a ---- lan [gateway a] wan ---- wan [gateway b] lan ---- host b
    10.1.0.10    10.1.0.1   198.51.100.1 198.51.100.2  10.2.0.1   10.2.0.10
    fd01::10     fd01::1    fd00::1      fd00::2       fd02::1    fd02::10
"""

from daemon import Tailplaned
from traffic import transfer, wait_ping
from wg import new_key

PORT = 51820
NUMBER = {"a": 1, "b": 2}
OTHER = {"a": "b", "b": "a"}
WAN = "net_af_packet0,iface=wan0"
LAN = "net_af_packet1,iface=lan0"


class Sites:
    """The machines and their cables; `start` puts a daemon on each gateway."""

    def __init__(self, net, cable=True):
        self.net = net
        self.gateways = {me: net.machine(f"gateway-{me}") for me in "ab"}
        self.a, self.b = self.gateways["a"], self.gateways["b"]
        self.host_a, self.host_b = net.machine("host-a"), net.machine("host-b")
        self.keys = {me: new_key() for me in "ab"}
        self.daemons = {}
        if cable:
            self.cable()
        for host, me in ((self.host_a, "a"), (self.host_b, "b")):
            n = NUMBER[me]
            net.link(host, self.gateways[me], [f"10.{n}.0.10/24", f"fd0{n}::10/64"], b_dev="lan0",
                     offload=False)
            host.run("ip", "route", "add", "default", "via", f"10.{n}.0.1")
            host.run("ip", "-6", "route", "add", "default", "via", f"fd0{n}::1")

    def cable(self, mtu=1500):
        self.net.link(self.a, self.b, a_dev="wan0", b_dev="wan0", offload=False, mtu=mtu)

    def config(self, me, wan=None, lan=None, outer=4, tunnel=None, **settings):
        """One gateway's; `wan` and `lan` are what its ports have beside names and addresses."""
        n, other = NUMBER[me], OTHER[me]
        far = NUMBER[other]
        endpoint = f"198.51.100.{far}" if outer == 4 else f"[fd00::{far}]"
        return {"plugins": ["dataplane"], "dataplane": {
            "workers": 1, "hugepages": False, **settings,
            "ports": [
                {"name": "wan", "device": WAN, "addresses": [f"198.51.100.{n}/24", f"fd00::{n}/64"],
                 **(wan or {})},
                {"name": "lan", "device": LAN, "addresses": [f"10.{n}.0.1/24", f"fd0{n}::1/64"],
                 **(lan or {})},
            ],
            "tunnels": [{
                "name": "site", "underlay": "ports", "private_key": self.keys[me].private,
                "listen_port": PORT, "mtu": 1420,
                "peers": [{"name": other, "public_key": self.keys[other].public,
                           "endpoint": f"{endpoint}:{PORT}",
                           "allowed_ips": [f"10.{far}.0.0/24", f"fd0{far}::/64"]}],
                **(tunnel or {}),
            }],
        }}

    def start_one(self, me, **config):
        self.daemons[me] = Tailplaned(self.gateways[me], self.config(me, **config)).start()
        return self.daemons[me]

    def start(self, **config):
        return [self.start_one(me, **config) for me in "ab"]

    def works(self, megabytes=2):
        wait_ping(self.host_a, "10.2.0.10", timeout=30)
        wait_ping(self.host_b, "fd01::10", timeout=30)
        transfer(self.host_a, self.host_b, "10.2.0.10", megabytes=megabytes)
        transfer(self.host_b, self.host_a, "fd01::10", megabytes=megabytes)


def port_row(daemon, name):
    """A line of `tailplane ports`."""
    return next(p for p in daemon.call("ports") if p["name"] == name)
