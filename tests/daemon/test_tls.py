# SPDX-License-Identifier: BSD-3-Clause
"""The front door with TLS: names and certificates, what goes beside it, what is half open."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from daemon import BUILD, CLI
from test_front import aborts_leave_nothing, ask, configure, exchange_rest, metric, read_exactly, read_head, serve
from test_http import free_port
from wait import wait_until


def make_certificate(folder, name, *names):
    """A pair of files; self-signed."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    alt = ",".join(f"DNS:{n}" for n in names)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-keyout", key, "-out", cert, "-subj", f"/CN={name}", "-addext", f"subjectAltName={alt}"],
                   check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


@pytest.fixture
def secure(daemon):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    daemon.one = make_certificate(daemon.folder, "one", "one.test", "*.wild.test")
    daemon.two = make_certificate(daemon.folder, "two", "two.test")
    daemon.plain = free_port()
    daemon.tls = {"tls_cert_path": daemon.one[0], "tls_key_path": daemon.one[1],
                  "tls_more": [{"cert_path": daemon.two[0], "key_path": daemon.two[1]}],
                  "plain_listen_addr": [f"127.0.0.1:{daemon.plain}"]}
    return serve(daemon, **daemon.tls)


def context(*certs, alpn=None):
    made = ssl.create_default_context()
    for cert in certs:
        made.load_verify_locations(cert[0])
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def shake_hands(daemon, name, ctx, session=None):
    s = socket.create_connection(("127.0.0.1", daemon.port), timeout=10)
    try:
        return ctx.wrap_socket(s, server_hostname=name, session=session)
    except Exception:
        s.close()
        raise


def request(s, path="/mirror", head=""):
    s.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n{head}\r\n".encode())
    answer = exchange_rest(s)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    return answer.split(b"\r\n\r\n", 1)[1]


def subject(daemon, name):
    """The name on the certificate that this server name gets; None sends none."""
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    with shake_hands(daemon, name, ctx) as s:
        der = s.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=der, capture_output=True).stdout
    return text.decode().split("=")[-1].strip()


def test_requests(secure):
    with shake_hands(secure, "one.test", context(secure.one)) as s:
        assert s.version() == "TLSv1.3"
        seen = json.loads(request(s))
        assert seen["secure"] and seen["from"].startswith("127.0.0.1:")
    with shake_hands(secure, "two.test", context(secure.two)) as s:
        assert len(request(s, "/large")) == 8 << 20


def test_names(secure):
    assert subject(secure, "one.test") == subject(secure, "a.wild.test") == subject(secure, "ONE.test") == "one"
    assert subject(secure, "two.test") == "two"
    assert subject(secure, None) == "one"
    for wrong in ("three.test", "a.b.wild.test", "wild.test", "one.test.evil"):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            subject(secure, wrong)
    wait_until(lambda: metric(secure, "tailplane_http_tls_failed_total") == 4, "they are counted")


def test_protocols(secure):
    for offered in (["http/1.1"], ["h2", "http/1.1"]):
        with shake_hands(secure, "one.test", context(secure.one, alpn=offered)) as s:
            assert s.selected_alpn_protocol() == "http/1.1"
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        shake_hands(secure, "one.test", context(secure.one, alpn=["h2"]))
    old = context(secure.one)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with shake_hands(secure, "one.test", old) as s:
        assert s.version() == "TLSv1.2" and request(s)


def test_the_smallest_cipher_that_is_good(secure):
    with shake_hands(secure, "one.test", context(secure.one)) as s:
        assert s.cipher()[0] == "TLS_AES_128_GCM_SHA256"


def test_a_session_is_resumed(secure):
    ctx = context(secure.one)
    with shake_hands(secure, "one.test", ctx) as s:
        request(s)
        session = s.session
    assert session.has_ticket
    with shake_hands(secure, "one.test", ctx, session) as s:
        assert s.session_reused and request(s)


