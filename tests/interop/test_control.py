# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified Tailscale clients in a tailnet of ours, with the real derper as relay. See tailscale.py for
the drawing."""

import ipaddress
import json
import signal
import time
import urllib.error
import urllib.request

import pytest

from daemon import RUNTIME_DIR, Control
from tailnet import URL, Tailnet, kept_waiting, names_resolve
from tailscale import CURRENT, OLDER, OLDEST, program
from traffic import PingStream, ping, transfer, wait_ping
from wait import wait_until


@pytest.fixture
def tailnet(net):
    return Tailnet(net)


@pytest.mark.parametrize("versions", [
    pytest.param((CURRENT, CURRENT), id="current", marks=pytest.mark.short),
    pytest.param((CURRENT, OLDER), id="older", marks=pytest.mark.short),
    pytest.param((CURRENT, OLDEST), id="oldest")])
def test_two_nodes(tailnet, versions):
    """Each sees and reaches the other by address and by name; what they say of it agrees with the server."""
    a, b = (tailnet.joined(name, version=version) for name, version in zip("ab", versions))
    for one, other in ((a, b), (b, a)):
        one.wait_state("Running")
        one.wait_peer(other.machine.name, Online=True)
        wait_ping(one.machine, other.ip4)
        wait_ping(one.machine, other.ip6)
        names_resolve(one, other.machine.name, other.ip4)
        node = tailnet.node(one.machine.name)
        assert node["ipAddresses"] == one.addresses() and node["online"] and node["user"]["name"] == "alice"
        assert json.loads(one.run("status", "--json").stdout)["Self"]["TailscaleIPs"] == node["ipAddresses"]
        assert one.status()["Self"]["DNSName"] == f"{one.machine.name}.tail.test."
    transfer(a.machine, b.machine, b.ip4, megabytes=16)
    assert "direct" in a.run("ping", "--until-direct", "-c", "20", b.ip4).stdout or a.peers()["b"]["CurAddr"]


@pytest.mark.short
def test_wrong_keys(tailnet):
    # A machine each: a client goes on trying the key that was refused, and a second `up` may be told of that one.
    done = tailnet.client("c").up(URL, "hskey-auth-" + "0" * 12 + "-" + "0" * 64, check=False)
    assert done.returncode != 0 and "key" in done.stderr
    once = tailnet.key()
    tailnet.client("a").up(URL, once)
    assert tailnet.client("b").up(URL, once, check=False).returncode != 0
    assert tailnet.nodes() == ["a"]


@pytest.mark.short
def test_web_login(tailnet):
    """The page says what to type; the command lets the machine in while its client waits."""
    client = tailnet.client("a")
    page, finish = client.login(URL)

    def shown(url):
        try:
            with tailnet.server.inside(), urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as refused:
            return f"{refused.code} {refused.read().decode()}"

    auth_id = page.rsplit("/", 1)[-1]
    assert f"auth register --auth-id {auth_id}" in shown(page)
    over = shown(page[:-1] + ("0" if page[-1] != "0" else "1"))
    assert over.startswith("404") and "Log in again" in over and "auth register" not in over
    assert [row["authId"] for row in tailnet.ask("auth", "list")] == [auth_id]
    tailnet.cli("auth", "register", "--auth-id", auth_id, "--user", "alice")
    assert finish() == 0
    client.wait_state("Running")
    assert "decided already" in shown(page)
    rejected = tailnet.client("b")
    page, finish = rejected.login(URL)
    tailnet.cli("auth", "reject", "--auth-id", page.rsplit("/", 1)[-1])
    assert finish() != 0
    assert not tailnet.ask("auth", "list") and tailnet.nodes() == ["a"]


@pytest.mark.short
def test_rename_and_delete(tailnet):
    a, b = tailnet.joined("a"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    tailnet.cli("nodes", "rename", "first", "-i", "a")
    b.wait_peer("first")
    wait_until(lambda: a.status()["Self"]["DNSName"] == "first.tail.test.", "the node knows its new name", 40)
    names_resolve(b, "first", a.ip4)
    tailnet.cli("nodes", "delete", "-i", "first")
    b.wait_no_peer("first")
    a.wait_state("NeedsLogin")
    assert tailnet.nodes() == ["b"]


@pytest.mark.short
def test_expiry_and_return(tailnet):
    a, b = tailnet.joined("a"), tailnet.joined("b")
    b.wait_peer("a", Online=True)
    before = a.addresses()
    tailnet.cli("nodes", "expire", "-i", "a")
    a.wait_state("NeedsLogin")
    b.wait_peer("a", Expired=True)
    a.up(URL, tailnet.key(), "--force-reauth")
    a.wait_state("Running")
    b.wait_peer("a", Online=True)
    wait_ping(b.machine, a.ip4)
    assert a.addresses() == before and tailnet.nodes() == ["a", "b"]


@pytest.mark.short
def test_logout_and_return(tailnet):
    a = tailnet.joined("a")
    before = a.addresses()
    a.run("logout")
    a.wait_state("NeedsLogin")
    a.up(URL, tailnet.key())
    a.wait_state("Running")
    assert a.addresses() == before and len(tailnet.nodes()) == 1


@pytest.mark.short
def test_tags(tailnet):
    a = tailnet.joined("a", key=tailnet.key("--tags", "tag:server", user=None))
    b = tailnet.joined("b")
    assert a.status()["Self"]["Tags"] == ["tag:server"]
    b.wait_peer("a", Online=True)
    wait_ping(b.machine, a.ip4)
    tailnet.cli("nodes", "tag", "-i", "b", "-t", "tag:x,tag:y")
    wait_until(lambda: b.status()["Self"].get("Tags") == ["tag:x", "tag:y"], "the node knows its tags", 40)
    assert tailnet.node("b")["user"] is None


@pytest.mark.short
def test_ephemeral(net):
    tailnet = Tailnet(net, node={"ephemeral": {"inactivity_timeout": "3s"}})
    a = tailnet.joined("a", key=tailnet.key("--ephemeral"))
    b = tailnet.joined("b")
    b.wait_peer("a", Online=True)
    a.program.kill()
    wait_until(lambda: tailnet.nodes() == ["b"], "the ephemeral node has left", 40)
    b.wait_no_peer("a")


@pytest.mark.short
def test_offline_and_back(tailnet):
    a, b = tailnet.joined("a"), tailnet.joined("b")
    b.wait_peer("a", Online=True)
    a.program.kill()
    b.wait_peer("a", Online=False)
    assert not tailnet.node("a")["online"]
    assert "a has no connection here" in tailnet.cli("nodes", "ping", "-i", "a", check=False).stderr
    a.start()
    a.wait_state("Running")
    b.wait_peer("a", Online=True)


@pytest.mark.short
@pytest.mark.parametrize("version", [CURRENT, OLDEST])
def test_ping(tailnet, version):
    """The client's own code answers the server, through its stream; who asked may be gone by then."""
    a = tailnet.joined("a", version=version)
    wait_until(lambda: tailnet.node("a")["online"], "it is online")
    row = tailnet.ask("nodes", "ping", "-i", a.ip4)
    assert (row["id"], row["node"], row["answer"]) == ("1", "a", "echo") and 0 < row["took"] < 10e9
    assert "echo" in tailnet.cli("nodes", "ping", "-i", "1").stdout
    a.program.signal(signal.SIGSTOP)
    try:
        with Control(tailnet.server.path(f"{RUNTIME_DIR}/ctl.sock")) as asker:
            asker.sock.sendall(b'{"op": "nodes ping", "args": {"identifier": "a"}}\n')
            tailnet.ask("nodes", "list")
        assert "did not answer within 10 s" in tailnet.cli("nodes", "ping", "-i", "a", check=False).stderr
    finally:
        a.program.signal(signal.SIGCONT)
    assert tailnet.ask("nodes", "ping", "-i", "a")["answer"] == "echo"


