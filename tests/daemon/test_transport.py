# SPDX-License-Identifier: BSD-3-Clause
"""/ts2021 and what is inside it, with a client of our own; real clients are in the interop suite."""

import base64
import json
import os
import plistlib
import queue
import random
import re
import socket
import subprocess
import threading
import time
import uuid
from contextlib import suppress

import pytest

from daemon import BUILD
from test_front import ask, connect, exchange, metric, read_exactly, read_head, serve
from wait import wait_until

TOOL = BUILD / "tests" / "daemon" / "ts_tool"
RECORD = 4096
MACHINE = "10" + "11" * 30 + "51"


class Client:
    """ts_tool and what it tells."""

    def __init__(self, daemon, machine=MACHINE, version=142, window=0, hold=False, key=None):
        args = [TOOL, "127.0.0.1", str(daemon.port), key or server_key(daemon), machine, str(version), str(window)]
        args += ["hold"] if hold else []
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def say(self, words):
        """To one whose connection has ended, and which ends with it, in vain."""
        with suppress(BrokenPipeError):
            self.process.stdin.write(words + "\n")

    def hear(self, *keys):
        """The next line that has these; others are forgotten."""
        while True:
            try:
                line = self.lines.get(timeout=10)
            except queue.Empty:
                raise AssertionError(f"the client has not told {keys}") from None
            if all(k in line for k in keys):
                return line

    def begin(self, method, path, body=None):
        self.say(f"request {method} {path}" + ("" if body is None else f" {body}"))
        return self.hear("request")["request"]

    def request(self, method, path, body=None):
        """Status and end."""
        self.begin(method, path, body)
        status = self.hear("status")["status"]
        return status, self.hear("end")

    def facts(self):
        self.say("facts")
        return self.hear("goaway")

    def catch_up(self):
        """All that the server could send by now has come: it answers a ping before it sends data."""
        for _ in range(2):
            before = self.facts()["pongs"]
            self.say("ping")
            wait_until(lambda: self.facts()["pongs"] > before, "a ping comes back")

    def tell(self, stream):
        self.say(f"tell {stream}")
        return self.hear("messages")

    def close(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(10)
        self.thread.join(10)


def server_key(daemon):
    answer = ask(daemon, "/key?v=142")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    keys = json.loads(answer.body)
    assert keys["legacyPublicKey"] == "mkey:" + "0" * 64
    return keys["publicKey"].removeprefix("mkey:")


@pytest.fixture
def rpcs(daemon):
    return serve(daemon, ("rpcs",), io_loops=2)


@pytest.fixture
def clients(rpcs):
    """Makes clients, and ends them."""
    made = []

    def make(**kw):
        made.append(Client(rpcs, **kw))
        return made[-1]

    yield make
    for client in made:
        client.close()


def facts(daemon, **wanted):
    """Of the service, once they are as wanted."""
    def look():
        now = daemon.call("rpc facts")
        return all(now[k] == v for k, v in wanted.items()) and now

    return wait_until(look, f"the service has {wanted}")


def test_a_request(rpcs, clients):
    client = clients()
    status, end = client.request("GET", "/machine/whoami?a=b")
    seen = json.loads(end["text"])
    assert status == 200 and end["end"] == 0
    assert seen["machine"] == "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
    assert (seen["version"], seen["method"], seen["query"], seen["body"]) == (142, "GET", "a=b", 0)
    assert seen["from"].startswith("127.0.0.1:")
    assert re.fullmatch("chalpub:[0-9a-f]{64}", client.facts()["early"]["nodeKeyChallenge"])
    assert client.request("POST", "/nowhere", 5)[0] == 404
    assert metric(rpcs, "tailplane_control_sessions") == 1


def test_bodies(rpcs, clients):
    client = clients()
    for length in (0, 1, 4077, 100_000, 1 << 20):
        status, end = client.request("POST", "/machine/echo", length)
        assert (status, end["bytes"], end["end"]) == (200, length, 0)
    # with GET as well
    assert json.loads(client.request("GET", "/machine/whoami", 7)[1]["text"])["body"] == 7
    assert client.request("HEAD", "/machine/whoami")[1]["bytes"] == 0
    status, end = client.request("POST", "/machine/echo", (1 << 20) + 1)
    assert status == 413 and "too long" in end["text"]
    assert client.request("POST", "/machine/echo", 3)[0] == 200


def test_many_streams_at_once(rpcs, clients):
    client = clients()
    waiting = [client.begin("POST", "/machine/wait", 1) for _ in range(250)]
    facts(rpcs, held=250)
    rpcs.call("rpc end")
    ends = [client.hear("end") for _ in waiting]
    assert sorted(e["stream"] for e in ends) == waiting and all(e["text"] == "late" for e in ends)


@pytest.mark.parametrize("together", [False, True], ids=["each", "together"])
def test_messages(rpcs, clients, together):
    client, other = clients(), clients()
    streams = client.begin("POST", "/machine/map", 10), other.begin("POST", "/machine/map", 10)
    assert client.hear("status")["status"] == other.hear("status")["status"] == 200
    facts(rpcs, held=2)
    before = client.facts(), other.facts()
    for length, times in ((0, 1), (5, 3), (3_955, 1), (3_956, 1), (16_300, 1), (1_000_000, 2), (65_536, 1)):
        rpcs.call("rpc send", len=length, times=times, together=together)
    total = sum(times * (4 + 109 + length) for length, times in ((0, 1), (5, 3), (3_955, 1), (3_956, 1), (16_300, 1), (1_000_000, 2), (65_536, 1)))
    told = [wait_until(lambda c=c, s=s: (t := c.tell(s))["bytes"] == total and t, "all has come") for c, s in
            zip((client, other), streams)]
    assert told[0]["hash"] == told[1]["hash"] and told[0]["messages"] == told[1]["messages"] == 10
    # A message begins in a frame and a record of its own; a whole frame is four whole records.
    frames = sum(times * -(-(113 + length) // 16_299) for length, times in
                 ((0, 1), (5, 3), (3_955, 1), (3_956, 1), (16_300, 1), (1_000_000, 2), (65_536, 1)))
    for c, b in zip((client, other), before):
        now = c.facts()
        assert now["frames"] - b["frames"] == frames
        assert now["records"] - b["records"] <= frames * 4
    facts(rpcs, backlog=0)
    rpcs.call("rpc end")
    assert client.hear("end")["end"] == other.hear("end")["end"] == 0
    facts(rpcs, held=0, closed=0)


def test_flow_control_in_the_middle_of_a_message(rpcs, clients):
    client = clients(window=70_000)
    client.begin("POST", "/machine/map", 10)
    facts(rpcs, held=1)
    client.say("stop")
    rpcs.call("rpc send", len=20_000_000, times=1)
    client.say("go")
    rpcs.call("rpc end")
    end = client.hear("end")
    assert (end["bytes"], end["messages"], end["end"]) == (20_000_113, 1, 0)


def test_a_window_of_one_byte(rpcs, clients):
    client = clients(window=1)
    client.begin("POST", "/machine/map", 10)
    facts(rpcs, held=1)
    rpcs.call("rpc send", len=100, times=2)
    rpcs.call("rpc end")
    end = client.hear("end")
    assert (end["bytes"], end["messages"], end["end"]) == (426, 2, 0)


def test_a_client_that_does_not_read(rpcs, clients):
    client = clients(window=1 << 28)
    stream = client.begin("POST", "/machine/map", 10)
    facts(rpcs, held=1)
    client.hear("status")
    client.say("stop")
    rpcs.call("rpc send", len=1_000_000, times=60)
    waiting = rpcs.call("rpc facts")
    assert waiting["backlog"] > 20_000_000
    wait_until(lambda: rpcs.call("rpc facts")["age"] > 100_000_000, "it has waited")
    rpcs.call("rpc drained")
    assert rpcs.call("rpc facts")["drained"] == 0
    # others are served meanwhile
    assert clients(machine="20" + "22" * 31).request("GET", "/machine/whoami")[0] == 200
    client.say("go")
    facts(rpcs, drained=1, backlog=0, age=0)
    assert wait_until(lambda: client.tell(stream)["messages"] == 60, "all has come")
    rpcs.call("rpc drained")
    facts(rpcs, drained=2)


def test_an_end_that_discards(rpcs, clients):
    client = clients(window=1 << 28)
    client.begin("POST", "/machine/map", 10)
    facts(rpcs, held=1)
    client.hear("status")
    client.say("stop")
    rpcs.call("rpc send", len=1_000_000, times=60)
    rpcs.call("rpc end", discard=True)
    client.say("go")
    assert client.hear("end")["bytes"] < 40_000_000
    assert client.request("GET", "/machine/whoami")[0] == 200


def test_a_request_that_is_cancelled(rpcs, clients):
    client = clients()
    for path in ("/machine/wait", "/machine/map"):
        stream = client.begin("POST", path, 1)
        facts(rpcs, held=1)
        client.say(f"cancel {stream}")
        facts(rpcs, held=0)
    assert rpcs.call("rpc facts")["closed"] == 2
    rpcs.call("rpc send", len=10, times=1)
    assert client.request("GET", "/machine/whoami")[0] == 200


def test_a_connection_that_ends(rpcs, clients):
    before = rpcs.idle_fds()
    client = clients()
    client.begin("POST", "/machine/map", 1)
    client.begin("POST", "/machine/wait", 1)
    facts(rpcs, held=2)
    client.close()
    facts(rpcs, held=0, closed=2)
    wait_until(lambda: rpcs.fds() == before, "the connection is closed")


def test_a_machine_has_several_sessions_and_all_are_closed(rpcs, clients):
    one, two, other = clients(), clients(), clients(machine="20" + "22" * 31)
    other.begin("POST", "/machine/map", 1)
    other.hear("status")
    one.begin("POST", "/machine/map", 1)
    one.hear("status")
    assert two.request("GET", "/machine/whoami")[0] == 200
    facts(rpcs, held=2)
    rpcs.call("rpc close")
    assert one.hear("closed")["said_goodbye"] and two.hear("closed")["said_goodbye"]
    facts(rpcs, held=1, closed=1)
    assert other.request("GET", "/machine/whoami")[0] == 200


def test_pings_are_answered(rpcs, clients):
    client = clients()
    client.begin("POST", "/machine/map", 1)
    client.say("ping")
    wait_until(lambda: client.facts()["pongs"] == 1, "the answer")


def test_a_stop_says_goodbye(rpcs, clients):
    client = clients()
    client.begin("POST", "/machine/map", 1)
    client.begin("POST", "/machine/wait", 1)
    facts(rpcs, held=2)
    assert rpcs.stop() == 0
    assert client.hear("closed")["said_goodbye"]


def test_old_clients_are_told(rpcs, clients):
    client = clients(version=112)
    status, end = client.request("POST", "/machine/register", 10)
    assert status == 200 and "too old" in json.loads(end["text"])["Error"]
    status, end = client.request("POST", "/machine/map", 10)
    assert status == 400 and "1.80" in end["text"]
    assert rpcs.call("rpc facts")["requests"] == 0
    assert clients(version=113).request("POST", "/machine/whoami", 0)[0] == 200
    assert clients(version=65535).request("POST", "/machine/whoami", 0)[0] == 200


def test_clients_of_the_future(rpcs, clients):
    assert clients(version=65535).request("GET", "/machine/whoami")[0] == 200


def test_another_key(rpcs, clients):
    error = clients(key="20" * 32).hear("error")["error"]
    assert "the server refuses: the handshake is not for this server's key" in error
    wait_until(lambda: metric(rpcs, "tailplane_control_handshakes_failed_total") == 1, "it is counted")
    assert metric(rpcs, "tailplane_control_sessions") == 0


@pytest.mark.parametrize("raw", [
    "04000000", "05001000", "040fff", "03001000" + "00" * 16, "040010" + "00" * 16, "ff" * 100,
])
def test_records_that_are_none(rpcs, clients, raw):
    client = clients()
    assert client.request("GET", "/machine/whoami")[0] == 200
    client.say(f"raw {raw}")
    client.hear("closed")
    wait_until(lambda: metric(rpcs, "tailplane_control_broken_total") == 1, "it is counted")


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize("text, ends", [
    (b"x" * 100, True),                                              # no frame of any kind
    (frame(0, 1, 0, b"data"), True),                                 # DATA on no stream
    (frame(0, 1, 99, b"data"), True),                                # on one that is idle
    (frame(1, 5, 2, b"\x82\x84\x87"), True),                         # HEADERS on the server's stream
    (frame(1, 5, 101, b"\xff" * 20), True),                          # broken HPACK
    (frame(1, 5, 101, b"\x82"), None),                               # no path: reset, which our client's HTTP/2 knows nothing of
    (frame(1, 5, 101, b"\x82\x84\x87\x84"), None),                   # two paths: the same
    (frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"), True),                 # a window too large
    (frame(8, 0, 0, b"\0\0\0\0"), True),                             # a window that does not grow
    (frame(8, 0, 0, b"\x7f\xff\xff\xff"), True),                     # or too far
    (frame(8, 0, 1, b"\x7f\xff\xff\xff"), False),                    # of a stream that has ended
    (frame(3, 0, 99, b"\0\0\0\0"), True),                            # RST of nothing
    (frame(6, 0, 0, b"short"), True),                                # half a PING
    (frame(99, 0, 0, b"?"), False),                                  # an unknown kind
    (b"", False),                                                    # an empty record
])
def test_http2_against_the_rules(rpcs, clients, text, ends):
    client, other = clients(), clients()
    assert client.request("GET", "/machine/whoami")[0] == 200
    client.say("text " + text.hex())
    if ends:
        client.hear("closed")
    elif ends is False:
        client.say("ping")
        wait_until(lambda: client.facts()["pongs"] == 1, "the session goes on")
    assert other.request("GET", "/machine/whoami")[0] == 200


def test_noise_inside(rpcs, clients):
    """Frames with anything in them, in a session that is otherwise right."""
    rng = random.Random(11)
    before = rpcs.idle_fds()
    for _ in range(40):
        client = clients()
        client.begin("POST", "/machine/map", 3)
        for _ in range(rng.randrange(1, 20)):
            kind, stream = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), rng.choice([0, 1, 3, 5, 101])
            text = frame(kind, rng.randrange(64), stream, rng.randbytes(rng.choice([0, 1, 4, 5, 6, 8, 30])))
            client.say("text " + (text if rng.randrange(4) else rng.randbytes(30)).hex())
        client.close()
    facts(rpcs, held=0)
    wait_until(lambda: rpcs.fds() == before, "the connections are closed")
    assert clients().request("GET", "/machine/whoami")[0] == 200


HANDSHAKE = base64.b64encode(bytes([0, 145, 1, 0, 96]) + bytes(range(96))).decode()


@pytest.mark.parametrize("method, fields, status, words", [
    ("POST", {}, 400, "missing next protocol"),
    ("POST", {"Upgrade": "other"}, 400, "missing next protocol"),
    ("POST", {"Upgrade": "tailscale-control-protocol"}, 400, "X-Tailscale-Handshake is missing"),
    ("POST", {"Upgrade": "tailscale-control-protocol", "X-Tailscale-Handshake": HANDSHAKE[:-4]}, 400, "no Noise initiation"),
    ("POST", {"Upgrade": "tailscale-control-protocol", "X-Tailscale-Handshake": HANDSHAKE + "AAAA"}, 400, "no Noise"),
    ("POST", {"Upgrade": "tailscale-control-protocol", "X-Tailscale-Handshake": "-" * 136}, 400, "no Noise initiation"),
    ("GET", {"Upgrade": "tailscale-control-protocol", "X-Tailscale-Handshake": HANDSHAKE}, 400, "missing next protocol"),
    ("GET", {"Upgrade": "websocket"}, 400, "WebSocket"),
    ("PUT", {"Upgrade": "tailscale-control-protocol"}, 405, ""),
])
def test_bad_upgrades(rpcs, method, fields, status, words):
    answer = ask(rpcs, "/ts2021", method, headers={"Connection": "upgrade", **fields})
    assert answer.status == status and words in answer.body.decode()


def test_no_initiation_gets_a_noise_error(rpcs):
    with connect(rpcs) as s:
        s.sendall(b"POST /ts2021 HTTP/1.1\r\nUpgrade: Tailscale-Control-Protocol\r\nConnection: upgrade\r\n"
                  b"X-Tailscale-Handshake: " + HANDSHAKE.encode() + b"\r\n\r\n")
        head = read_head(s)
        assert b" 101 " in head and b"\r\nUpgrade: tailscale-control-protocol\r\n" in head
        kind, length = read_exactly(s, 1), int.from_bytes(read_exactly(s, 2), "big")
        assert kind == b"\x03" and b"handshake" in read_exactly(s, length) and s.recv(1) == b""


def test_pages(rpcs):
    assert json.loads(ask(rpcs, "/health").body) == {"status": "pass"}
    assert json.loads(ask(rpcs, "/version").body)["version"]
    assert b"Disallow: /" in ask(rpcs, "/robots.txt").body
    assert b"http://a.test:8080" in ask(rpcs, "/apple").body and b"http://a.test:8080" in ask(rpcs, "/windows").body
    for platform, domain in (("ios", "ios"), ("macos-app-store", "macos"), ("macos-standalone", "macsys")):
        answer = ask(rpcs, f"/apple/{platform}")
        profile = plistlib.loads(answer.body)
        payload = profile["PayloadContent"][0]
        assert payload["ControlURL"] == "http://a.test:8080" and payload["PayloadType"] == f"io.tailscale.ipn.{domain}"
        assert {uuid.UUID(one["PayloadUUID"]).version for one in (profile, payload)} == {8}
        assert answer.headers["Content-Type"].startswith("application/x-apple-aspen-config")
        assert ask(rpcs, f"/apple/{platform}").body == answer.body
    assert ask(rpcs, "/apple/windows").status == 404
    assert ask(rpcs, "/").status == 200 and ask(rpcs, "/key").status == 400
    portal = ask(rpcs, "/generate_204", headers={"X-Tailscale-Challenge": "ts_a.test"})
    assert portal.status == 204 and portal.headers["X-Tailscale-Response"] == "response ts_a.test"
    assert "X-Tailscale-Response" not in ask(rpcs, "/generate_204", headers={"X-Tailscale-Challenge": "a b"}).headers


def test_the_key_stays(rpcs):
    key, path = server_key(rpcs), rpcs.state / "noise_private.key"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert re.fullmatch(r"privkey:[0-9a-f]{64}\n", path.read_text())
    rpcs.stop()
    rpcs.start()
    assert server_key(rpcs) == key
    rpcs.stop()
    path.write_text("privkey:12\n")
    assert "is not a Noise key" in rpcs.fails()
    path.write_text("privkey:" + "11" * 32 + "\n")
    path.chmod(0o644)
    assert "chmod" in rpcs.fails()


# ---- WebSocket, by hand ----

def websocket_frame(payload, opcode=2, masked=True, fin=True):
    mask = os.urandom(4) if masked else b""
    head = bytes([(0x80 if fin else 0) | opcode])
    flag = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    else:
        head += bytes([flag | 126]) + len(payload).to_bytes(2, "big")
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else head + payload


def read_frame(s):
    first, second = read_exactly(s, 2)
    length = second & 0x7f
    if length == 126:
        length = int.from_bytes(read_exactly(s, 2), "big")
    elif length == 127:
        length = int.from_bytes(read_exactly(s, 8), "big")
    assert not second & 0x80
    return first & 0xf, read_exactly(s, length)


class WebsocketBridge:
    """Between ts_tool, which speaks the bare upgrade, and the server's WebSocket."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = queue.Queue()
        self.server = None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        client, _ = self.listener.accept()
        head = read_head(client).decode()
        handshake = re.search(r"X-Tailscale-Handshake: (\S+)", head)[1]
        query = handshake.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        self.server = connect(self.daemon)
        self.server.sendall((f"GET /ts2021?X-Tailscale-Handshake={query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil\r\n"
                             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: tailscale-control-protocol\r\n\r\n").encode())
        self.seen.put(read_head(self.server))
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        threading.Thread(target=self.up, args=(client,), daemon=True).start()
        try:
            while True:
                opcode, payload = read_frame(self.server)
                if opcode == 2:
                    client.sendall(payload)
                else:
                    self.seen.put((opcode, payload))
        except (AssertionError, OSError):
            client.shutdown(socket.SHUT_RDWR)

    def up(self, client):
        try:
            while piece := client.recv(1000):
                middle = len(piece) // 2
                self.server.sendall(websocket_frame(piece[:middle], fin=False) + websocket_frame(b"hello", 9) +
                                    websocket_frame(piece[middle:], 0))
        except OSError:
            pass


def test_websocket(rpcs):
    bridge = WebsocketBridge(rpcs)
    client = Client(bridge, key=server_key(rpcs))
    try:
        assert client.request("GET", "/machine/whoami")[0] == 200
        head = bridge.seen.get(timeout=10)
        assert b" 101 " in head and b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert b"Sec-WebSocket-Protocol: tailscale-control-protocol" in head
        assert bridge.seen.get(timeout=10) == (10, b"hello")
        status, end = client.request("POST", "/machine/echo", 300_000)
        assert (status, end["bytes"]) == (200, 300_000)
        bridge.server.sendall(websocket_frame(b"\x03\xe8", 8))
        client.hear("closed")
    finally:
        client.close()