def test_an_upgrade_goes_with_its_tls_session(secure):
    with shake_hands(secure, "one.test", context(secure.one)) as s:
        s.sendall(b"GET /shout HTTP/1.1\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\nearly ")
        assert b" 101 " in read_head(s)
        s.sendall(b"late")
        assert read_exactly(s, 10) == b"EARLY LATE"
        s.sendall(b"x" * 100_000)
        assert read_exactly(s, 100_000) == b"X" * 100_000


def test_certificates_are_renewed_and_streams_stay(secure):
    with shake_hands(secure, "one.test", context(secure.one)) as stays:
        stays.sendall(b"GET /shout HTTP/1.1\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n")
        read_head(stays)
        new = make_certificate(secure.folder, "new", "one.test")
        for old, fresh in zip(secure.one, new):
            os.replace(fresh, old)
        wait_until(lambda: subject(secure, "one.test") == "new", "the new certificate", timeout=20)
        assert "the certificates were renewed" in secure.log()
        stays.sendall(b"still here")
        assert read_exactly(stays, 10) == b"STILL HERE"


def test_bad_certificates_are_not_taken(secure):
    secure.one[0].write_text("nonsense")
    configure(secure, **secure.tls)
    with pytest.raises(Exception, match="no certificate in PEM"):
        secure.call("reload")
    assert subject(secure, "one.test") == "one"
    wait_until(lambda: "the certificates changed, and are not taken" in secure.log(), "the warning", timeout=20)
    assert subject(secure, "one.test") == "one"
    assert secure.call("status")["tls"]["certificates_not_taken"].endswith("no certificate in PEM is in it")


def test_a_renewed_key_that_nobody_may_read(secure):
    """As a client of ACME leaves it; that it may be read from then on is a change, too."""
    new = make_certificate(secure.folder, "new", "one.test")
    new[1].chmod(0o644)
    for old, fresh in zip(secure.one, new):
        os.replace(fresh, old)
    wait_until(lambda: "certificates_not_taken" in secure.call("status")["tls"], "the status", timeout=20)
    assert subject(secure, "one.test") == "one"
    secure.one[1].chmod(0o600)
    wait_until(lambda: subject(secure, "one.test") == "new", "the new certificate", timeout=20)
    assert "certificates_not_taken" not in secure.call("status")["tls"]


