# SPDX-License-Identifier: BSD-3-Clause
"""A DERP client in a few lines, which also says what no client should. libsodium makes its boxes."""

import ctypes
import ctypes.util
import json
import os
import socket
import struct

SERVER_KEY, CLIENT_INFO, SERVER_INFO, SEND_PACKET, RECV_PACKET, KEEP_ALIVE, NOTE_PREFERRED, PEER_GONE = range(1, 9)
PEER_PRESENT, FORWARD_PACKET, WATCH_CONNS, CLOSE_PEER, PING, PONG = 9, 10, 16, 17, 18, 19
MAGIC = "DERP🔑".encode()
REQUEST = b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
INFO = {"version": 2, "CanAckPings": True}

_sodium = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")


def new_key():
    """(public, secret)"""
    public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    assert _sodium.crypto_box_keypair(public, secret) == 0
    return public.raw, secret.raw


def seal(text, to, secret):
    nonce, box = os.urandom(24), ctypes.create_string_buffer(len(text) + 16)
    assert _sodium.crypto_box_easy(box, text, ctypes.c_ulonglong(len(text)), nonce, to, secret) == 0
    return nonce + box.raw


def unseal(sealed, by, secret):
    """The text; None: it is by somebody else, or for somebody else."""
    text = ctypes.create_string_buffer(max(len(sealed) - 40, 0))
    rc = _sodium.crypto_box_open_easy(text, sealed[24:], ctypes.c_ulonglong(len(sealed) - 24), sealed[:24], by, secret)
    return text.raw if rc == 0 else None


def frame(kind, payload=b""):
    return struct.pack(">BI", kind, len(payload)) + payload


def client_info(relay, key, info=INFO):
    """`info`: an object, or the bytes in the box."""
    text = info if isinstance(info, bytes) else json.dumps(info).encode()
    return frame(CLIENT_INFO, key[0] + seal(text, relay, key[1]))


class DerpClient:
    def __init__(self, sock, key=None):
        """On a connected socket, plain or TLS: as far as the relay's key."""
        self.sock, self.key = sock, key or new_key()
        self.input = b""
        sock.sendall(REQUEST)
        while b"\r\n\r\n" not in self.input:
            self._more()
        head, self.input = self.input.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head
        kind, payload = self.read()
        assert kind == SERVER_KEY and payload[:8] == MAGIC
        self.relay = payload[8:40]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _more(self):
        piece = self.sock.recv(1 << 16)
        if not piece:
            raise ConnectionResetError("the relay closed")
        self.input += piece

    def read(self):
        """The next frame: (type, payload)."""
        while len(self.input) < 5 or len(self.input) < 5 + struct.unpack(">I", self.input[1:5])[0]:
            self._more()
        end = 5 + struct.unpack(">I", self.input[1:5])[0]
        kind, payload, self.input = self.input[0], self.input[5:end], self.input[end:]
        return kind, payload

    def expect(self, kind):
        """The payload of the next frame of that type."""
        while True:
            got, payload = self.read()
            if got == kind:
                return payload

    def send(self, kind, payload=b""):
        self.sock.sendall(frame(kind, payload))

    def join(self, info=INFO):
        self.sock.sendall(client_info(self.relay, self.key, info))
        kind, payload = self.read()
        assert kind == SERVER_INFO
        assert json.loads(unseal(payload, self.relay, self.key[1]))["version"] == 2
        return self

    def packet(self, to, data):
        self.send(SEND_PACKET, to.key[0] + data)

    def ping(self):
        """Until the relay has read all that was sent."""
        token = os.urandom(8)
        self.send(PING, token)
        while self.expect(PONG) != token:
            pass

    def is_closed(self):
        """Waits, as long as the socket does, until the relay has closed."""
        try:
            while True:
                self.read()
        except socket.timeout:
            return False
        except OSError:
            return True


def carries(a, b):
    """Whether the relay carries a packet each way."""
    for one, other in ((a, b), (b, a)):
        data = os.urandom(100)
        one.packet(other, data)
        if other.expect(RECV_PACKET) != one.key[0] + data:
            return False
    return True