def test_server_restarts(tailnet):
    """Traffic goes on while the server is gone, and all come back by themselves."""
    a, b = tailnet.joined("a"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4)
    wait_until(lambda: a.peers()["b"]["CurAddr"], "the path is direct", 60)
    with PingStream(a.machine, b.ip4, interval=0.05):
        tailnet.daemon.restart()
        tailnet.wait_online()
    tailnet.daemon.program.kill()
    tailnet.daemon.start()
    tailnet.wait_online()
    c = tailnet.joined("c")
    for one in (a, b):
        one.wait_peer("c", Online=True)
        wait_ping(one.machine, c.ip4)


def test_full_disk(net):
    """What cannot be kept is refused in words; who is connected notices nothing; room makes it well again."""
    tailnet = Tailnet(net, disk="4m")
    a, b = tailnet.joined("a"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    late = tailnet.key()
    wait_ping(a.machine, b.ip4)
    with PingStream(a.machine, b.ip4, interval=0.05):
        tailnet.server.run("dd", "if=/dev/zero", f"of={tailnet.daemon.state_dir}/filler", "bs=4k", check=False)

        def refused():
            done = tailnet.cli("users", "create", "bob", check=False)
            if done.returncode == 0:  # into what was left of the last page
                tailnet.cli("users", "destroy", "bob", check=False)
            return done.returncode and done.stderr

        assert "make room" in wait_until(refused, "the store is full", 30)
        assert tailnet.cli("health", check=False).returncode == 1
        assert tailnet.doctor()["store"]["state"] == "failed"
        assert all(node["online"] for node in tailnet.ask("nodes", "list"))
        c = tailnet.client("c")
        assert c.up(tailnet.url, late, check=False, timeout=5).returncode != 0 and tailnet.nodes() == ["a", "b"]
        tailnet.server.run("rm", f"{tailnet.daemon.state_dir}/filler")
        c.wait_state("Running")
        b.wait_peer("c", Online=True)
    assert tailnet.cli("health").returncode == 0
    tailnet.daemon.program.kill()
    tailnet.daemon.start()
    assert tailnet.nodes() == ["a", "b", "c"]


@pytest.mark.short
def test_relayed(tailnet):
    """With UDP blocked everything goes through the relay of the map."""
    a, b = tailnet.client("a"), tailnet.client("b")
    for client in (a, b):
        client.machine.run("nft", "add table inet wall; "
                           "add chain inet wall out { type filter hook output priority 0; }; "
                           "add rule inet wall out oifname eth0 meta l4proto udp drop")
        client.up(URL, tailnet.key())
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4, timeout=40)
    assert not a.peers()["b"]["CurAddr"] and a.peers()["b"]["Relay"] == "test"
    transfer(a.machine, b.machine, b.ip4, megabytes=4)


