# SPDX-License-Identifier: BSD-3-Clause
"""tailplaned's host port against wireguard-go, on the topology of pair.py."""

import itertools
import json
import socket

import pytest

import hostile
from middlebox import TO_SERVER, Middlebox
from pair import CLIENT, GATEWAY, PORT, make_pair
from traffic import iperf3, ping, transfer, wait_ping
from wait import wait_until
from wg import new_psk, show

VERSIONS = pytest.mark.parametrize("version", ["debian", "current"])


def no_traffic(pair):
    return ping(pair.cl, "10.9.0.1", count=3).received == 0


@VERSIONS
@pytest.mark.parametrize("outer", [4, 6], ids=["outer4", "outer6"])
@pytest.mark.parametrize("initiator", ["client", "gateway"])
def test_handshake(net, version, initiator, outer):
    pair = make_pair(net, version, initiator=initiator, outer=outer, psk=new_psk())
    first, target = (pair.cl, "10.9.0.1") if initiator == "client" else (pair.gw, "10.9.0.2")
    wait_ping(first, target)
    for machine, to in ((pair.gw, "10.9.0.2"), (pair.cl, "fd09::1"), (pair.gw, "fd09::2")):
        assert ping(machine, to).lost == 0, to
    assert pair.at_client().latest_handshake
    assert pair.at_gateway()["latest_handshake"]


@VERSIONS
def test_wrong_psk(net, version):
    pair = make_pair(net, version, psk=new_psk(), gateway_psk=new_psk())
    assert no_traffic(pair)
    assert not pair.at_gateway()["latest_handshake"]


def test_inner_source_is_checked(net):
    """A client may only speak from its allowed IPs."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.cl.address("wg0", "10.9.0.3/32")
    assert ping(pair.cl, "10.9.0.1", source="10.9.0.3").received == 0
    assert sum(n for name, n in pair.daemon.drops().items() if "source" in name) >= 3
    assert ping(pair.cl, "10.9.0.1").lost == 0


@VERSIONS
@pytest.mark.parametrize("mtu", [1280, 1420, 9000])
def test_mtu(net, version, mtu):
    pair = make_pair(net, version, mtu=mtu, link_mtu=max(1500, mtu + 80))
    wait_ping(pair.cl, "10.9.0.1")
    for machine, to, header in ((pair.cl, "10.9.0.1", 28), (pair.gw, "fd09::2", 48)):
        assert ping(machine, to, size=mtu - header, whole=True).lost == 0
    assert ping(pair.cl, "10.9.0.1", size=mtu - 28 + 1, whole=True).received == 0
    transfer(pair.cl, pair.gw, "10.9.0.1", megabytes=16)
    transfer(pair.gw, pair.cl, "fd09::2", megabytes=16)


@VERSIONS
def test_bulk(net, version):
    """1 GB of TCP in each direction, and a file whose checksum is compared."""
    pair = make_pair(net, version)
    wait_ping(pair.cl, "10.9.0.1")
    assert iperf3(pair.cl, pair.gw, "10.9.0.1", megabytes=1000).bytes >= 10**9
    assert iperf3(pair.cl, pair.gw, "10.9.0.1", megabytes=1000, reverse=True).bytes >= 1000 << 20
    transfer(pair.cl, pair.gw, "10.9.0.1", megabytes=128)
    transfer(pair.gw, pair.cl, "10.9.0.2", megabytes=128)
    assert not [n for n in pair.daemon.drops() if "auth" in n], pair.daemon.drops()


def test_parallel_streams_over_workers(net):
    pair = make_pair(net, workers=2)
    wait_ping(pair.cl, "10.9.0.1")
    assert iperf3(pair.cl, pair.gw, "10.9.0.1", seconds=2, streams=4).bytes > 10 << 20
    assert iperf3(pair.cl, pair.gw, "10.9.0.1", seconds=2, streams=4, reverse=True).bytes > 10 << 20
    transfer(pair.gw, pair.cl, "10.9.0.2")


def datagrams(client, server, to, streams, seconds=2):
    """Datagrams of 1000 bytes, 10 Mbit/s a stream: each stream's count and how many were overtaken."""
    daemon = server.start("iperf3", "-s", "-1", name="iperf3")
    daemon.expected_exit = True
    wait_until(lambda: ":5201 " in server.run("ss", "-Hltn").stdout, "iperf3 listens")
    done = client.run("iperf3", "-c", to, "-u", "-b", "10M", "-l", 1000, "-P", streams, "-t", seconds, "-J")
    daemon.wait(10)
    streams = [s["udp"] for s in json.loads(done.stdout)["end"]["streams"]]
    return [s["packets"] for s in streams], [s["out_of_order"] for s in streams]


