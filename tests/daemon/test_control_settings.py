# SPDX-License-Identifier: BSD-3-Clause
"""Settings of the control server that clients could not live with are refused, by line."""

import subprocess

import pytest

from daemon import BUILD, DAEMON


@pytest.fixture
def check(daemon):
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "control")

    def done(control):
        daemon.configure("control", core={"http": {"listen_addr": ["127.0.0.1:8080"]}}, control=control)
        return subprocess.run([DAEMON, "-n", "-c", daemon.conf], env=daemon.environment(), capture_output=True, text=True)

    return done


def dns(**settings):
    return {"dns": settings}


@pytest.mark.parametrize("control, words", [
    ({"server_url": "vpn.example.com"}, "server_url is http:// or https://"),
    ({"server_url": "https://vpn.example.com/path"}, "server_url is http:// or https://"),
    ({"server_url": "https://vpn.example.com:8443", **dns(base_domain="example.com")}, "own name lies in base_domain"),
    ({"server_url": "https://Example.com", **dns(base_domain="example.com")}, "own name lies in base_domain"),
    ({"prefixes": {"v4": "10.0.0.0/8"}}, "within 100.64.0.0/10"),
    ({"prefixes": {"v4": "100.64.0.0/9"}}, "within 100.64.0.0/10"),
    ({"prefixes": {"v6": "fd00::/48"}}, "within fd7a:115c:a1e0::/48"),
    ({"prefixes": {"v4": "", "v6": ""}}, "one of v4 and v6 is needed"),
    ({"prefixes": {"v4": "none"}}, '"none" is no prefix'),
    (dns(base_domain="Tail.test"), "base_domain is a domain in lower case"),
    (dns(nameservers={"global": ["9.9.9.9", "9.9.9"]}), 'a resolver is an address, as in 9.9.9.9, or https://..., not "9.9.9"'),
    (dns(nameservers={"split": [{"domain": "corp.test.", "servers": ["9.9.9.9"]}]}), 'not "corp.test."'),
    (dns(nameservers={"split": [{"domain": "corp.test", "servers": ["ns.corp.test"]}]}), 'not "ns.corp.test"'),
    (dns(search_domains=["corp.test", "x y"]), 'a search domain is a name in lower case, without a dot at the end, not "x y"'),
    (dns(extra_records=[{"name": "Wiki.test", "value": "192.0.2.1"}]), 'not "Wiki.test"'),
    (dns(extra_records=[{"name": "wiki.test", "type": "CNAME", "value": "a.test"}]), "type is A or AAAA"),
    (dns(extra_records=[{"name": "wiki.test", "type": "AAAA", "value": "192.0.2.1"}]), "an AAAA record has an IPv6 address"),
])
def test_refused(check, daemon, control, words):
    done = check(control)
    said = done.stderr
    assert done.returncode == 1 and words in said, said
    assert all(line.startswith(f"{daemon.conf}:") and line.split(":")[1].isdigit() for line in said.splitlines()), said


@pytest.mark.parametrize("control", [
    {"prefixes": {"v4": ""}}, {"prefixes": {"v4": "100.64.7.0/24", "v6": ""}},
    {"server_url": "https://hosts.net", **dns(base_domain="ts.net")},
    {"server_url": "https://example.com.test:8443", **dns(base_domain="example.com")},
    dns(nameservers={"global": ["9.9.9.9", "2620:fe::9", "[2620:fe::9]:5353", "https://dns.nextdns.io/abc"],
                     "split": [{"domain": "_msdcs.corp.test", "servers": ["192.0.2.1"]}]}),
])
def test_accepted(check, control):
    done = check(control)
    assert done.returncode == 0, done.stderr