@pytest.mark.short
def test_subnet_router(tailnet):
    router = tailnet.client("router")
    inner = tailnet.internet.net.machine("inner")
    tailnet.internet.net.link(router.machine, inner, ["10.77.0.1/24"], ["10.77.0.2/24"], a_dev="lan0")
    inner.run("ip", "route", "add", "default", "via", "10.77.0.1")
    router.machine.sysctl("net.ipv4.ip_forward", 1)
    router.up(URL, tailnet.key(), "--advertise-routes=10.77.0.0/24")
    b = tailnet.joined("b")
    b.wait_peer("router", Online=True)
    assert tailnet.ask("nodes", "list-routes")[0]["availableRoutes"] == ["10.77.0.0/24"]
    assert ping(b.machine, "10.77.0.2", count=1).received == 0
    tailnet.cli("nodes", "approve-routes", "-i", "router", "-r", "10.77.0.0/24")
    b.wait_peer("router", PrimaryRoutes=["10.77.0.0/24"])
    wait_ping(b.machine, "10.77.0.2", timeout=30)
    # the same hosts at a site of number 7, by IPv6: for networks that overlap
    via = router.run("debug", "via", "7", "10.77.0.0/24").stdout.strip()
    router.run("set", f"--advertise-routes=10.77.0.0/24,{via}")
    router.machine.sysctl("net.ipv6.conf.all.forwarding", 1)
    wait_until(lambda: via in tailnet.node("router")["availableRoutes"], "the route is offered", 40)
    tailnet.cli("nodes", "approve-routes", "-i", "router", "-r", f"10.77.0.0/24,{via}")
    b.wait_peer("router", PrimaryRoutes=["10.77.0.0/24", via])
    wait_ping(b.machine, str(ipaddress.ip_network(via)[2]), timeout=30)
    # its name, which clients make themselves; with a domain behind it they know it in ts.net alone
    assert "fd7a:115c:a1e0:b1a:0:7:a4d:2" in b.run("dns", "query", "10-77-0-2-via-7", "AAAA").stdout
    tailnet.cli("nodes", "approve-routes", "-i", "router", "-r", "")
    b.wait_peer("router", PrimaryRoutes=None)


@pytest.mark.short
def test_exit_node(tailnet):
    """The offer needs approval; then everything of the client goes out through the node. What it goes to
    lies behind a hop: exit nodes refuse what is directly connected to them."""
    out, b = tailnet.client("out"), tailnet.joined("b")
    world = tailnet.internet.net.machine("world")
    tailnet.internet.net.link(out.machine, world, ["192.0.2.1/24"], ["192.0.2.2/24"], a_dev="wan0")
    world.address("lo", "203.0.113.2/32")
    out.machine.run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2")
    out.machine.sysctl("net.ipv4.ip_forward", 1)
    out.up(URL, tailnet.key(), "--advertise-exit-node")
    b.wait_peer("out", Online=True)
    assert not b.peers()["out"]["ExitNodeOption"]
    tailnet.cli("nodes", "approve-routes", "-i", "out", "-r", "0.0.0.0/0")
    b.wait_peer("out", ExitNodeOption=True)
    b.run("set", "--exit-node=out")
    wait_ping(b.machine, "203.0.113.2", timeout=30)


