# SPDX-License-Identifier: BSD-3-Clause
"""A tailplaned gateway and one wireguard-go client on a cable, the topology of most tests:

    client 192.0.2.2 ---- eth0 ---- 192.0.2.1 gateway     (2001:db8::2, 2001:db8::1)
    wg0 10.9.0.2, fd09::2           wg0 10.9.0.1, fd09::1
"""

from dataclasses import dataclass

from daemon import Tailplaned, gateway, peer, tunnel
from machine import Machine
from wg import Key, WireguardGo, new_key, wireguard_go

GATEWAY, GATEWAY6 = "192.0.2.1", "2001:db8::1"
CLIENT, CLIENT6 = "192.0.2.2", "2001:db8::2"
PORT = 51820


def endpoint(address, port=PORT):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass
class Pair:
    gw: Machine
    cl: Machine
    daemon: Tailplaned
    client: WireguardGo
    gw_key: Key
    cl_key: Key

    def at_client(self):
        """What the client knows of the gateway."""
        return self.client.show(self.gw_key.public)

    def at_gateway(self):
        """What the gateway says of the client."""
        return self.daemon.peers()[self.cl_key.public]


def make_pair(net, version="debian", *, initiator="client", outer=4, psk=None, mtu=1420, link_mtu=1500,
              workers=1, client_port=PORT, offload=True, keepalive=None, client_endpoint=None,
              gateway_psk=None, plugins=("dataplane",), groups=None, **dataplane):
    """`initiator`: the side that knows the other's endpoint. `client_endpoint`: where the client
    sends to, when not the gateway itself. `groups`: settings of further plugins."""
    gw, cl = net.machine("gateway"), net.machine("client")
    net.link(gw, cl, [f"{GATEWAY}/24", f"{GATEWAY6}/64"], [f"{CLIENT}/24", f"{CLIENT6}/64"],
             mtu=link_mtu, offload=offload)
    gw_key, cl_key = new_key(), new_key()
    settings = {}
    if initiator == "gateway":
        settings["endpoint"] = endpoint(CLIENT if outer == 4 else CLIENT6, client_port)
    if gateway_psk or psk:
        settings["preshared_key"] = gateway_psk or psk
    if keepalive:
        settings["persistent_keepalive"] = keepalive
    config = gateway(
        tunnel("wg0", gw_key, ["10.9.0.1/24", "fd09::1/64"],
               [peer("client", cl_key, ["10.9.0.2/32", "fd09::2/128"], **settings)], PORT, mtu),
        workers=workers, **dataplane)
    daemon = Tailplaned(gw, {**config, "plugins": list(plugins), **(groups or {})})
    daemon.start()
    client = WireguardGo(cl, wireguard_go(version), cl_key, ["10.9.0.2/24", "fd09::2/64"],
                         port=client_port, mtu=mtu)
    to = endpoint(GATEWAY if outer == 4 else GATEWAY6) if initiator == "client" else None
    client.peer(gw_key.public, ["10.9.0.1/32", "fd09::1/128"], client_endpoint or to, psk)
    return Pair(gw, cl, daemon, client, gw_key, cl_key)
