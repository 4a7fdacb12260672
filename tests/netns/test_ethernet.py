# SPDX-License-Identifier: BSD-3-Clause
"""What comes and goes on Ethernet ports between two gateways (tests/lib/sites.py): VLANs, large
frames, fragments, neighbours, mirrors, and frames that nobody should send."""

import socket
import struct

from daemon import Tailplaned
from sites import PORT, Sites, port_row
from traffic import ping, transfer, wait_ping
from wait import wait_until


def test_vlan_between_the_sites(net):
    """The tunnel's outer packets carry a VLAN tag; the untagged network is another one."""
    sites = Sites(net)
    for me, n in (("a", 1), ("b", 2)):
        vlan = {"id": 77, "addresses": [f"198.51.100.{n}/24", f"fd00::{n}/64"]}
        sites.start_one(me, wan={"addresses": [], "vlans": [vlan]})
    sites.works()
    rows = {n["address"]: n for n in sites.daemons["a"].call("neighbours")}
    assert rows["198.51.100.2"]["vlan"] == 77


def test_jumbo_frames(net):
    sites = Sites(net, cable=False)
    sites.cable(mtu=9000)
    for host, gw in ((sites.host_a, sites.a), (sites.host_b, sites.b)):
        host.run("ip", "link", "set", "eth0", "mtu", "9000")
        gw.run("ip", "link", "set", "lan0", "mtu", "9000")
    sites.start(wan={"mtu": 9000}, lan={"mtu": 9000}, tunnel={"mtu": 8920})
    sites.works()
    assert ping(sites.host_a, "10.2.0.10", size=8920 - 28, whole=True).lost == 0


def test_outer_fragments(net):
    """A router between the sites with a smaller MTU cuts the outer packets; they are joined again."""
    sites = Sites(net, cable=False)
    router = net.machine("router")
    net.link(sites.a, router, [], ["198.51.100.254/24"], a_dev="wan0", b_dev="left", offload=False)
    net.link(router, sites.b, ["203.0.113.254/24"], [], a_dev="right", b_dev="wan0", offload=False, mtu=1280)
    router.sysctl("net.ipv4.ip_forward", 1)
    addresses = {"a": "198.51.100.1", "b": "203.0.113.1"}
    for me, other, mtu, via in (("a", "b", 1500, "198.51.100.254"), ("b", "a", 1280, "203.0.113.254")):
        config = sites.config(me, wan={"addresses": [f"{addresses[me]}/24"], "mtu": mtu},
                              routes=[{"prefix": "0.0.0.0/0", "via": via}])
        (far,) = config["dataplane"]["tunnels"][0]["peers"]
        far["endpoint"] = f"{addresses[other]}:{PORT}"
        sites.daemons[me] = Tailplaned(sites.gateways[me], config).start()
    wait_ping(sites.host_a, "10.2.0.10", timeout=30)
    assert ping(sites.host_a, "10.2.0.10", size=1300, count=5).lost == 0
    transfer(sites.host_a, sites.host_b, "10.2.0.10", megabytes=2)
    graph = {row["node"]: row for row in sites.daemons["b"].call("graph")}
    assert graph["reassemble"]["packets"] >= 10
    assert not {k for k in sites.daemons["b"].drops() if k.startswith("reassemble")}


def test_no_mirror(net):
    sites = Sites(net)
    a, _ = sites.start()
    for address in ("10.1.0.1", "fd01::1"):
        wait_ping(sites.host_a, address, timeout=30)
    assert ping(sites.host_a, "10.1.0.1", size=1400).lost == 0
    # through the tunnel too
    wait_ping(sites.host_a, "10.2.0.1", timeout=30)
    # nobody at home: silence, and a name for it
    with sites.host_a.socket() as sock:
        sock.sendto(b"x", ("10.1.0.1", 9))
    wait_until(lambda: "local_no_service" in a.drops(), "the drop is counted")


