# SPDX-License-Identifier: BSD-3-Clause
"""An endpoint given as a name: looked up at start, and again whenever nobody answers there."""

import pytest

from daemon import Tailplaned, gateway, peer, tunnel
from pair import PORT
from traffic import ping
from wait import wait_until
from wg import WireguardGo, new_key, wireguard_go


@pytest.mark.parametrize("first", ["192.0.2.99", None], ids=["leads elsewhere", "does not resolve"])
def test_name_is_looked_up_again(net, first):
    gw, cl = net.machine("gateway"), net.machine("client")
    net.link(gw, cl, ["192.0.2.1/24"], ["192.0.2.2/24"])
    hosts = net.dir / "hosts"

    def names(address):
        hosts.write_text("127.0.0.1 localhost\n" + (f"{address} client.test\n" if address else ""))

    names(first)
    gw.run("mount", "--bind", hosts, "/etc/hosts")
    gw_key, cl_key = new_key(), new_key()
    daemon = Tailplaned(gw, gateway(tunnel("wg0", gw_key, ["10.9.0.1/24"], [
        peer("client", cl_key, ["10.9.0.2/32"], endpoint=f"client.test:{PORT}", persistent_keepalive="1s")]))).start()
    client = WireguardGo(cl, wireguard_go("debian"), cl_key, ["10.9.0.2/24"], port=PORT)
    client.peer(gw_key.public, ["10.9.0.1/32"])
    if first:
        wait_until(lambda: daemon.peers()[cl_key.public]["endpoint"] == f"{first}:{PORT}", "the first look-up")
    else:
        daemon.program.wait_log("endpoint client.test")
    names("192.0.2.2")
    wait_until(lambda: daemon.peers()[cl_key.public]["latest_handshake"], "a handshake by the new address", 25)
    assert daemon.peers()[cl_key.public]["endpoint"] == f"192.0.2.2:{PORT}"
    assert ping(gw, "10.9.0.2").lost == 0
