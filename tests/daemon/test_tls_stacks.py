# SPDX-License-Identifier: BSD-3-Clause
"""TLS libraries that nobody here wrote as clients of the relay, and hellos that no library sends."""

import os
import select
import shutil
import socket
import struct
import subprocess

import pytest

from derp import PING, PONG, DerpClient, carries
from test_derp_hostile import connect_tls, dial, serve_tls
from test_tls import make_certificate, subject

NAME = "relay.test"
PATIENCE = 20


@pytest.fixture
def relay(daemon):
    daemon.certificate = make_certificate(daemon.folder, "relay", NAME)
    return serve_tls(daemon)


# --- libraries ---


class Program:
    """Carries its standard input and output in TLS; used as a socket is."""

    def __init__(self, *command):
        if not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed")
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def sendall(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def recv(self, room):
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise socket.timeout
        return os.read(self.process.stdout.fileno(), room)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def by_openssl(relay, *options):
    return Program("openssl", "s_client", "-quiet", "-verify_quiet", "-verify_return_error", "-CAfile", relay.certificate[0],
                   "-servername", NAME, *options, "-connect", f"127.0.0.1:{relay.port}")


def by_gnutls(relay, *options):
    return Program("gnutls-cli", "--logfile", os.devnull, f"--x509cafile={relay.certificate[0]}", f"--sni-hostname={NAME}",
                   f"--verify-hostname={NAME}", *options, "-p", relay.port, "127.0.0.1")


def gnutls_only(version, cipher, group):
    return f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}:-CIPHER-ALL:+{cipher}:-GROUP-ALL:+GROUP-{group}"


