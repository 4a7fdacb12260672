# SPDX-License-Identifier: BSD-3-Clause
"""What no client of the relay should do, and two clients beside it that must not feel it."""

import contextlib
import os
import random
import select
import socket
import ssl
import struct
import threading
import time

import pytest

from daemon import BUILD
from derp import (CLIENT_INFO, CLOSE_PEER, FORWARD_PACKET, INFO, NOTE_PREFERRED, PING, PONG, RECV_PACKET, REQUEST, SEND_PACKET,
                  WATCH_CONNS, DerpClient, carries, client_info, frame, new_key, seal)
from test_front import metric
from test_http import free_port
from test_tls import context, make_certificate
from wait import wait_until


def serve(daemon, **core):
    if not (BUILD / "derp/derp.so").exists():
        pytest.skip("the plugin derp is not built")
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "derp")
    daemon.port = free_port()
    http = {"listen_addr": [f"127.0.0.1:{daemon.port}"], **core.pop("http", {})}
    daemon.configure("derp", core={"http": http, "io_loops": 2, **core}, derp={"stun_listen_addr": ""})
    daemon.start()
    wait_until(lambda: connect(daemon).sock.close() is None, "the relay takes clients")
    return daemon


@pytest.fixture
def relay(daemon):
    return serve(daemon)


def dial(daemon, timeout=20):
    return socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout)


def connect(daemon, key=None, **how):
    return DerpClient(dial(daemon, **how), key)


@pytest.fixture
def two(relay):
    """Two who get along, before and after."""
    with connect(relay).join() as a, connect(relay).join() as b:
        assert carries(a, b)
        yield a, b
        assert carries(a, b), "the others feel it"


def other_key_info(client):
    """A box of mine, and the key of somebody else before it."""
    info = client_info(client.relay, client.key)
    return info[:5] + new_key()[0] + info[37:]


GREETINGS = {
    "another frame": lambda c: frame(SEND_PACKET, bytes(100)),
    "an unknown frame": lambda c: frame(0xEE, bytes(100)),
    "a ping": lambda c: frame(PING, bytes(8)),
    "4 GiB": lambda c: struct.pack(">BI", CLIENT_INFO, 0xFFFFFFFF) + bytes(1000),
    "more than 256 KiB": lambda c: struct.pack(">BI", CLIENT_INFO, (256 << 10) + 1) + bytes(1000),
    "too short": lambda c: frame(CLIENT_INFO, bytes(55)),
    "nothing in it": lambda c: frame(CLIENT_INFO),
    "a key of zeroes": lambda c: frame(CLIENT_INFO, bytes(32) + seal(b"{}", *c.key[::-1])),
    "all zeroes": lambda c: frame(CLIENT_INFO, bytes(200)),
    "no box": lambda c: frame(CLIENT_INFO, c.key[0] + os.urandom(100)),
    "an empty box": lambda c: client_info(c.relay, c.key, b""),
    "a box for another relay": lambda c: client_info(new_key()[0], c.key),
    "another's key": other_key_info,
    "no JSON": lambda c: client_info(c.relay, c.key, b"{" * 1000),
    "JSON of the wrong kind": lambda c: client_info(c.relay, c.key, b"[2]"),
    "a mesh key that is none": lambda c: client_info(c.relay, c.key, {**INFO, "meshKey": "ab"}),
    "a mesh key of no digits": lambda c: client_info(c.relay, c.key, {**INFO, "meshKey": "x" * 64}),
}


@pytest.mark.parametrize("greeting", GREETINGS)
def test_greetings_that_are_none(relay, two, greeting):
    with connect(relay) as c:
        c.sock.sendall(GREETINGS[greeting](c))
        assert c.is_closed()


FRAMES = {
    "a packet to nobody's key": frame(SEND_PACKET, bytes(31)),
    "a packet of 64 KiB and one": frame(SEND_PACKET, bytes(32 + 65537)),
    "a packet of 4 GiB": struct.pack(">BI", SEND_PACKET, 0xFFFFFFFF) + bytes(1000),
    "an unknown frame of 1 MiB and one": struct.pack(">BI", 0xEE, (1 << 20) + 1) + bytes(1000),
    "a ping of 7 bytes": frame(PING, bytes(7)),
    "a ping of 1001 bytes": frame(PING, bytes(1001)),
    "no preference": frame(NOTE_PREFERRED),
    "two preferences": frame(NOTE_PREFERRED, b"\x01\x00"),
    "watching": frame(WATCH_CONNS),
    "forwarding": frame(FORWARD_PACKET, bytes(100)),
    "closing": frame(CLOSE_PEER, bytes(32)),
}


@pytest.mark.parametrize("what", FRAMES)
def test_frames_that_end_the_connection(relay, two, what):
    with connect(relay).join() as c:
        c.sock.sendall(FRAMES[what])
        assert c.is_closed()


