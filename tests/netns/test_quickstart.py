# SPDX-License-Identifier: BSD-3-Clause
"""What `./dev run` starts, as its user meets it: the embedded configuration, a printed client
configuration that is pasted into wireguard-go.

    client 192.0.2.2 ---- 192.0.2.1 gateway 198.51.100.1 ---- 198.51.100.7 internet
"""

import json
import pwd
from pathlib import Path

import pytest

from daemon import CLI, DAEMON, ROOT
from traffic import ping, transfer, wait_ping
from wait import wait_until
from wg import from_quick, wireguard_go

# CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_SYS_NICE (linux/capability.h)
KEPT_CAPABILITIES = (10, 12, 13, 14, 23)


@pytest.fixture
def place(net):
    gw, cl, internet = net.machine("gateway"), net.machine("client"), net.machine("internet")
    net.link(gw, cl, ["192.0.2.1/24"], ["192.0.2.2/24"])
    net.link(gw, internet, ["198.51.100.1/24"], ["198.51.100.7/24"], a_dev="eth1")
    gw.run("ip", "route", "add", "default", "via", "192.0.2.2")  # so that 192.0.2.1 is its own address
    gw.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    return gw, cl, internet


def start(gw, *args):
    program = gw.start(DAEMON, *args, name="tailplaned", terminal=True)
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


def test_without_ipv4(net):
    """A machine that has only IPv6 tells clients an address that they can use."""
    gw, cl = net.machine("gateway"), net.machine("client")
    net.link(gw, cl, ["2001:db8:7::1/64"], ["2001:db8:7::2/64"])
    gw.run("ip", "-6", "route", "add", "default", "via", "2001:db8:7::2")
    gw.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    program = start(gw)
    url = "http://[2001:db8:7::1]:8080"
    wait_until(lambda: f"tailscale up --login-server {url} --auth-key hskey-auth-" in program.log(), "the line for clients")
    assert "legacyPublicKey" in cl.run("curl", "-sS", "-g", f"{url}/key?v=113").stdout
    wait_until(lambda: json.loads(gw.run(CLI, "-o", "json", "derp", "map").stdout)["Regions"], "its relay is in the map")
    assert "2001:db8:7::1" in gw.run(CLI, "-o", "json", "derp", "map").stdout
    assert "Let TCP 8080 and, for the relay, TCP 8443 and UDP 3478, through" in gw.run(CLI, "-o", "json", "doctor", check=False).stdout


def test_privileges_are_dropped(place):
    """Each thread is the user tailplane's, with the capabilities of its plugins and no others."""
    gw, _, _ = place
    program = start(gw)
    kept = sum(1 << bit for bit in KEPT_CAPABILITIES)
    for task in Path(f"/proc/{program.pid}/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert set(status["Uid"].split()) == {str(pwd.getpwnam("tailplane").pw_uid)}, status["Name"]
        assert status["NoNewPrivs"] == "1"
        for which in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert not int(status[which], 16) & ~kept, (status["Name"], which, status[which])


@pytest.mark.parametrize("version", ["debian", "current"])
def test_first_and_second_start(place, version):
    gw, cl, _ = place
    first = start(gw)
    text = pasted(first)
    wait_until(lambda: "\u2588\u2588" in first.log(), "a QR code on the terminal")
    wait_until(lambda: "tailscale up --login-server http://" in first.log() and "--auth-key hskey-auth-" in first.log(),
               "the line for Tailscale clients")
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
    assert "PrivateKey" not in second.log() and "hskey-auth-" not in second.log()


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
