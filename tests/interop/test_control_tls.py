# SPDX-License-Identifier: BSD-3-Clause
"""Tailscale clients that reach the control server over https: its own, and that of a reverse proxy."""

import os
import re
import ssl

import pytest

from machine import need_namespaces
from proxy import nginx
from tailnet import Tailnet
from tailscale import NET4, OLDER, program
from traffic import wait_ping
from wait import wait_until

NAME = "control.example.org"


class Authority:
    """One that clients trust because SSL_CERT_FILE says so."""

    def __init__(self, folder, run):
        self.folder, self.run = folder, run
        self.cert = folder / "ca.crt"
        self.openssl("req", "-x509", "-days", "30", "-subj", "/CN=Test CA", "-keyout", folder / "ca.key", "-out", self.cert)

    def openssl(self, *args):
        self.run("openssl", *args, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def issue(self, file, name=NAME, days=30):
        cert, key = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        self.openssl("req", "-x509", "-days", days, "-CA", self.cert, "-CAkey", self.folder / "ca.key", "-subj", f"/CN={file}",
                     "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:false",
                     "-keyout", key, "-out", cert)
        key.chmod(0o600)
        return cert, key


@pytest.fixture
def authority(net):
    need_namespaces()
    folder = net.dir / "authority"
    folder.mkdir()
    return Authority(folder, net.machine("authority").run)


def secure(net, authority, http, **control):
    return Tailnet(net, url=f"https://{NAME}", http=http, hosts={NAME: f"{NET4}.2"},
                   environment={"SSL_CERT_FILE": str(authority.cert)}, **control)


def served(tailnet):
    """The certificate that is shown now."""
    context = ssl.create_default_context(cafile=tailnet.environment["SSL_CERT_FILE"])
    with tailnet.server.socket(kind=1) as plain:
        plain.settimeout(10)
        plain.connect((f"{NET4}.2", 443))
        with context.wrap_socket(plain, server_hostname=NAME) as tls:
            return dict(field[0] for field in tls.getpeercert()["subject"])["commonName"]


def metric(daemon, name):
    return float(re.search(rf"^{name} (\S+)$", daemon.call("metrics"), re.M).group(1))


def test_https(net, authority):
    """Join over TLS with port 80 beside it; a new certificate is taken and no stream notices."""
    cert, key = authority.issue("first")
    tailnet = secure(net, authority, {"listen_addr": [f"{NET4}.2:443"], "tls_cert_path": cert, "tls_key_path": key})
    a, b = tailnet.joined("a"), tailnet.client("b", OLDER)
    b.machine.run("nft", "add table inet wall; add chain inet wall out { type filter hook output priority 0; }; "
                  "add rule inet wall out tcp dport 80 reject with tcp reset")
    b.up(tailnet.url, tailnet.key())
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4)
    streams = [port for port in (80, 443) if tailnet.server.run("ss", "-Htn", f"sport = :{port}").stdout]
    assert streams == [80, 443], "one comes in plain, as clients like it, the other by TLS alone"
    checks = tailnet.doctor()
    assert not [row for row in checks.values() if row["state"] == "failed"], checks
    assert checks["TLS"]["state"] == checks["port 80"]["state"] == checks["server_url"]["state"] == "ok"
    assert "as one at 10.55.0.1" in checks["from outside"]["found"], "a client was asked, and came"
    assert "trying bootstrapDNS" not in a.log() and "trying bootstrapDNS" in b.log(), "a closed port 80 makes doubts"

    done = a.machine.run("env", f"SSL_CERT_FILE={authority.cert}", program("tailscale"), f"--socket={a.socket}", "debug",
                         "ts2021", f"--host={NAME}")
    assert "did noise handshake" in done.stdout and "whoami response" in done.stdout, done.stdout

    assert served(tailnet) == "first"
    upgraded, failed = (metric(tailnet.daemon, f"tailplane_http_{name}_total") for name in ("upgraded", "tls_failed"))
    for new, old in zip(authority.issue("second"), (cert, key)):
        os.replace(new, old)
    wait_until(lambda: served(tailnet) == "second", "the new certificate is shown", 40)
    tailnet.cli("nodes", "rename", "again", "-i", "a")
    b.wait_peer("again", Online=True)
    assert metric(tailnet.daemon, "tailplane_http_upgraded_total") == upgraded, "nobody had to come anew"
    assert metric(tailnet.daemon, "tailplane_http_tls_failed_total") == failed

    # one that does not know the authority says so, and never leaves a node behind
    stranger = tailnet.client("stranger", environment={})
    assert stranger.up(tailnet.url, tailnet.key(), check=False, timeout=5).returncode != 0
    assert "certificate signed by unknown authority" in " ".join(stranger.status()["Health"])
    assert tailnet.nodes() == ["again", "b"]


def test_behind_a_proxy(net, authority):
    """nginx, set up as our example says, has the certificate; the server behind it speaks plain HTTP and believes it."""
    cert, key = authority.issue("proxy")
    http = {"listen_addr": ["127.0.0.1:8080"], "trusted_proxies": ["127.0.0.1/32"]}
    tailnet = secure(net, authority, http)
    assert tailnet.doctor()["server_url"]["state"] == "failed", "nobody listens there yet"
    proxy = nginx(tailnet.server, authority.folder, NAME, cert, key)
    wait_until(lambda: served(tailnet) == "proxy", "nginx serves", 30)
    a, b = tailnet.joined("a"), tailnet.joined("b")
    a.wait_peer("b", Online=True)
    wait_ping(a.machine, b.ip4)
    checks = tailnet.doctor()
    assert checks["server_url"] == {**checks["server_url"], "state": "ok", "found": "this server answers, behind a proxy"}
    assert "as one at 10.55.0.1" in checks["from outside"]["found"], "the client's address, not the proxy's"
    tailnet.cli("nodes", "rename", "again", "-i", "a")
    b.wait_peer("again", Online=True)

    # a proxy that is not believed still works; only addresses are the proxy's
    tailnet.daemon.configure({**tailnet.daemon.config, "core": {"http": {**http, "trusted_proxies": ["192.0.2.1/32"]}}})
    tailnet.cli("reload")
    assert "does not believe" in tailnet.doctor()["server_url"]["found"]
    assert proxy.alive()