def test_unknown_frames_are_skipped(relay, two):
    with connect(relay).join() as c:
        for kind, size in ((0xEE, 0), (0xEE, 1), (0x7F, 70000), (0xFF, 1 << 20), (0x13, 8), (CLIENT_INFO, 60), (RECV_PACKET, 100)):
            c.send(kind, bytes(size))
            c.ping()
        assert carries(c, two[0])


def test_frames_in_pieces(relay, two):
    with connect(relay) as c:
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = client_info(c.relay, c.key) + frame(0xEE, bytes(50)) + frame(SEND_PACKET, two[0].key[0] + b"in pieces")
        for at in range(len(said)):
            c.sock.sendall(said[at : at + 1])
        assert two[0].expect(RECV_PACKET) == c.key[0] + b"in pieces"


def test_packets_to_the_key_of_zeroes(relay, two):
    with connect(relay).join() as c:
        c.send(SEND_PACKET, bytes(32) + "TS💬".encode() + bytes(100))
        c.ping()
        assert carries(c, two[0])


def test_who_claims_the_key_of_another_gets_nothing_of_his(relay, two):
    a, b = two
    with connect(relay) as thief:
        info = client_info(thief.relay, thief.key)
        thief.sock.sendall(info[:5] + b.key[0] + info[37:])
        a.packet(b, b"for b alone")
        assert b.expect(RECV_PACKET) == a.key[0] + b"for b alone"
        assert thief.is_closed() and b"for b alone" not in thief.input


def test_half_closed(relay, two):
    """Whoever says no more has left; what was on its way to the relay still counts."""
    with connect(relay) as early, connect(relay).join() as c:
        early.sock.shutdown(socket.SHUT_WR)
        assert early.is_closed()
        c.packet(two[0], b"last words")
        c.sock.shutdown(socket.SHUT_WR)
        assert two[0].expect(RECV_PACKET) == c.key[0] + b"last words"
        assert c.is_closed()


def test_slow_handshakes(relay, two):
    """A byte now and then keeps nobody."""
    silent, slow = connect(relay, timeout=40), connect(relay, timeout=40)
    said = client_info(slow.relay, slow.key)
    start = time.monotonic()
    try:
        while time.monotonic() - start < 30:
            slow.sock.sendall(said[:1])
            said = said[1:]
            if select.select([slow.sock], [], [], 0.5)[0]:
                break
    except OSError:
        pass
    assert slow.is_closed() and silent.is_closed()
    assert time.monotonic() - start < 30
    slow.sock.close()
    silent.sock.close()


def test_a_reader_that_stalls(relay, two):
    """It is closed, its sender lives, and the two others go on at any time."""
    a, b = two
    with connect(relay).join() as sender, connect(relay).join() as stalls:
        stalls.packet(sender, b"I was here")
        sender.expect(RECV_PACKET)
        sender.sock.settimeout(0.01)
        flood, closed = frame(SEND_PACKET, stalls.key[0] + bytes(60000)), False
        deadline = time.monotonic() + 30
        while not closed and time.monotonic() < deadline:
            for _ in range(20):
                sender.sock.settimeout(20)
                sender.sock.sendall(flood)
            assert carries(a, b)
            sender.sock.settimeout(0.01)
            try:
                closed = sender.read() == (8, stalls.key[0] + b"\x00")
            except socket.timeout:
                pass
        assert closed, "the sender is not told"
        sender.sock.settimeout(20)
        sender.ping()


@pytest.fixture
def secure(daemon):
    daemon.certificate = make_certificate(daemon.folder, "relay", "relay.test")
    return serve_tls(daemon)


def serve_tls(daemon):
    if not (BUILD / "derp/derp.so").exists():
        pytest.skip("the plugin derp is not built")
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "derp")
    daemon.port = free_port()
    daemon.configure("derp", core={"io_loops": 2, "http": {
        "listen_addr": [f"127.0.0.1:{daemon.port}"], "tls_cert_path": daemon.certificate[0],
        "tls_key_path": daemon.certificate[1], "plain_listen_addr": [f"127.0.0.1:{free_port()}"]}},
        derp={"stun_listen_addr": ""})
    daemon.start()
    wait_until(lambda: connect_tls(daemon).sock.close() is None, "the relay takes clients")
    return daemon


def connect_tls(daemon, **how):
    return DerpClient(context(daemon.certificate).wrap_socket(dial(daemon, **how), server_hostname="relay.test"))