def test_flows_of_one_peer_use_all_workers_in_order(net):
    """Each of 16 flows stays on its worker, and they are not all on one."""
    pair = make_pair(net, workers=2)
    wait_ping(pair.cl, "10.9.0.1")

    def packets():
        return [row["packets"] for row in pair.daemon.call("workers")]

    for sender, receiver, to in ((pair.gw, pair.cl, "10.9.0.2"), (pair.cl, pair.gw, "10.9.0.1")):
        before = packets()
        sent, overtaken = datagrams(sender, receiver, to, streams=16)
        assert min(sent) > 100
        assert not any(overtaken), overtaken
        if sender is pair.gw:
            each = [now - then for now, then in zip(packets(), before)]
            assert min(each) > sum(each) / 100, each
    # TCP's answers come back over the tunnel, by one worker: they must not draw all data there
    before = packets()
    iperf3(pair.gw, pair.cl, "10.9.0.2", seconds=2, streams=16)
    each = [now - then for now, then in zip(packets(), before)]
    assert min(each) > sum(each) / 20, each


@VERSIONS
def test_roaming(net, version):
    """The gateway follows authentic datagrams: to another address, another port, another family."""
    pair = make_pair(net, version)
    wait_ping(pair.cl, "10.9.0.1")
    assert pair.at_gateway()["endpoint"] == f"{CLIENT}:{PORT}"

    def follows(where):
        # The client may lose packets of its own while it moves: the older wireguard-go until its next
        # handshake, 15 s; the newer sends the first few of each buffer it reuses from IPv4 to
        # 2001:db8:: instead of 2001:db8::1. So this waits for answers in each direction.
        wait_ping(pair.cl, "10.9.0.1", timeout=30)
        assert pair.at_gateway()["endpoint"] == where
        wait_until(lambda: ping(pair.gw, "10.9.0.2").lost == 0, "three pings in a row are answered")
        assert pair.at_gateway()["endpoint"] == where

    pair.cl.run("ip", "addr", "del", f"{CLIENT}/24", "dev", "eth0")
    pair.cl.address("eth0", "192.0.2.77/24")
    follows(f"192.0.2.77:{PORT}")
    pair.client.set("listen-port", "40000")
    follows("192.0.2.77:40000")
    pair.client.set("peer", pair.gw_key.public, "endpoint", "[2001:db8::1]:51820")
    follows("[2001:db8::2]:40000")


def test_gateway_moves(net):
    """The client follows the gateway, too: replies come from the address that was asked."""
    pair = make_pair(net)
    pair.gw.address("eth0", "192.0.2.9/24")
    pair.client.set("peer", pair.gw_key.public, "endpoint", "192.0.2.9:51820")
    wait_ping(pair.cl, "10.9.0.1")
    assert pair.at_client().endpoint == "192.0.2.9:51820"
    assert ping(pair.cl, "10.9.0.1").lost == 0
    assert pair.at_client().endpoint == "192.0.2.9:51820"


def test_keepalive(net):
    """With persistent keep-alive the gateway starts the session itself and keeps it warm."""
    pair = make_pair(net, initiator="gateway", keepalive="1s")
    pair.client.wait_handshake(pair.gw_key.public)
    before = pair.at_client().rx_bytes
    wait_until(lambda: pair.at_client().rx_bytes >= before + 3 * 32, "three keep-alives")