CLIENTS = {
    "OpenSSL": (by_openssl,),
    "OpenSSL, ChaCha20, P-256": (by_openssl, "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-groups", "P-256"),
    "OpenSSL, AES-256, P-384": (by_openssl, "-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "P-384"),
    "OpenSSL, TLS 1.2": (by_openssl, "-tls1_2", "-groups", "X25519:P-256"),
    "GnuTLS": (by_gnutls,),
    "GnuTLS, AES-128, X25519": (by_gnutls, gnutls_only("1.3", "AES-128-GCM", "X25519")),
    "GnuTLS, ChaCha20, P-256": (by_gnutls, gnutls_only("1.3", "CHACHA20-POLY1305", "SECP256R1")),
    "GnuTLS, TLS 1.2": (by_gnutls, gnutls_only("1.2", "AES-128-GCM", "X25519") + ":+GROUP-SECP256R1"),
}


@pytest.mark.parametrize("who", CLIENTS)
def test_a_client(relay, who):
    program, *options = CLIENTS[who]
    with DerpClient(program(relay, *options)).join() as a, connect_tls(relay).join() as b:
        assert carries(a, b) and carries(b, a)
        a.packet(b, bytes(60000))  # several records
        assert len(b.read()[1]) == 32 + 60000


def test_keys_change(relay):
    """GnuTLS takes new keys and asks for the relay's (`^rekey^`, on a line of its own); packets go on both ways."""
    sock = by_gnutls(relay, gnutls_only("1.3", "AES-128-GCM", "X25519"), "--inline-commands")
    with DerpClient(sock).join() as a, connect_tls(relay).join() as b:
        for _ in range(3):
            a.send(PING, b"the end\n")
            assert a.expect(PONG) == b"the end\n"
            sock.sendall(b"^rekey^\n")
            a.ping()
            assert carries(b, a) and carries(a, b)


# --- hellos ---

TLS13, X25519, P256, FFDHE = 0x0304, 29, 23, 0x0100
BASE_POINT = (9).to_bytes(32, "little")
HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
SMALL_ORDER = {  # RFC 7748, 6.1: any secret with them is zero
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "p - 1": (2**255 - 20).to_bytes(32, "little"),
    "p": (2**255 - 19).to_bytes(32, "little"),
    "p + 1, top bit": (2**255 - 18 + 2**255).to_bytes(32, "little"),
}


def with_len(data, size):
    return len(data).to_bytes(size, "big") + data


def numbers(*values):
    return b"".join(struct.pack(">H", value) for value in values)


def client_hello(groups, shares, suites=(0x1301,), more=b""):
    """A record with a ClientHello of TLS 1.3; `shares`: pairs of group and key."""
    keys = b"".join(numbers(group) + with_len(key, 2) for group, key in shares)
    extensions = {0: with_len(b"\x00" + with_len(NAME.encode(), 2), 2), 10: with_len(numbers(*groups), 2),
                  13: with_len(numbers(0x0403, 0x0804), 2), 43: with_len(numbers(TLS13), 1), 51: with_len(keys, 2)}
    text = b"".join(numbers(kind) + with_len(body, 2) for kind, body in extensions.items()) + more
    body = b"\x03\x03" + os.urandom(32) + with_len(bytes(32), 1) + with_len(numbers(*suites), 2) + b"\x01\x00" + with_len(text, 2)
    return b"\x16\x03\x01" + with_len(b"\x01" + with_len(body, 3), 2)


def read_record(sock):
    """(type, bytes)"""
    head = exactly(sock, 5)
    return head[0], exactly(sock, int.from_bytes(head[3:], "big"))


def exactly(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, "it closed"
        data += piece
    return data


ILLEGAL_PARAMETER, DECODE_ERROR = 47, 50


def answer_to(relay, *hellos):
    """The messages of servers (type, bytes) that these hellos get, each one."""
    with dial(relay) as sock:
        for hello in hellos:
            sock.sendall(hello)
            kind, body = read_record(sock)
            while kind == 20:
                kind, body = read_record(sock)
            yield kind, body


def alert_to(relay, *hellos):
    """The fatal alert that the last of these hellos gets."""
    *_, (kind, body) = answer_to(relay, *hellos)
    assert (kind, body[0]) == (21, 2), (kind, body[:40])
    return body[1]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_shares_of_small_order(relay, point):
    """RFC 8446, 7.4.2: refused; and nothing was derived from it."""
    assert alert_to(relay, client_hello([X25519], [(X25519, SMALL_ORDER[point])])) == ILLEGAL_PARAMETER


SHARES = {
    "empty": [(X25519, b"")],
    "31 bytes": [(X25519, bytes(31))],
    "33 bytes": [(X25519, b"\x09" + bytes(32))],
    "not on P-256": [(P256, b"\x04" + b"\x01" * 64)],
    "P-256's infinity": [(P256, b"\x00")],
    "P-256, half a point": [(P256, b"\x04" + b"\x01" * 32)],
    "a group that was not offered": [(FFDHE, b"\x01" * 256)],
}


@pytest.mark.parametrize("what", SHARES)
def test_bad_shares(relay, what):
    assert alert_to(relay, client_hello([X25519, P256], SHARES[what])) in (ILLEGAL_PARAMETER, DECODE_ERROR)
    assert subject(relay, NAME) == "relay"


def test_a_good_share(relay):
    """What is refused above is refused for its share alone."""
    (kind, body), = answer_to(relay, client_hello([X25519, P256], [(X25519, BASE_POINT)]))
    assert (kind, body[0]) == (22, 2) and HELLO_RETRY not in body


def test_a_share_is_asked_for(relay):
    """A client may send none, and is told of which group one is wanted; once."""
    none, good = client_hello([X25519, P256], []), client_hello([X25519, P256], [(X25519, BASE_POINT)])
    (kind, body), (then, answer) = answer_to(relay, none, good)
    assert kind == 22 and HELLO_RETRY in body and numbers(51, 2, X25519) in body
    assert (then, answer[0]) == (22, 2) and HELLO_RETRY not in answer
    assert alert_to(relay, none, none) == ILLEGAL_PARAMETER
    assert alert_to(relay, none, client_hello([X25519, P256], [(P256, b"\x04" + b"\x01" * 64)])) == ILLEGAL_PARAMETER
    assert alert_to(relay, none, client_hello([X25519, P256], [(X25519, bytes(32))])) == ILLEGAL_PARAMETER
