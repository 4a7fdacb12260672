# SPDX-License-Identifier: BSD-3-Clause
"""What `./dev run` starts, as its user meets it: the embedded configuration, a printed client
configuration that is pasted into wireguard-go.

    client 192.0.2.2 ---- 192.0.2.1 gateway 198.51.100.1 ---- 198.51.100.7 internet
"""

import json

import pytest

from daemon import CLI, DAEMON, ROOT
from traffic import ping, transfer, wait_ping
from wait import wait_until
from wg import from_quick, wireguard_go


@pytest.fixture
def place(net):
    gw, cl, internet = net.machine("gateway"), net.machine("client"), net.machine("internet")
    net.link(gw, cl, ["192.0.2.1/24"], ["192.0.2.2/24"])
    net.link(gw, internet, ["198.51.100.1/24"], ["198.51.100.7/24"], a_dev="eth1")
    gw.run("ip", "route", "add", "default", "via", "192.0.2.2")  # so that 192.0.2.1 is its own address
    gw.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    return gw, cl, internet


def start(gw, *args):
    program = gw.start(DAEMON, *args, name="tailplaned")
    wait_until(lambda: gw.run(CLI, "status", check=False).returncode == 0, "the daemon answers")
    return program


def pasted(program):
    """The client's configuration out of what was printed."""
    wait_until(lambda: "PersistentKeepalive" in program.log(), "a client configuration is printed")
    lines = program.log().splitlines()
    return "\n".join(lines[lines.index("[Interface]"): lines.index("PersistentKeepalive = 25") + 1])


def gateway_address(gw):
    status = json.loads(gw.run(CLI, "-o", "json", "status").stdout)
    return json.dumps(status).split('"pool4": "')[1].split("/")[0]


@pytest.mark.parametrize("version", ["debian", "current"])
def test_first_and_second_start(place, version):
    gw, cl, _ = place
    first = start(gw)
    text = pasted(first)
    inside = gateway_address(gw)
    from_quick(cl, wireguard_go(version), text)
    wait_ping(cl, inside)
    transfer(cl, gw, inside, megabytes=8)
    assert first.stop() == 0

    private = next(line for line in text.splitlines() if line.startswith("PrivateKey")).split(" = ")[1]
    kept = gw.run("grep", "-rlF", private, "/var/lib", "/run", check=False)
    assert kept.returncode == 1, f"the client's private key is kept: {kept.stdout}"

    second = start(gw)
    assert gateway_address(gw) == inside
    wait_ping(cl, inside, timeout=20)
    assert "PrivateKey" not in second.log()


def test_forward(place):
    """Everything of the client goes through; at stop the kernel is as it was."""
    gw, cl, internet = place
    config = gw.net.dir / "forward.conf"
    config.write_text((ROOT / "configs" / "quickstart.conf").read_text().replace("forward = false", "forward = true"))
    rules = gw.run("nft", "list", "ruleset").stdout
    program = start(gw, "-c", config)
    text = pasted(program)
    assert "0.0.0.0/0" in text
    from_quick(cl, wireguard_go("debian"), text)
    wait_ping(cl, "198.51.100.7")
    assert ping(internet, "198.51.100.1").lost == 0
    assert program.stop() == 0
    assert gw.run("nft", "list", "ruleset").stdout == rules
    assert gw.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"


def test_forward_after_a_crash(place):
    """What a killed run left is taken back by the next one."""
    gw, _, _ = place
    config = gw.net.dir / "forward.conf"
    quickstart = (ROOT / "configs" / "quickstart.conf").read_text()
    config.write_text(quickstart.replace("forward = false", "forward = true"))
    program = start(gw, "-c", config)
    wait_until(lambda: "masquerade" in gw.run("nft", "list", "ruleset").stdout, "the rule is there")
    program.kill()
    config.write_text(quickstart)
    program = start(gw, "-c", config)
    wait_until(lambda: "masquerade" not in gw.run("nft", "list", "ruleset").stdout, "the rule is gone")
    assert gw.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout.strip() == "0"
    assert program.stop() == 0