@pytest.mark.short
def test_failover(tailnet):
    """Two routers of one subnet: when the one that serves dies, the other takes over within 3 s, and within 10 s
    when it falls silent; what the machine kept server and heir waiting comes on top."""
    inner = tailnet.internet.net.machine("inner")
    inner.run("ip", "link", "add", "br0", "type", "bridge")
    inner.run("ip", "link", "set", "br0", "up")
    inner.address("br0", "10.78.0.2/24")
    routers = {}
    for i, name in enumerate(("r1", "r2")):
        router = routers[name] = tailnet.client(name)
        tailnet.internet.net.link(router.machine, inner, [f"10.78.0.{10 + i}/24"], a_dev="lan0", b_dev=f"p{i}")
        inner.run("ip", "link", "set", f"p{i}", "master", "br0")
        router.machine.sysctl("net.ipv4.ip_forward", 1)
        router.up(URL, tailnet.key(), "--advertise-routes=10.78.0.0/24")
        tailnet.cli("nodes", "approve-routes", "-i", name, "-r", "10.78.0.0/24")
    b = tailnet.joined("b")
    b.wait_peer("r1", PrimaryRoutes=["10.78.0.0/24"])
    wait_ping(b.machine, "10.78.0.2", timeout=30)

    def takes_over(heir, loses, limit):
        held = tailnet.daemon.program, routers[heir].program
        with tailnet.events() as events:
            before = kept_waiting(*held)
            loses()
            lost = time.time()
            took = events.wait(heir, "routes") - lost
        assert took <= limit + kept_waiting(*held) - before
        b.wait_peer(heir, PrimaryRoutes=["10.78.0.0/24"])

    takes_over("r2", routers["r1"].program.kill, 3)
    wait_ping(b.machine, "10.78.0.2", timeout=30)
    # back, it does not take the subnet again; nor does it by a restart of the server
    routers["r1"].start()
    b.wait_peer("r1", Online=True)
    tailnet.daemon.restart()
    tailnet.wait_online()
    assert tailnet.node("r2")["subnetRoutes"] == ["10.78.0.0/24"] and not tailnet.node("r1")["subnetRoutes"]
    wait_ping(b.machine, "10.78.0.2", timeout=30)
    # one that says nothing any more, its connection open, is found by asking
    try:
        takes_over("r1", lambda: routers["r2"].program.signal(signal.SIGSTOP), 10)
        wait_ping(b.machine, "10.78.0.2", timeout=30)
    finally:
        routers["r2"].program.signal(signal.SIGCONT)


