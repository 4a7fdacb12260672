# SPDX-License-Identifier: BSD-3-Clause
"""The relay alone: what it serves beside DERP, its key, who is let in, its commands."""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from daemon import BUILD, CLI, OperationFailed
from derp_client import Talker
from test_http import free_port
from test_tls import make_certificate
from wait import wait_until


class Here:
    """For Talker: a program of this machine."""

    @staticmethod
    def enter(command):
        return [str(word) for word in command]


@pytest.fixture
def relay(daemon):
    if not (BUILD / "derp/derp.so").exists():
        pytest.skip("the plugin derp is not built")
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "derp")
    daemon.port, daemon.metrics = free_port(), free_port()

    def configure(http=None, **derp):
        daemon.configure("derp", core={"http": {"listen_addr": [f"127.0.0.1:{daemon.port}"], **(http or {})},
                                       "metrics": {"listen": f"127.0.0.1:{daemon.metrics}"}},
                         derp={"stun_listen_addr": "127.0.0.1:0", **derp})

    def start(**settings):
        configure(**settings)
        return daemon.start()

    daemon.begin, daemon.reconfigure = start, configure
    yield daemon
    daemon.end()


def need_control(relay):
    if not (BUILD / "control/control.so").exists():
        pytest.skip("the plugin control is not built")
    relay.env["TAILPLANE_PLUGIN_PATH"] += f":{BUILD / 'control'}"


def ask(port, path, method="GET", **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=fields)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