@pytest.mark.parametrize("joined", [False, True])
def test_tls_garbage(secure, joined):
    garbage = [b"\x17\x03\x03\x00\x20" + bytes(32), b"\x17\x03\x03\xff\xff" + bytes(70000), b"\x15\x03\x03\x00\x02\x02\x14",
               b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", os.urandom(3000), b"GET / HTTP/1.1\r\n\r\n"]
    with connect_tls(secure).join() as a, connect_tls(secure).join() as b:
        for data in garbage:
            c = connect_tls(secure)
            if joined:
                c.join()
            raw = socket.socket(fileno=os.dup(c.sock.fileno()))
            raw.settimeout(20)
            raw.sendall(data)
            try:
                while raw.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass
            raw.close()
            c.sock.close()
        assert carries(a, b)


SERVER_KEY_FRAME = 5 + 8 + 32


def finish_handshake(s, tls, incoming, outgoing):
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
            incoming.write(s.recv(1 << 16))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("late", [0, 10])
def test_a_client_that_says_all_at_once(secure, late, version):
    """The end of TLS's handshake, the request, and frames behind it, in one segment, but for the last few bytes."""
    with connect_tls(secure) as other:
        relay = other.relay
    key, token = new_key(), os.urandom(8)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ctx = context(secure.certificate)
    ctx.maximum_version = version
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname="relay.test")
    with dial(secure) as s:
        finish_handshake(s, tls, incoming, outgoing)
        for part in (REQUEST[:-2] + b"Derp-Fast-Start: 1\r\n\r\n", client_info(relay, key), frame(PING, token)):
            tls.write(part)
        said = outgoing.read()
        s.sendall(said[:len(said) - late])
        heard = b""
        while not heard.endswith(frame(PONG, token)):
            incoming.write(s.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                while piece := tls.read(1 << 16):
                    heard += piece
            if late and len(heard) > SERVER_KEY_FRAME:  # server info: the relay has read all there is
                s.sendall(said[-late:])
                late = 0


def test_tls_half_closed(secure):
    with connect_tls(secure).join() as a, connect_tls(secure).join() as c:
        raw = socket.socket(fileno=os.dup(c.sock.fileno()))  # without an alert
        raw.shutdown(socket.SHUT_WR)
        raw.close()
        assert c.is_closed()
        a.ping()


def abort_some(daemon, n, rng):
    """Connections that end at any point, gently or not."""
    for _ in range(n):
        with dial(daemon) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", rng.randrange(2), 0))
            point = rng.randrange(5)
            if point == 0:
                s.sendall(REQUEST[: rng.randrange(len(REQUEST))])
            elif point == 1:
                s.sendall(REQUEST + os.urandom(rng.randrange(100)))
            elif point > 1:
                c = DerpClient(s)
                if point == 2:
                    s.sendall(client_info(c.relay, c.key)[: rng.randrange(100)])
                elif point == 3:
                    c.join()
                    s.sendall(frame(SEND_PACKET, new_key()[0] + bytes(1000))[: rng.randrange(1000)])
                else:
                    s.sendall(client_info(c.relay, c.key))


def abort_many(daemon, n):
    threads = [threading.Thread(target=abort_some, args=(daemon, n // 4, random.Random(i))) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


WEBSOCKET = (b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: derp\r\n\r\n")
MASK = bytes(4)  # leaves the bytes as they are

MESSAGES = {
    "without a mask": b"\x82\x05hello",
    "with a reserved bit": b"\xc2\x80" + MASK,
    "of text": b"\x81\x85" + MASK + b"hello",
    "of an unknown kind": b"\x83\x80" + MASK,
    "of 2^64 bytes": b"\x82\xff" + b"\xff" * 8 + MASK + bytes(1000),
    "a ping that is too long": b"\x89\xfe\x00\x80" + MASK + bytes(128),
    "a ping in pieces": b"\x09\x80" + MASK,
    "with a packet before the greeting": b"\x82\xe9" + MASK + frame(SEND_PACKET, bytes(100)),
    "with half a greeting, and goodbye": b"\x82\x85" + MASK + struct.pack(">BI", CLIENT_INFO, 100) + b"\x88\x80" + MASK,
}


@pytest.mark.parametrize("what", MESSAGES)
def test_websocket_messages_that_are_none(relay, two, what):
    with dial(relay) as s:
        s.sendall(WEBSOCKET)
        said = b""
        while b"DERP" + "🔑".encode() not in said.partition(b"\r\n\r\n")[2]:
            said += s.recv(4096)
        assert said.startswith(b"HTTP/1.1 101") and b"sec-websocket-protocol: derp" in said.lower()
        s.sendall(MESSAGES[what])
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass


def idle_fds(relay):
    """Descriptors when no client is there; the relay's own look at itself may be."""
    wait_until(lambda: metric(relay, "tailplane_derp_connections") == 0, "all clients are gone", timeout=30)
    return relay.idle_fds()


def test_connections_that_end_anywhere_leave_nothing(relay):
    """TAILPLANE_ABORTS=100000 takes a minute."""
    before = idle_fds(relay)
    times = int(os.environ.get("TAILPLANE_ABORTS", "400"))
    abort_many(relay, times // 2)
    wait_until(lambda: idle_fds(relay) == before, "the connections are closed", timeout=30)
    warm = relay.memory()
    abort_many(relay, times // 2)
    wait_until(lambda: idle_fds(relay) == before, "the connections are closed", timeout=30)
    if "san" not in str(BUILD):  # what is freed there stays for a while, to be told from what is used
        assert relay.memory() < warm + (2 << 20)
    with connect(relay).join() as a, connect(relay).join() as b:
        assert carries(a, b)