def weak_certificate(daemon):
    """The second pair, whose key is shorter than OpenSSL has it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "2", "-keyout", daemon.two[1],
                    "-out", daemon.two[0], "-subj", "/CN=two"], check=True, capture_output=True)


def append(file, text):
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize("spoil, words", [
    (lambda d: d.one[1].chmod(0o644), "everybody can read; type: chmod"),
    (lambda d: d.tls.update(tls_key_path=d.two[1]), "is not the key of the certificate"),
    (lambda d: d.tls.update(tls_cert_path=d.folder / "none.pem"), "none.pem: No such file"),
    (lambda d: d.one[1].write_text("x"), "no private key in PEM"),
    (weak_certificate, "two.pem: OpenSSL does not take the certificate: ee key too small"),
    (lambda d: append(d.one[0], d.two[0].read_text()[:200]), "one.pem: certificate 2 in it cannot be read"),
    (lambda d: append(d.one[0], d.two[0].read_text().replace("MII", "MMM")), "one.pem: certificate 2 in it cannot be read"),
])
def test_bad_files(secure, spoil, words):
    secure.stop()
    spoil(secure)
    configure(secure, **secure.tls)
    assert words in secure.fails()


def give(file, group="nogroup"):
    shutil.chown(file, group=group)
    file.chmod(0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up privileges")
def test_files_for_root_alone(secure):
    """A daemon that is somebody else could read them at start, and not when they are renewed: it says so at start."""
    secure.stop()
    secure.folder.chmod(0o711)
    closed = secure.folder / "closed"
    closed.mkdir(0o700)
    cert, key = make_certificate(closed, "one", "one.test")
    for old, fresh in zip(secure.one, (cert, key)):
        old.unlink()
        old.symlink_to(fresh)
    secure.configure("pages", core={"user": "nobody", "http": {"listen_addr": [f"127.0.0.1:{secure.port}"], **secure.tls}})
    shown = secure.one
    assert (f"cannot read the certificate {shown[0]}: Permission denied; "
            f"type: chgrp nogroup {closed} && chmod g+x {closed}\n") in secure.fails()
    shutil.chown(closed, group="nogroup")
    closed.chmod(0o710)
    assert (f"cannot read the private key {shown[1]}: Permission denied; "
            f"type: chgrp nogroup {shown[1]} && chmod 640 {shown[1]}\n") in secure.fails()
    give(key)
    give(secure.two[1])
    secure.start()
    assert subject(secure, "one.test") == "one"
    new = make_certificate(secure.folder, "new", "one.test")
    give(new[1])
    for old, fresh in zip((cert, key), new):
        os.replace(fresh, old)
    wait_until(lambda: subject(secure, "one.test") == "new", "the new certificate", timeout=20)


def plain(daemon, path, method="GET", host="one.test"):
    conn = http.client.HTTPConnection("127.0.0.1", daemon.plain, timeout=10)
    conn.request(method, path, headers={"Host": host})
    answer = conn.getresponse()
    answer.body = answer.read()
    conn.close()
    return answer


def test_beside_tls(secure):
    answer = plain(secure, "/page?x=1")
    assert answer.status == 308 and answer.headers["Location"] == f"https://one.test:{secure.port}/page?x=1"
    assert plain(secure, "/nothing").status == 308
    assert plain(secure, "/page", host="[2001:db8::1]:80").headers["Location"] == f"https://[2001:db8::1]:{secure.port}/page"
    assert plain(secure, "/page", host="a/b").status == 400
    assert plain(secure, "/control").status == 200
    with socket.create_connection(("127.0.0.1", secure.plain), timeout=10) as s:
        s.sendall(b"GET /shout HTTP/1.1\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\n")
        assert b" 101 " in read_head(s)


def test_http_on_the_port_of_https(secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert exchange_rest(s).startswith(b"HTTP/1.1 400")


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname="one.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def in_state(daemon, state):
    return metric(daemon, f'tailplane_http_connections{{state="{state}"}}')


def test_half_of_a_hello_costs_no_tls_state(secure):
    hello = client_hello()
    held = []
    for n in (0, 1, 4, 5, 6, len(hello) - 1):
        held.append(socket.create_connection(("127.0.0.1", secure.port), timeout=10))
        held[-1].sendall(hello[:n])
    wait_until(lambda: in_state(secure, "hello") == len(held), "all wait for the rest")
    held[-1].sendall(hello[-1:])
    assert held[-1].recv(1) == b"\x16"
    assert in_state(secure, "handshake") == 1 and in_state(secure, "hello") == len(held) - 1
    held[2].sendall(hello[4:])
    assert held[2].recv(1) == b"\x16"
    held[3].shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        held[3].recv(1)
    for s in held:
        s.close()
    wait_until(lambda: in_state(secure, "hello") == in_state(secure, "handshake") == 0, "all are gone")


def test_tls_goes_while_hellos_are_on_their_way(secure):
    hello, held = client_hello(), []
    for n in (0, 5, len(hello) - 1):
        held.append((socket.create_connection(("127.0.0.1", secure.port), timeout=10), n))
        held[-1][0].sendall(hello[:n])
    wait_until(lambda: in_state(secure, "hello") == len(held), "all wait for the rest")
    configure(secure)
    secure.call("reload")
    for s, n in held:
        s.sendall(hello[n:])
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
        s.close()
    assert ask(secure, "/mirror").status == 200


def test_a_stranger_costs_little(secure):
    """A struct and what he sent: 200 000 of them fit into 100 MB."""
    if "san" in str(BUILD):
        pytest.skip("a sanitizer's memory is not the program's")
    hello, before, held = client_hello(), secure.memory(), []
    for _ in range(400):
        held.append(socket.create_connection(("127.0.0.1", secure.port), timeout=10))
        held[-1].sendall(hello[:-1])
    wait_until(lambda: in_state(secure, "hello") == len(held), "all wait for the rest")
    assert secure.memory() - before < 400 * 512 + (128 << 10), "what the allocator takes at a time"
    for s in held:
        s.close()


def test_handshakes_that_end_anywhere_leave_nothing(secure):
    hello = client_hello()
    aborts_leave_nothing(secure, [hello[:1], hello[:50], hello, hello + b"\x16\x03\x03\x00\x05", b"\x00", b"GET / HTTP/1.1\r\n\r\n"])
    assert subject(secure, "one.test") == "one"


def test_half_a_handshake_does_not_keep_the_cpu_busy(secure):
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as s:
        s.sendall(client_hello()[:100])
        wait_until(lambda: in_state(secure, "hello") == 1, "it waits")
        before = metric(secure, 'tailplane_io_busy_seconds_total{loop="0"}')
        with pytest.raises(TimeoutError):
            s.settimeout(0.5)
            s.recv(1)
        assert metric(secure, 'tailplane_io_busy_seconds_total{loop="0"}') - before < 0.2


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\xff\xff" + b"x" * 20000,
    b"\x16\x03\x01\x00\x05hello",
    b"\x16\x03\x01\x00\x00",
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    b"\x15\x03\x01\x00\x02\x01\x00",
])
def test_hellos_that_are_none(secure, data):
    # one that is merely unfinished is given the time that a handshake may take
    with socket.create_connection(("127.0.0.1", secure.port), timeout=30) as s:
        s.sendall(data)
        try:
            exchange_rest(s)
        except ConnectionResetError:
            pass
    assert subject(secure, "one.test") == "one"


def test_a_certificate_behind_the_chain(secure):
    der = secure.folder / "extra.der"
    subprocess.run(["openssl", "x509", "-in", secure.two[0], "-outform", "der", "-out", der], check=True)
    secure.call("pages extra", file=str(der))
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-servername", "one.test",
                          "-showcerts"], input=b"", capture_output=True, timeout=10).stdout.decode()
    assert out.count("BEGIN CERTIFICATE") == 2 and "1 s:CN = two" in out
    configure(secure, **secure.tls)
    secure.call("reload")
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-servername", "two.test",
                          "-showcerts"], input=b"", capture_output=True, timeout=10).stdout.decode()
    assert "1 s:CN = two" in out
    with pytest.raises(Exception, match="not one certificate in DER"):
        secure.call("pages extra", file=str(secure.two[0]))


def test_tls_comes_and_goes_with_a_reload(secure):
    configure(secure)
    secure.call("reload")
    assert ask(secure, "/mirror").status == 200
    configure(secure, **secure.tls)
    secure.call("reload")
    assert subject(secure, "two.test") == "two"


def test_who_does_what(secure):
    flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    has_vectors = {"avx2", "aes", "pclmulqdq"} <= flags
    tls = secure.call("status")["tls"]
    assert tls.pop("library").startswith("OpenSSL 3.")
    if {"avx512f", "avx512ifma"} <= flags:
        assert tls.pop("x25519") == "tailplane"
    else:
        assert (tls.pop("x25519"), tls.pop("x25519_reason")) == ("OpenSSL", "this machine has no AVX-512 IFMA")
    assert tls.pop("key_schedule") == tls.pop("relay_records") == "tailplane"
    assert tls.pop("aes_128_gcm") == ("ipsec-mb" if has_vectors else "OpenSSL")
    assert tls == {} if has_vectors else list(tls) == ["aes_128_gcm_reason"]
    text = subprocess.run([CLI, "-s", secure.socket, "status"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^ *relay records: +tailplane$", text, re.M), text


def test_nobody_asks_for_tls(daemon):
    serve(daemon)
    assert "tls" not in daemon.call("status")