def test_nobody_on_the_link(net):
    sites = Sites(net)
    a, _ = sites.start()
    wait_ping(sites.host_a, "10.1.0.1", timeout=30)
    out = sites.host_a.run("ping", "-n", "-c", "3", "-W", "3", "198.51.100.77", check=False).stdout
    assert "Destination Host Unreachable" in out
    assert a.drops()["neigh_unresolved"] >= 1
    # and behind a tunnel that has no address of its own: the far gateway says it by its LAN's
    for gone, gateway in (("10.2.0.77", "10.2.0.1"), ("fd02::77", "fd02::1")):
        out = sites.host_a.run("ping", "-n", "-c", "3", "-W", "3", gone, check=False).stdout
        assert f"From {gateway} icmp_seq=1 Destination" in out, out


def test_mirror_and_tunnel(net):
    """A gateway whose tunnel has no interface: its kernel reaches the far site by the mirror."""
    sites = Sites(net)
    sites.start(lan={"mirror": "inside"})
    sites.works()
    for machine, far in ((sites.a, "10.2.0.0/24"), (sites.b, "10.1.0.0/24")):
        machine.run("ip", "route", "add", far, "dev", "inside")
    wait_ping(sites.a, "10.2.0.10", timeout=15)
    transfer(sites.host_b, sites.a, "10.1.0.1", megabytes=2)
    # both kernels, through both mirrors
    transfer(sites.a, sites.b, "10.2.0.1", megabytes=1)


def test_mirror_gets_each_packet_once(net):
    """Its frames come to the kernel by the mirror, and not by the interface that they are on."""
    sites = Sites(net)
    a = sites.start_one("a", lan={"mirror": "inside"})
    sites.a.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for address in ("10.1.0.1", "fd01::1"):
        wait_ping(sites.host_a, address)
        with sites.a.udp(address) as server, sites.host_a.udp("::" if ":" in address else "0.0.0.0") as client:
            server.settimeout(5)
            for i in range(20):
                client.sendto(bytes([i]), server.getsockname()[:2])
            # the last one comes through the mirror after all copies of the others
            assert [server.recv(16)[0] for _ in range(20)] == list(range(20))
            client.sendto(b"end", server.getsockname()[:2])
            assert server.recv(16) == b"end"
    # all is as it was when the daemon is gone, however it ended
    a.program.kill()
    sites.a.address("lan0", "10.1.0.1/24", "fd01::1/64")
    wait_ping(sites.host_a, "10.1.0.1")
    wait_ping(sites.host_a, "fd01::1")


def test_mirror_name_taken(net):
    sites = Sites(net)
    daemon = Tailplaned(sites.a, sites.config("a", lan={"mirror": "wan0"})).start(wait=False)
    assert daemon.program.wait() != 0
    assert "there is an interface named wan0 already" in daemon.program.log()


def test_foreign_frames(net):
    """What nobody should send is counted and does no harm."""
    sites = Sites(net)
    a, _ = sites.start()
    sites.works()
    mac = bytes.fromhex(port_row(a, "lan")["mac"].replace(":", ""))
    source = b"\x02\x00\x00\x00\x00\x77"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0xDEAD, socket.inet_aton("10.1.0.10"),
                     socket.inet_aton("10.2.0.10")) + bytes(8)
    with sites.host_a.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for frame in (mac + source + b"\x08\x00" + ip, mac + source + b"\x86\xdd" + ip,
                      mac + source + b"\x88\xcc" + bytes(46), mac + source + b"\x08\x00" + bytes(46),
                      b"\x02\x00\x00\x00\x00\x55" + source + b"\x08\x00" + ip,
                      mac + source + b"\x81\x00\x00\x05\x08\x06" + bytes(28)):
            for _ in range(5):
                raw.send(frame)
    wanted = {"classify_ip_checksum", "classify_ip_malformed", "classify_unknown_type",
              "classify_not_our_mac", "neigh_malformed"}
    wait_until(lambda: wanted <= set(a.drops()), "each has its name")
    sites.works()
