#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes noise_vectors.txt: whole WireGuard handshakes with fixed keys, computed from the paper with
Python's own BLAKE2s and the `cryptography` package, sharing no code with the project.

    make_noise_vectors.py > noise_vectors.txt
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def seeded(label):
    return hashlib.sha256(b"tailplane noise vectors: " + label.encode()).digest()


def hash_(data):
    return hashlib.blake2s(data).digest()


def mac(key, data):
    return hashlib.blake2s(data, digest_size=16, key=key).digest()


def kdf(n, key, data):
    def hmac_(k, d):
        return hmac.new(k, d, hashlib.blake2s).digest()

    t0 = hmac_(key, data)
    outputs, last = [], b""
    for i in range(1, n + 1):
        last = hmac_(t0, last + bytes([i]))
        outputs.append(last)
    return outputs


def public(private):
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(private, public_):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public_))


def aead(key, text, aad):
    return ChaCha20Poly1305(key).encrypt(bytes(12), text, aad)


def hchacha20(key, nonce16):
    def quarter(s, a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = ((v << r) | (v >> (32 - r))) & 0xFFFFFFFF

    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce16))
    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(s, *q)
        for q in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *q)
    return struct.pack("<8I", *s[0:4], *s[12:16])


def xaead(key, nonce, text, aad):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], text, aad)


def tai64n(unix_ns):
    ns = unix_ns % 10**9
    return struct.pack(">QI", 0x400000000000000A + unix_ns // 10**9, ns - ns % 2**24)


def with_macs(message, receiver_public, cookie):
    message += mac(hash_(b"mac1----" + receiver_public), message)
    return message + (mac(cookie, message) if cookie else bytes(16))


def handshake(name, psk, unix_ns, cookie):
    out = {"name": name, "unix_ns": str(unix_ns), "psk": psk}
    si, sr = seeded(name + " static i"), seeded(name + " static r")
    ei, er = seeded(name + " ephemeral i"), seeded(name + " ephemeral r")
    index_i, index_r = seeded(name + " index i")[:4], seeded(name + " index r")[:4]
    si_pub, sr_pub, ei_pub, er_pub = public(si), public(sr), public(ei), public(er)

    ck = hash_(CONSTRUCTION)
    h = hash_(ck + IDENTIFIER)
    h = hash_(h + sr_pub)

    (ck,) = kdf(1, ck, ei_pub)
    h = hash_(h + ei_pub)
    ck, key = kdf(2, ck, dh(ei, sr_pub))
    static = aead(key, si_pub, h)
    h = hash_(h + static)
    ck, key = kdf(2, ck, dh(si, sr_pub))
    timestamp = aead(key, tai64n(unix_ns), h)
    h = hash_(h + timestamp)
    initiation = with_macs(b"\1\0\0\0" + index_i + ei_pub + static + timestamp, sr_pub, cookie)

    (ck,) = kdf(1, ck, er_pub)
    h = hash_(h + er_pub)
    (ck,) = kdf(1, ck, dh(er, ei_pub))
    (ck,) = kdf(1, ck, dh(er, si_pub))
    ck, tau, key = kdf(3, ck, psk)
    h = hash_(h + tau)
    nothing = aead(key, b"", h)
    response = with_macs(b"\2\0\0\0" + index_r + index_i + er_pub + nothing, si_pub, cookie)
    key_i, key_r = kdf(2, ck, b"")

    nonce, granted = seeded(name + " cookie nonce")[:24], seeded(name + " cookie")[:16]
    reply = xaead(hash_(b"cookie--" + sr_pub), nonce, granted, initiation[116:132])
    out.update(
        static_i=si, static_r=sr, ephemeral_i=ei, ephemeral_r=er, cookie_in=cookie or b"",
        timestamp=tai64n(unix_ns), initiation=initiation, response=response,
        key_i=key_i, key_r=key_r, cookie_out=granted, cookie_reply=b"\3\0\0\0" + index_i + nonce + reply,
    )
    return out


if __name__ == "__main__":
    print("# Made by make_noise_vectors.py; i: initiator, r: responder.")
    for vector in (
        handshake("plain", bytes(32), 1_700_000_000_123_456_789, None),
        handshake("psk", seeded("psk"), 1_800_000_000_999_999_999, None),
        handshake("psk and cookie", seeded("psk 2"), 1_900_000_000_000_000_000, seeded("cookie in")[:16]),
    ):
        for field, value in vector.items():
            print(field, value if isinstance(value, str) else value.hex() or "-")