@pytest.mark.short
def test_taildrop(tailnet):
    a, b = tailnet.joined("a"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    text = "from a to b\n" * 1000
    (a.folder / "letter").write_text(text)
    wait_until(lambda: "b" in a.run("file", "cp", "--targets", check=False).stdout, "b is a target", 60)
    a.run("file", "cp", a.folder / "letter", "b:")
    inbox = b.folder / "inbox"
    inbox.mkdir()
    b.run("file", "get", "--wait", inbox)
    assert (inbox / "letter").read_text() == text


def test_what_is_not_there(tailnet):
    """What this server has not, clients are told at once, in words; what needs nothing of it works."""
    a, b = tailnet.joined("a", "--ssh"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    b.wait_peer("a", Online=True)

    def said(client, *command, wip=False):
        done = client.machine.run("env", *(["TAILSCALE_USE_WIP_CODE=1"] if wip else []), program("tailscale"),
                                  f"--socket={client.socket}", *command, check=False, timeout=30)
        return done.stdout + done.stderr

    lock = said(a, "lock")
    assert "NOT enabled" in lock
    key = next(word for word in lock.split() if word.startswith("tlpub:"))
    assert "not supported" in said(a, "lock", "init", "--confirm", "--gen-disablements", "1", key)
    assert "not active" in said(a, "lock", "sign", "nodekey:" + "11" * 32)
    assert "501 Not Implemented: id-token: this control server issues no" in said(a, "id-token", "https://a.test", wip=True)
    assert "does not support getting TLS certs" in said(a, "cert", "a.tail.test")
    assert "HTTPS certificates need a public DNS zone" in said(a, "serve", "--bg", "--https=443", "3000")
    assert "http://a.tail.test/" in said(a, "serve", "--bg", "--http=80", "3000")
    assert "Funnel needs public ingress servers" in said(a, "funnel", "--bg", "3000")
    assert "policy does not permit you to SSH" in said(b, "ssh", "root@a", "true")
    assert "no exit nodes" in said(a, "exit-node", "list") and "alice" in said(a, "switch", "--list")
    assert "alice" in said(a, "whois", b.ip4)
    said(a, "set", "--hostname=other", "--auto-update", "--report-posture", "--advertise-connector")
    b.wait_peer("other", Online=True)
    report = json.loads(a.run("netcheck", "--format=json").stdout)
    assert report["PreferredDERP"] == 900 and report["UDP"] and not report["CaptivePortal"]


def test_names(net):
    """Records, resolvers and search domains of the configuration; a file with more is followed as it changes."""
    tailnet = Tailnet(net, dns={
        "base_domain": "tail.test", "search_domains": ["corp.test"], "override_local_dns": False, "extra_records_path": "records.json",
        "nameservers": {"global": ["192.0.2.53"], "split": [{"domain": "ad.test", "servers": ["192.0.2.54"]}]},
        "extra_records": [{"name": "wiki.corp.test", "value": "192.0.2.80"},
                          {"name": "wiki.corp.test", "type": "AAAA", "value": "2001:db8::80"}]})
    file = tailnet.daemon.state_dir / "records.json"
    a = tailnet.joined("a")

    def finds(name, *addresses):
        wait_until(lambda: sorted({line.split()[0] for line in a.machine.run("getent", "ahosts", name, check=False)
                                   .stdout.splitlines()}) == sorted(addresses), f"{name} has {addresses}", 40)

    finds("wiki.corp.test", "192.0.2.80", "2001:db8::80")
    finds("wiki", "192.0.2.80", "2001:db8::80")
    status = a.run("dns", "status", "--all").stdout
    for known in ("192.0.2.53", "ad.test", "192.0.2.54", "corp.test", "tail.test"):
        assert known in status, status
    file.write_text('[{"name": "grafana.corp.test", "type": "A", "value": "192.0.2.81"},'
                    ' {"name": "bad.corp.test", "type": "TXT", "value": "x"}]')
    finds("grafana.corp.test", "192.0.2.81")
    assert "records left out: 1;" in tailnet.daemon.program.log()
    file.write_text('[{"name": "grafana.corp.test",\n')
    wait_until(lambda: "records.json: line" in tailnet.daemon.program.log(), "what is wrong is said", 20)
    file.write_text('[{"name": "grafana.corp.test", "type": "A", "value": "192.0.2.82"}]')
    finds("grafana.corp.test", "192.0.2.82")
    finds("wiki.corp.test", "192.0.2.80", "2001:db8::80")


@pytest.mark.short
def test_approval(net):
    tailnet = Tailnet(net, node={"approval": True})
    a, b = tailnet.client("a"), tailnet.client("b")
    for client in (a, b):
        assert client.up(URL, tailnet.key(), check=False, timeout=3).returncode != 0
        client.wait_state("NeedsMachineAuth")
    assert [node["name"] for node in tailnet.ask("nodes", "list", "--waiting")] == ["a", "b"]
    tailnet.cli("nodes", "approve", "-i", "a")
    a.wait_state("Running")
    assert "b" not in a.peers()
    tailnet.cli("nodes", "approve", "-i", "b")
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4)


def test_backup_and_restore(tailnet):
    """A restored server knows its nodes, and they it; an id is never given twice."""
    a = tailnet.joined("a")
    backup, key = tailnet.daemon.folder / "backup", tailnet.daemon.state_dir / "noise_private.key"
    assert tailnet.ask("backup", backup)["files"] == 1
    b = tailnet.joined("b")
    late, taken = int(tailnet.node("b")["id"]), b.ip4
    known = key.read_bytes()
    key.unlink()
    tailnet.cli("restore", backup)
    assert key.read_bytes() == known and "provided twice" not in tailnet.daemon.program.log()
    a.wait_state("Running")
    wait_until(lambda: tailnet.node("a")["online"], "a is back", 60)
    c = tailnet.joined("c")
    assert int(tailnet.node("c")["id"]) > late and c.ip4 != taken
    a.wait_peer("c", Online=True)
    wait_ping(a.machine, c.ip4)
