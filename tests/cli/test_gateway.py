# SPDX-License-Identifier: BSD-3-Clause
"""The command and a gateway: arguments of each kind on their way to the data plane and back."""

import json
import struct

import pytest

from conftest import BUILD
from daemon import RUNTIME_DIR, Tailplaned, gateway, peer, tunnel
from wait import wait_until
from wg import new_key


@pytest.fixture
def gw(net):
    if not (BUILD / "dataplane" / "dataplane.so").exists():
        pytest.skip("the data plane is not built")
    machine = net.machine("gateway")
    daemon = Tailplaned(machine, gateway(
        tunnel("wg0", new_key(), ["10.9.0.1/24"], [peer("first", new_key(), ["10.9.0.2/32"])])))
    return daemon.start()


def shown(gw, *words):
    return json.loads(gw.cli(*words, "-o", "json").stdout)


def test_peers(gw):
    key, psk = new_key().public, gw.folder / "psk"
    psk.touch(mode=0o600)
    psk.write_text(new_key().private + "\n")
    gw.cli("peers", "add", key, "--allowed-ips", "10.9.0.3/32,10.7.0.0/16", "--allowed-ips=fd00::3/128",
           "--preshared-key-file", psk, "--persistent-keepalive", "25s", "--name", "second")
    row = next(p for p in shown(gw, "peers") if p["public_key"] == key)
    assert row["name"] == "second" and row["preshared_key"] is True
    assert sorted(row["allowed_ips"]) == ["10.7.0.0/16", "10.9.0.3/32", "fd00::3/128"]
    assert row["persistent_keepalive"] == 25 * 10**9

    table = gw.cli("peers").stdout.splitlines()
    assert len(table) == 3 and "never" in table[1] and "second" in "".join(table)
    gw.cli("peers", "set", "second", "--allowed-ips", "")
    assert next(p for p in shown(gw, "peers") if p["public_key"] == key)["allowed_ips"] == []
    gw.cli("peers", "remove", "second")
    assert len(shown(gw, "peers")) == 1


def test_what_is_refused(gw):
    no_key = gw.cli("peers", "add", "tooshort", check=False)
    assert no_key.returncode == 1 and "public-key" in no_key.stderr and no_key.stdout == ""
    psk = gw.folder / "open.psk"
    psk.write_text("secret\n")
    psk.chmod(0o644)
    wide = gw.cli("peers", "add", new_key().public, "--preshared-key-file", psk, check=False)
    assert wide.returncode == 2 and f"chmod 600 {psk}" in wide.stderr
    assert gw.cli("peers", "--tunnel", "nothere", check=False).returncode == 1


def test_completion_offers_names(gw):
    def offered(line):
        words = gw.machine.run(BUILD / "core" / "cli" / "tailplane", "__complete",
                               line.replace("tailplane", f"tailplane -s {RUNTIME_DIR}/ctl.sock"), "=:")
        return words.stdout.splitlines()[1:]

    assert offered("tailplane peers remove ") == ["first"]
    assert offered("tailplane peers set first --tunnel w") == ["wg0"]
    assert offered("tailplane capture --at s") == ["sealed"]


def test_tables(gw):
    for words in ("graph", "drops", "ports", "tunnels", "workers"):
        table = gw.cli(words, *(["--all"] if words == "drops" else [])).stdout.splitlines()
        assert len(table) > 1, words
    drops = shown(gw, "drops", "--all")
    assert drops and all(d["meaning"] for d in drops)


def test_capture_passes_a_descriptor(gw):
    """The file is the user's, in a folder that the daemon's user may not even enter."""
    path = gw.folder / "new.pcapng"
    gw.machine.run("ping", "-c1", "-W1", "10.9.0.2", check=False)
    capture = gw.machine.start(BUILD / "core" / "cli" / "tailplane", "-s", f"{RUNTIME_DIR}/ctl.sock",
                               "capture", "--write", path, "--count", "1", "--at", "inner")
    def captured():
        gw.machine.run("ping", "-c1", "-W1", "10.9.0.2", check=False)
        return not capture.alive()

    wait_until(captured, "one packet is captured", 20)
    assert capture.wait() == 0, capture.log()
    assert struct.unpack("<I", path.read_bytes()[:4])[0] == 0x0A0D0D0A
    assert path.stat().st_mode & 0o777 == 0o600


def test_import_is_understood(gw):
    """What `import wg` makes is a configuration that tailplaned takes."""
    key, psk = new_key(), new_key().private
    wg = gw.folder / "wg0.conf"
    wg.write_text(f"""[Interface]
PrivateKey = {new_key().private}
Address = 10.3.0.1/24, fd03::1/64
ListenPort = 51999
MTU = 1380
FwMark = 0x2a
Table = off
# bob
[Peer]
PublicKey = {key.public}
PresharedKey = {psk}
Endpoint = [2001:db8::9]:51820
AllowedIPs = 10.3.0.2/32, fd03::2
PersistentKeepalive = 25
""")
    imported = gw.folder / "imported.conf"
    gw.cli("import", "wg", wg, "-w", imported)
    gw.config_file = imported
    printed = gw.check_config("-nv")
    assert printed.returncode == 0, printed.stderr
    for words in ('name = "wg0"', "listen_port = 51999", "mtu = 1380", "fwmark = 42", "kernel_routes = false",
                  'name = "bob"', key.public, '"[2001:db8::9]:51820"', '"10.3.0.2/32"', '"fd03::2/128"', '"25s"'):
        assert words in printed.stdout, words