def test_wg_tool(net):
    """`wg` reads and changes the gateway through the user-space socket."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    seen = show(pair.gw, "wg0")[pair.cl_key.public]
    assert seen.endpoint == f"{CLIENT}:{PORT}" and seen.latest_handshake
    assert seen.allowed_ips == {"10.9.0.2/32", "fd09::2/128"}
    assert seen.rx_bytes and seen.tx_bytes
    assert pair.gw.run("wg", "show", "wg0", "public-key").stdout.strip() == pair.gw_key.public
    assert pair.gw.run("wg", "show", "wg0", "listen-port").stdout.strip() == str(PORT)
    pair.gw.run("wg", "set", "wg0", "peer", pair.cl_key.public, "persistent-keepalive", "7")
    assert show(pair.gw, "wg0")[pair.cl_key.public].keepalive == "7"
    pair.gw.run("wg", "set", "wg0", "peer", pair.cl_key.public, "remove")
    assert pair.cl_key.public not in show(pair.gw, "wg0")
    assert no_traffic(pair)


@VERSIONS
def test_cookie_under_load(net, version):
    """Under a flood of initiations a real client still gets in, by the cookie it was sent."""
    pair = make_pair(net, version, client_endpoint=f"{GATEWAY}:1")
    target = (GATEWAY, PORT)

    def make():
        return hostile.initiation(pair.gw_key.public_bytes)

    with hostile.Flood(pair.cl, CLIENT, target, make, per_second=20000) as flood:
        wait_until(lambda: flood.answers.get(hostile.COOKIE_REPLY), "cookie replies")
        pair.client.set("peer", pair.gw_key.public, "endpoint", f"{GATEWAY}:{PORT}")
        wait_ping(pair.cl, "10.9.0.1", timeout=30)
    assert hostile.RESPONSE not in flood.answers
    assert flood.answers[hostile.COOKIE_REPLY] <= flood.sent


@VERSIONS
def test_client_gets_in_through_lossy_path(net, version):
    """Half of the handshake messages vanish: retries on both sides get through."""
    pair = make_pair(net, version, client_endpoint="127.0.0.1:5000")
    passed = {}

    def every_second_handshake(direction, datagram):
        if datagram[0] == hostile.TRANSPORT:
            return [datagram]
        passed[direction] = passed.get(direction, 0) + 1
        return [datagram] if passed[direction] % 2 == 0 else []

    with Middlebox(pair.cl, ("127.0.0.1", 5000), (GATEWAY, PORT), every_second_handshake):
        wait_ping(pair.cl, "10.9.0.1", timeout=40)
    assert passed[TO_SERVER] >= 2


@VERSIONS
def test_cookie_of_a_loaded_peer(net, version):
    """The other way round: the gateway gets a cookie, waits as the paper says, and gets in with it."""
    pair = make_pair(net, version, initiator="gateway")
    messages = [hostile.initiation(pair.cl_key.public_bytes) for _ in range(5000)]
    make = itertools.cycle(messages).__next__
    with hostile.Flood(pair.gw, GATEWAY, (CLIENT, PORT), make, per_second=20000) as flood:
        wait_until(lambda: flood.answers.get(hostile.COOKIE_REPLY), "the client is under load")
        wait_ping(pair.gw, "10.9.0.2", timeout=30)
    assert pair.daemon.call("tunnels")[0]["handshakes"]["cookies_received"] > 0


class Marks:
    """TOS bytes of what arrives: the outer ones on a cable, the inner ones at a socket."""

    def __init__(self, machine):
        self.cable = machine.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.cable.settimeout(5)

    def outer(self, size):
        """Of the next datagram to or from a WireGuard port that is `size` long inside UDP."""
        while True:
            packet, where = self.cable.recvfrom(65536)
            if packet[9] == socket.IPPROTO_UDP and where[0] == "eth0" and \
                    int.from_bytes(packet[24:26], "big") == size + 8:
                return packet[1]


def receive_tos(sock):
    _, ancillary, _, _ = sock.recvmsg(2000, 100)
    return next(data[0] for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS))


def inner_socket(machine, address, tos=0):
    sock = machine.udp(address, 7000)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    sock.settimeout(5)
    return sock


@pytest.mark.parametrize("tos, outer", [(0x00, 0x00), (0xb8, 0x00), (0x02, 0x02), (0xb9, 0x01), (0x03, 0x03)])
def test_marks_going_in(net, tos, outer):
    """ECN of the inner packet is shown outside (RFC 6040), its DSCP is not."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    with inner_socket(pair.gw, "10.9.0.1", tos) as sender, inner_socket(pair.cl, "10.9.0.2") as receiver:
        marks = Marks(pair.cl)
        sender.sendto(bytes(500), ("10.9.0.2", 7000))
        assert marks.outer(32 + 528) == outer
        assert receive_tos(receiver) == tos


@pytest.mark.parametrize("tos, arrives", [(0x02, 0x03), (0xb9, 0xbb), (0x00, None)])
def test_marks_coming_out(net, tos, arrives):
    """Congestion met on the way is told to the inner packet; one that cannot carry it is dropped."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.gw.run("nft", "-f", "-", input=f"""
        table ip way {{
            chain marks {{
                type filter hook prerouting priority -300;
                udp dport {PORT} ip ecn set ce
            }}
        }}""")
    with inner_socket(pair.cl, "10.9.0.2", tos) as sender, inner_socket(pair.gw, "10.9.0.1") as receiver:
        sender.sendto(bytes(500), ("10.9.0.1", 7000))
        if arrives is not None:
            assert receive_tos(receiver) == arrives
        else:
            wait_until(lambda: [n for n in pair.daemon.drops() if "ecn" in n], "the drop is named")
            receiver.settimeout(0.1)
            with pytest.raises(socket.timeout):
                receiver.recv(2000)
