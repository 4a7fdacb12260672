# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet ports on each kind of DPDK device that needs no hardware, as the WAN between two
gateways (tests/lib/sites.py): traffic, a device that goes away, a killed daemon, a reload."""

import json
from pathlib import Path

import pytest

from daemon import Tailplaned
from sites import Sites, port_row
from traffic import PingStream, iperf3, ping, wait_ping
from wait import observe, wait_until

GONE = "its interface is gone"


class Interface:
    """A port on an interface that the kernel has: one end of a veth pair."""

    def __init__(self, net, driver):
        self.wan = {"device": f"net_{driver}0,iface=wan0"}
        self.sites = Sites(net)

    def start(self, **config):
        self.sites.start(wan=self.wan, **config)

    def remove(self):
        self.sites.a.run("ip", "link", "del", "wan0")
        return {"a": GONE, "b": GONE}

    def restore(self):
        """A reload opens it anew."""
        self.sites.cable()
        for daemon in self.sites.daemons.values():
            daemon.call("reload")

    def reopened(self, me):
        """Nobody has to do anything."""


class Tap:
    """Gateway a makes the interface, and it is gateway b's WAN: moved into b's namespace."""

    def __init__(self, net):
        self.sites = Sites(net, cable=False)

    def start(self, **config):
        self.sites.start_one("a", wan={"device": "net_tap0,iface=wan0"}, **config)
        self._hand_over()
        self.sites.start_one("b", **config)

    def _hand_over(self):
        self.sites.a.run("ip", "link", "set", "wan0", "netns", str(self.sites.b.pid))
        self.sites.b.run("ip", "link", "set", "wan0", "up")

    def remove(self):
        self.sites.b.run("ip", "link", "del", "wan0")
        return {"a": GONE, "b": GONE}

    def restore(self):
        self.sites.daemons["a"].call("reload")
        self._hand_over()
        self.sites.daemons["b"].call("reload")

    def reopened(self, me):
        """The interface was made anew by a."""
        if me == "a":
            self._hand_over()
            self.sites.daemons["b"].call("reload")


class Memif:
    """Shared memory: no kernel between the gateways."""

    def __init__(self, net):
        self.sites = Sites(net, cable=False)
        self.device = f"net_memif0,socket={net.dir}/memif,socket-abstract=no"

    def start(self, **config):
        for me, role in (("a", "server"), ("b", "client")):
            self.sites.start_one(me, wan={"device": f"{self.device},role={role}"}, **config)

    def remove(self):
        self.sites.daemons["b"].program.kill()
        return {"a": "no link"}

    def restore(self):
        self.sites.daemons["b"].start()

    def reopened(self, me):
        """The far end connects by itself."""


KINDS = {
    "af_packet": lambda net: Interface(net, "af_packet"),
    "af_xdp": lambda net: Interface(net, "af_xdp"),
    "tap": Tap,
    "memif": Memif,
}


@pytest.fixture(params=KINDS)
def wan(request, net):
    made = KINDS[request.param](net)
    made.kind = request.param
    return made


@pytest.mark.parametrize("outer", [4, 6])
def test_traffic(wan, outer):
    wan.start(outer=outer)
    wan.sites.works()
    sites = wan.sites
    # the largest packets that the tunnel takes, and frames of 1500 on the WAN
    for host, to, headers in ((sites.host_a, "10.2.0.10", 28), (sites.host_b, "10.1.0.10", 28),
                              (sites.host_a, "fd02::10", 48), (sites.host_b, "fd01::10", 48)):
        assert ping(host, to, size=1420 - headers, whole=True).lost == 0, to
    # one byte more is answered by the gateway, and the answer is believed
    assert ping(sites.host_a, "10.2.0.10", size=1420 - 28 + 1, whole=True).received == 0
    assert ping(sites.host_a, "10.2.0.10", size=1420 - 28, whole=True).lost == 0


def test_device_goes_and_returns(wan):
    wan.start()
    sites = wan.sites
    sites.works()
    for daemon in sites.daemons.values():  # it looks once a second
        wait_until(lambda: port_row(daemon, "wan")["state"] == "up", "the port is up")
    if wan.kind == "tap":  # its interface is in another namespace: that is no reason to be down
        observe(1.1)
        assert port_row(sites.daemons["a"], "wan")["state"] == "up" and "no link" not in sites.daemons["a"].program.log()
    reasons = wan.remove()
    for me, reason in reasons.items():
        daemon = sites.daemons[me]
        wait_until(lambda: port_row(daemon, "wan")["reason"] == reason, reason)
        assert port_row(daemon, "wan")["state"] == "down"
    wait_ping(sites.host_a, "10.1.0.1")  # the rest lives
    # who is on the link when it returns may have another MAC: memif's are made at random
    wait_until(lambda: not [n for n in sites.daemons["a"].call("neighbours")
                            if n["port"] == "wan" and n["state"] != "incomplete"],
               "none is believed to be there", timeout=5)
    sites.daemons["a"].program.check()
    wan.restore()
    for daemon in sites.daemons.values():
        wait_until(lambda: port_row(daemon, "wan")["state"] == "up", "the port is up again")
        assert port_row(daemon, "wan")["reason"] == ""
    sites.works()


@pytest.mark.parametrize("driver", ["af_packet", "af_xdp"])
def test_reload_while_the_device_is_gone(net, driver):
    """It stays down and says why; no other port takes notice."""
    wan = Interface(net, driver)
    wan.start()
    daemon = wan.sites.daemons["a"]
    wan.remove()
    with PingStream(wan.sites.host_a, "10.1.0.1"):
        daemon.call("reload")  # comes before the timer that looks
        assert port_row(daemon, "wan")["state"] == "down"
        assert port_row(daemon, "wan")["reason"] == GONE
    daemon.program.wait_log("port wan stays down: there is no interface wan0")


def test_killed_and_started_again(wan):
    """Nothing that a killed process leaves stands in the way of the next."""
    wan.start()
    wan.sites.works()
    for me, daemon in wan.sites.daemons.items():
        daemon.program.kill()
        daemon.start()
        wan.reopened(me)
    wan.sites.works()


def test_reload_of_a_port(wan):
    """A port with other settings is closed and opened; one with the same goes on."""
    wan.start()
    sites = wan.sites
    sites.works()
    for descriptors in (512, 2048):
        for me, daemon in sites.daemons.items():
            text = daemon.config_file.read_text()
            assert 'name = "wan";' in text
            daemon.config_file.write_text(
                text.replace('name = "wan";', f'name = "wan"; descriptors = {descriptors};', 1)
                if "descriptors" not in text else text.replace("descriptors = 512", "descriptors = 2048"))
            daemon.call("reload")
            wan.reopened(me)
        sites.works(megabytes=1)
    with PingStream(sites.host_a, "10.2.0.10"):
        for daemon in sites.daemons.values():
            daemon.call("reload")


# ---- what a kind of device has of its own --------------------------------------------------------


def xdp_program(machine, dev):
    """The id of the XDP program on an interface; None."""
    (link,) = json.loads(machine.run("ip", "-j", "-d", "link", "show", dev).stdout)
    return link.get("xdp", {}).get("prog", {}).get("id")


def test_af_xdp_program_left_behind(net):
    wan = Interface(net, "af_xdp")
    wan.start()
    machine, daemon = wan.sites.a, wan.sites.daemons["a"]
    first = xdp_program(machine, "wan0")
    assert first
    daemon.program.kill()
    assert xdp_program(machine, "wan0") == first  # that is how DPDK leaves it
    daemon.start()
    daemon.program.wait_log("detached the XDP program that a killed process had left")
    assert xdp_program(machine, "wan0") not in (None, first)
    wan.sites.works(megabytes=1)
    daemon.stop()
    wait_until(lambda: xdp_program(machine, "wan0") is None, "no program is left")


def test_af_xdp_program_taken_off(net):
    """Nothing comes in any more: the port notices, and opens itself anew."""
    wan = Interface(net, "af_xdp")
    wan.start()
    machine, daemon = wan.sites.a, wan.sites.daemons["a"]
    wan.sites.works(megabytes=1)
    wait_until(lambda: port_row(daemon, "wan")["state"] == "up", "the port is up")
    first = xdp_program(machine, "wan0")
    machine.run("ip", "link", "set", "dev", "wan0", "xdp", "off")
    daemon.program.wait_log("port wan is down: its XDP program was taken off the interface")
    daemon.program.wait_log("port wan was opened anew")
    wait_until(lambda: port_row(daemon, "wan")["state"] == "up", "the port is up again")
    assert port_row(daemon, "wan")["reason"] == ""
    assert xdp_program(machine, "wan0") not in (None, first)
    wan.sites.works(megabytes=1)
    assert daemon.program.log().count("port wan is down: its XDP program") == 1


def test_two_workers(net):
    """AF_PACKET gives each worker a queue; AF_XDP on veth has one, and the second worker sends by
    the first. Where the kernel stops serving its socket the port is opened anew, and the streams go on."""
    sites = Sites(net)
    sites.start(wan={"device": "net_af_xdp0,iface=wan0"}, workers=2)
    sites.works()
    for sender, receiver, to in ((sites.host_a, sites.host_b, "10.2.0.10"), (sites.host_b, sites.host_a, "fd01::10")):
        assert iperf3(sender, receiver, to, streams=4, seconds=2, timeout=120).bytes > 0
    rows = sites.daemons["a"].call("workers")
    assert all(row["busy_rounds"] > 20 for row in rows), rows
    assert port_row(sites.daemons["a"], "wan")["tx_queues"] == 1
    assert port_row(sites.daemons["a"], "lan")["tx_queues"] == 2


@pytest.mark.parametrize("kind", ["af_packet", "af_xdp", "tap"])
def test_idle_gateway_sleeps(net, kind):
    """A worker sleeps on the descriptors of its ports."""
    wan = KINDS[kind](net)
    wan.start()
    wan.sites.works()

    def cpu():
        stat = Path(f"/proc/{wan.sites.daemons['a'].program.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])  # ticks of 10 ms, user and kernel

    def over_a_second():
        before = cpu()
        observe(1)
        return cpu() - before

    wait_until(lambda: over_a_second() <= 3, "less than 3 % of a core", timeout=20)


def test_tap_for_the_gateway_itself(net):
    """The LAN is an interface that the port makes: the gateway's own kernel is the host on it."""
    sites = Sites(net)
    sites.start(lan={"device": "net_tap0,iface=inside"})
    for me, n in (("a", 1), ("b", 2)):
        machine = sites.gateways[me]
        machine.run("ip", "link", "set", "inside", "up")
        machine.run("ip", "addr", "add", f"10.{n}.0.10/24", "dev", "inside")
        machine.run("ip", "route", "add", "10.0.0.0/8", "via", f"10.{n}.0.1")
    wait_ping(sites.a, "10.2.0.10", timeout=30)


def test_two_ports_on_one_device(net):
    sites = Sites(net)
    config = sites.config("a", lan={"device": "net_tap0,iface=x"}, wan={"device": "net_tap0,iface=y"})
    daemon = Tailplaned(sites.a, config).start(wait=False)
    assert daemon.program.wait() != 0
    assert "another port has device net_tap0 already" in daemon.program.log()