# Reading the system's authorities takes a sanitized build long, and nobody needs them here.
NO_AUTHORITIES = {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/nonexistent"}


def talker(relay, *args):
    return Talker(Here, *args, f"http://127.0.0.1:{relay.port}", env=NO_AUTHORITIES)


def key_file(folder, name):
    path = folder / name
    path.write_text(secrets.token_hex(32))
    return path


def is_served(relay, *args):
    """Whether a client that tries once gets in."""
    with talker(relay, "--once", *args) as one:
        wait_until(lambda: one.seen("up") or one.seen("down"), "an answer", 30)
        return bool(one.seen("up"))


def test_pages(relay):
    relay.begin(bootstrap_dns_names=["localhost"])
    for path in ("/derp/probe", "/derp/latency-check"):
        for method in ("GET", "HEAD"):
            answer, _ = ask(relay.port, path, method)
            assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"
        assert ask(relay.port, path, "POST")[0].status == 405
    answer, _ = ask(relay.port, "/generate_204", **{"X-Tailscale-Challenge": "ts_a.b:c-1"})
    assert answer.status == 204 and answer.headers["X-Tailscale-Response"] == "response ts_a.b:c-1"
    for bad in ("a" * 65, "a b", "<a>"):
        answer, _ = ask(relay.port, "/generate_204", **{"X-Tailscale-Challenge": bad})
        assert answer.status == 204 and "X-Tailscale-Response" not in answer.headers
    assert "Disallow: /" in ask(relay.port, "/robots.txt")[1]
    assert "relay" in ask(relay.port, "/")[1]
    answer, text = ask(relay.port, "/derp")
    assert answer.status == 426 and answer.headers["Upgrade"] == "DERP" and "proxy" in text
    wait_until(lambda: "127.0.0.1" in json.loads(ask(relay.port, "/bootstrap-dns")[1]).get("localhost", []),
               "the name is looked up")
    assert list(json.loads(ask(relay.port, "/bootstrap-dns?q=localhost")[1])) == ["localhost"]
    assert json.loads(ask(relay.port, "/bootstrap-dns?q=example.com")[1]) == {}
    relay.reconfigure(bootstrap_dns_names=["ip6-localhost.invalid", "localhost"])
    relay.call("reload")
    assert list(json.loads(ask(relay.port, "/bootstrap-dns")[1])) == ["localhost"], "it is not forgotten"
    for path in ("/debug/", "/debug/varz"):
        assert ask(relay.port, path)[0].status == 404
    assert ask(relay.metrics, "/debug/")[0].status == 200
    assert ask(relay.metrics, "/debug/varz")[0].headers["Location"] == "/metrics"
    metrics = ask(relay.metrics, "/metrics")[1]
    for name in ("tailplane_derp_accepts_total", "derp_accepts", 'derp_packets_dropped{reason="queue_head",kind="disco"}',
                 'stun_requests{disposition="success"}', "derp_current_connections"):
        assert f"\n{name} " in metrics, name


def test_key(relay):
    """Made once, for the owner alone; one of derper is taken as it is."""
    relay.begin()
    key = relay.call("derp status")["key"]
    assert stat.S_IMODE(os.stat(relay.state / "derp.key").st_mode) == 0o600
    relay.stop()
    relay.start()
    assert relay.call("derp status")["key"] == key
    relay.stop()
    text = (relay.state / "derp.key").read_text().strip()
    (relay.state / "derp.key").write_text(json.dumps({"PrivateKey": text}, indent="\t"))
    relay.start()
    assert relay.call("derp status")["key"] == key
    relay.stop()
    (relay.state / "derp.key").write_text("privkey:0123\n")
    assert "no key of a relay" in relay.fails()


def test_what_is_wrong_is_named(relay):
    relay.configure("derp", derp={"region_code": ""})
    assert "region_code is empty" in relay.fails()
    relay.reconfigure(mesh={"psk_file": "mesh.key"})
    assert f"derp.mesh.psk_file: {relay.state}/mesh.key: No such file" in relay.fails()
    missing = relay.folder / "nobody"
    relay.begin(verify_client_file=str(missing))
    assert f"derp.verify_client_file {missing}: No such file" in relay.log()


def test_commands(relay):
    relay.begin()
    wait_until(lambda: relay.call("derp status")["works"] == "yes", "it works")
    status = next(op for op in relay.call("describe") if op["name"] == "derp status")
    assert set(relay.call("derp status")) == {column["key"] for column in status["columns"]}, "each has its title"
    with talker(relay) as a, talker(relay) as b:
        a.wait("up"), b.wait("up")
        a.send(b.key, "hello")
        b.wait_packet(a.key, "hello")
        rows = {row["key"]: row for row in relay.call("derp clients")}
        assert rows[f"nodekey:{a.key}"]["packets_in"] == 1 and rows[f"nodekey:{b.key}"]["packets_out"] == 1
        since = len(a.events)
        relay.call("derp close", key=f"nodekey:{a.key}")
        a.wait("down", since)
        a.wait("up", since)
        for bad in ("nodekey:12", "x" * 64, ""):
            with pytest.raises(OperationFailed):
                relay.call("derp close", key=bad)
        with pytest.raises(OperationFailed, match="no client of this relay has that key"):
            relay.call("derp close", key="nodekey:" + "1" * 64)
    probed = relay.call("derp probe")
    assert "problem" not in probed and probed["rtt_median"] > 0
    shown = subprocess.run([CLI, "-s", relay.socket, "derp", "probe"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^  127\.0\.0\.1 +[0-9.]+ (µs|ms) +127\.0\.0\.1:", shown, re.M), "people are told no nanoseconds"
    with pytest.raises(OperationFailed, match=r"^none\.\.: "):  # no resolver is asked for it
        relay.call("derp probe", relay="none..")
    with pytest.raises(OperationFailed, match="TLS"):  # there is none, so there is nothing for a map
        relay.call("derp map")


def test_drain(relay):
    """All are told and closed, and none is taken, until the next start."""
    relay.begin(drain="500ms")
    with talker(relay) as a, talker(relay) as b, talker(relay) as c:
        for one in (a, b, c):
            one.wait("up")
        relay.call("derp drain")
        for one in (a, b, c):
            assert one.wait("restarting") and one.wait("down")
        assert relay.call("derp clients") == [] and not is_served(relay)
        status = relay.call("derp status")
        assert "drained" in status["works"] and "silent" in status["stun"], "nobody shall choose it"
        since = [len(one.events) for one in (a, b, c)]
        relay.stop()
        relay.start()
        for one, at in zip((a, b, c), since):
            one.wait("up", at, timeout=30)


def test_tls_of_its_own(relay):
    relay.begin(tls_listen_addr=["127.0.0.1:0"], hostname="relay.test", region_code="home", ipv4="192.0.2.1")
    region = relay.call("derp map")["Regions"]["999"]
    node = region["Nodes"][0]
    assert region["RegionCode"] == "home" and node["HostName"] == "relay.test" and node["IPv4"] == "192.0.2.1"
    assert stat.S_IMODE(os.stat(relay.state / "derp-tls.key").st_mode) == 0o600
    with Talker(Here, "--cert", node["CertName"], f"https://127.0.0.1:{node['DERPPort']}",
                env=NO_AUTHORITIES) as a:
        a.wait("up")
    with Talker(Here, "--once", "--cert", f"sha256-raw:{'0' * 64}", f"https://127.0.0.1:{node['DERPPort']}",
                env=NO_AUTHORITIES) as a:
        a.wait("down")
    assert f'certname: "{node["CertName"]}"' in relay.call("derp map", headscale=True)


def test_ports_that_are_taken(relay):
    """By another program: which setting has it is told."""
    for kind, setting, way_out in ((socket.SOCK_STREAM, "tls_listen_addr", "choose another address"),
                                   (socket.SOCK_DGRAM, "stun_listen_addr", "choose another address with derp.stun_listen_addr")):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            if kind == socket.SOCK_STREAM:
                taken.listen()
            relay.reconfigure(**{setting: [address] if setting == "tls_listen_addr" else address})
            told = relay.fails()
            assert f"derp.{setting}" in told and address in told and f"Address already in use; {way_out}" in told


def admissions(relay):
    return sum(map(int, re.findall(r"^tailplane_derp_admissions_total{.*} (\d+)$", ask(relay.metrics, "/metrics")[1], re.M)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up privileges")
def test_a_certificate_key_for_root_alone(relay):
    """As it is when one has just been made: the relay, which is somebody else, says what to do."""
    certificate, key = make_certificate(relay.folder, "relay", "relay.test")
    relay.folder.chmod(0o711)
    relay.configure("derp", core={"user": "nobody", "http": {"listen_addr": [f"127.0.0.1:{relay.port}"],
                                                             "plain_listen_addr": [f"127.0.0.1:{free_port()}"],
                                                             "tls_cert_path": certificate, "tls_key_path": key}})
    assert f"{key}: Permission denied; type: chgrp nogroup {key} && chmod 640 {key}" in relay.fails()
    shutil.chown(key, group="nogroup")
    key.chmod(0o640)
    relay.start()


def test_a_certificate_that_has_ended(relay):
    """Nobody could stay with the relay, so STUN, by which clients choose one, is silent until there is another."""
    certificate, key = make_certificate(relay.folder, "relay", "relay.test")
    good = certificate.read_bytes()
    subprocess.run(["openssl", "x509", "-in", certificate, "-signkey", key, "-days", "-1", "-out", relay.folder / "ended"],
                   check=True, capture_output=True)
    certificate.write_bytes((relay.folder / "ended").read_bytes())
    relay.begin(http={"tls_cert_path": certificate, "tls_key_path": key,
                      "plain_listen_addr": [f"127.0.0.1:{free_port()}"]})
    wait_until(lambda: "certificate has ended" in relay.call("derp status")["works"], "it is seen")
    assert "silent" in relay.call("derp status")["stun"]
    certificate.write_bytes(good)
    relay.call("reload")
    wait_until(lambda: relay.call("derp status")["works"] == "yes", "it works")
    assert "answers" in relay.call("derp status")["stun"]


def test_file_of_keys(relay):
    clients = relay.folder / "clients"
    clients.write_text("# nobody yet\n")
    relay.begin(verify_client_file=str(clients))
    path = key_file(relay.folder, "a.key")
    with talker(relay, "--key", path) as a:
        a.wait("down")
        clients.write_text(f"  nodekey:{a.key}  # the first\r\n\n")
        a.wait("up", timeout=30)
        clients.write_text(f"nodekey:{a.key}\nnodekey:abc\n")
        wait_until(lambda: "line 2 is no node key" in relay.log(), "the mistake is told")
        assert a.key in str(relay.call("derp clients"))
        since, asked = len(a.events), admissions(relay)
        relay.call("reload")  # which asks again for all who are connected
        wait_until(lambda: admissions(relay) > asked, "it is asked about")
        assert not a.seen("down", since) and is_served(relay, "--key", path)
        clients.write_text(f"nodekey:{'1' * 64}\n")
        a.wait("down", since)
        assert not is_served(relay, "--key", path)


def knock(relay, of):
    """A request for /derp by a proxy for that client; the connection, and the status."""
    s = socket.create_connection(("127.0.0.1", relay.port), timeout=10)
    s.sendall(b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"
              b"X-Forwarded-For: " + of.encode() + b"\r\n\r\n")
    return s, int(s.recv(12).split()[1])


@contextlib.contextmanager
def knocks(relay):
    """What knocks from an address are answered; their connections stay."""
    with contextlib.ExitStack() as stack:
        def status(of):
            s, status = knock(relay, of)
            stack.callback(s.close)
            return status

        yield status


@pytest.mark.parametrize("trusted", [True, False])
def test_connections_of_an_address(relay, trusted):
    """Behind a proxy that is trusted it is the client's; what others say of it is nothing."""
    relay.begin(http={"trusted_proxies": ["127.0.0.1/32"]} if trusted else {}, limits={"connections_per_address": 2})
    wait_until(lambda: relay.call("derp status")["works"] == "yes" and not relay.call("derp clients"), "it works")
    with knocks(relay) as status:
        if trusted:
            assert [status("192.0.2.1") for _ in range(3)] == [101, 101, 503]
            assert status("192.0.2.2") == 101 and status("2001:db8::1") == 101
        else:
            assert [status(f"192.0.2.{n}") for n in range(3)] == [101, 101, 503]
        assert "tailplane_derp_refused_address_total 1\n" in ask(relay.metrics, "/metrics")[1]


def test_one_address_does_not_use_up_the_rate(relay):
    """What is refused because there are too many connections of its address leaves the others' share alone."""
    relay.begin(http={"trusted_proxies": ["127.0.0.1/32"]},
                limits={"connections_per_address": 1, "accept_rate": 1, "accept_burst": 20})
    wait_until(lambda: relay.call("derp status")["works"] == "yes" and not relay.call("derp clients"), "it works")
    with knocks(relay) as status:
        assert [status("192.0.2.1") for _ in range(50)] == [101] + 49 * [503]
        assert status("192.0.2.2") == 101
        assert [status(f"198.51.100.{n}") for n in range(30)].count(503) >= 5, "there is a rate"
    metrics = ask(relay.metrics, "/metrics")[1]
    assert "tailplane_derp_refused_address_total 49\n" in metrics


class Judge:
    """A /verify: says yes to those in `known`, or fails with `status`."""

    def __init__(self, port=0):
        judge, self.known, self.status, self.asked = self, set(), 200, []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.asked.append(question)
                body = json.dumps({"Allow": question["NodePublic"] in judge.known}).encode()
                self.send_response(judge.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/verify"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def judge():
    one = Judge()
    yield one
    one.stop()


def test_url(relay, judge):
    """Asked for each client; when nobody answers there, those stay welcome who were known lately, and no others;
    who is known no longer is disconnected."""
    relay.begin(verify_client_url=judge.url, verify_again="1s")
    a, b = key_file(relay.folder, "a.key"), key_file(relay.folder, "b.key")
    with talker(relay, "--key", a) as known:
        known.wait("down")
        assert {"NodePublic": f"nodekey:{known.key}", "Source": "127.0.0.1"} in judge.asked
        judge.known.add(f"nodekey:{known.key}")
        known.wait("up", timeout=30)
        judge.status = 502
        assert is_served(relay, "--key", a) and not is_served(relay, "--key", b)
        assert relay.log().count("derp.verify_client_url answers with status 502") == 1
        judge.status, since = 200, len(known.events)
        judge.known.clear()
        known.wait("down", since, timeout=30)
        judge.status = 502
        assert not is_served(relay, "--key", a)  # a no is remembered, too
    metrics = ask(relay.metrics, "/metrics")[1]
    assert 'tailplane_derp_admissions_total{outcome="grace"} 0' not in metrics
    assert 'tailplane_derp_admissions_total{outcome="unheard"} 0' not in metrics


def test_url_may_fail_open(relay):
    relay.begin(verify_client_url=f"http://127.0.0.1:{free_port()}/verify", verify_client_url_fail_open=True)
    assert is_served(relay)


def test_url_says_no_though_it_may_fail_open(relay, judge):
    """A control server in this process that tells nothing of nodes does not make an open relay of a URL's no."""
    need_control(relay)
    (relay.folder / "none.json").write_text('{"Regions": {}}')
    relays = {"paths": [str(relay.folder / "none.json")], "server": {"enabled": False}}
    relay.configure("control", "derp", core={"http": {"listen_addr": [f"127.0.0.1:{relay.port}"]}},
                    control={"first_key": False, "server_url": "http://relay.test:1",
                             "dns": {"base_domain": "tail.test"}, "derp": relays},
                    derp={"stun_listen_addr": "", "verify_client_url": judge.url, "verify_client_url_fail_open": True})
    relay.start()
    assert not is_served(relay)
    judge.status = 502
    assert is_served(relay)


def test_reload(relay, judge):
    """Who is let in changes at once; connections of those who still may stay."""
    relay.begin()
    with talker(relay) as a, talker(relay) as b:
        a.wait("up"), b.wait("up")
        judge.known.add(f"nodekey:{a.key}")
        since_a, since_b = len(a.events), len(b.events)
        relay.reconfigure(verify_client_url=judge.url)
        relay.call("reload")
        b.wait("down", since_b)
        assert not a.seen("down", since_a)


def test_beside_control(relay):
    """Whichever of the two is restarted by a reload, the map keeps the region, with the same pin; a relay without
    TLS is not taken for the map, and may be there beside it."""
    need_control(relay)
    paths = {"paths": [str(relay.folder / "none.json")]}
    (relay.folder / "none.json").write_text('{"Regions": {}}')
    tls = free_port()

    def configure(control=None, **derp):
        relay.configure("control", "derp", core={"http": {"listen_addr": [f"127.0.0.1:{relay.port}"]}},
                        control={"first_key": False, "server_url": "http://relay.test:1", "derp": paths,
                                 "dns": {"base_domain": "tail.test"}, **(control or {})},
                        derp={"stun_listen_addr": "127.0.0.1:0", "tls_listen_addr": [f"127.0.0.1:{tls}"], **derp})

    def regions():
        return relay.call("status")["control"]["relay_regions"]

    def cert_name():
        return relay.call("derp map")["Regions"]["999"]["Nodes"][0]["CertName"]

    configure()
    relay.start()
    wait_until(lambda: regions() == 1, "the region is in the map")
    pin = cert_name()
    configure(stun_listen_addr="")
    relay.call("reload")
    wait_until(lambda: regions() == 1 and relay.call("derp status")["stun"] == "off", "the relay was restarted")
    configure({"server_url": "http://relay.test:2"}, stun_listen_addr="")
    relay.call("reload")
    wait_until(lambda: regions() == 1, "the control server was restarted")
    assert cert_name() == pin
    configure({"server_url": "http://relay.test:2", "derp": {**paths, "server": {"enabled": False}}},
              stun_listen_addr="")
    relay.call("reload")
    wait_until(lambda: regions() == 0, "the region is taken out")
    configure({"server_url": "http://relay.test:2"}, stun_listen_addr="", tls_listen_addr=[])
    line = 1 + next(i for i, text in enumerate(relay.conf.read_text().splitlines()) if text.startswith("derp"))
    with pytest.raises(OperationFailed, match=f":{line}: clients would be told of this relay"):
        relay.call("reload")
    relay.stop()
    assert f"{relay.conf}:{line}: clients would be told of this relay" in relay.fails()
    for way_out in ({"server": {"enabled": False}}, {"server": {"automatically_add_embedded_derp_region": False}}):
        configure({"server_url": "http://relay.test:2", "derp": {**paths, **way_out}}, tls_listen_addr=[])
        relay.start()
        assert regions() == 0
        relay.stop()
    configure({"server_url": "http://relay.test:2"}, tls_listen_addr=[], advertised_port=443)
    relay.start()
    wait_until(lambda: regions() == 1, "the proxy's port is in the map")
