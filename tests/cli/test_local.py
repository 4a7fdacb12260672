# SPDX-License-Identifier: BSD-3-Clause
"""The commands that need no daemon, and what is said when there is none."""

import json
import os
import pty
import shutil
import socket
import stat
import subprocess

import pytest

from conftest import TAILPLANE, environment

KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
PUBLIC = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
PSK = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="

WG = f"""[Interface]
PrivateKey = {KEY}
Address = 10.0.0.1/24
ListenPort = 51820
DNS = 10.0.0.53
PostUp = echo up

# alice
[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = {PSK}
AllowedIPs = 10.0.0.2/32
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# --- keys ---


def test_keys_public_is_that_of_wireguard(tailplane):
    """RFC 7748, and the tool that everybody uses."""
    assert tailplane("keys", "public", input=KEY + "\n").stdout == PUBLIC + "\n"
    if shutil.which("wg"):
        wg = subprocess.run(["wg", "pubkey"], input=KEY, capture_output=True, text=True, check=True)
        assert wg.stdout == PUBLIC + "\n"


def test_keys_new(tailplane):
    pair = json.loads(tailplane("keys", "new", "-o", "json").stdout)
    other = json.loads(tailplane("keys", "new", "-o", "json").stdout)
    assert list(pair) == ["private_key", "public_key"] and pair != other
    assert tailplane("keys", "public", input=pair["private_key"]).stdout.strip() == pair["public_key"]


def test_keys_new_in_a_file(tailplane, tmp_path):
    os.umask(0)
    shown = json.loads(tailplane("keys", "new", "--write", "a.key", "-o", "json").stdout)
    os.umask(0o022)
    assert list(shown) == ["public_key"] and mode(tmp_path / "a.key") == 0o600
    assert tailplane("keys", "public", "a.key").stdout.strip() == shown["public_key"]

    before = (tmp_path / "a.key").read_text()
    again = tailplane("keys", "new", "-w", "a.key", expect=1)
    assert "is there already" in again.stderr and again.stdout == ""
    assert (tmp_path / "a.key").read_text() == before


def test_keys_public_refuses(tailplane, tmp_path):
    assert "44 characters" in tailplane("keys", "public", input="short\n", expect=1).stderr
    (tmp_path / "open.key").write_text(KEY)
    (tmp_path / "open.key").chmod(0o644)
    assert "chmod 600 open.key" in tailplane("keys", "public", "open.key", expect=2).stderr
    assert "No such file" in tailplane("keys", "public", "none.key", expect=2).stderr


def test_keys_psk(tailplane, tmp_path):
    assert len(json.loads(tailplane("keys", "psk", "-o", "json").stdout)["preshared_key"]) == 44
    assert tailplane("keys", "psk", "-w", "p.psk").stdout == ""
    assert mode(tmp_path / "p.psk") == 0o600 and len((tmp_path / "p.psk").read_text()) == 45


# --- import ---


def test_import_to_files(tailplane, tmp_path):
    (tmp_path / "wg7.conf").write_text(WG)
    (tmp_path / "out").mkdir()
    done = tailplane("import", "wg", "wg7.conf", "-w", "out/tailplane.conf")
    assert done.stdout == ""
    assert "wg7.conf:5: left out: DNS" in done.stderr and "wg7.conf:6: left out: PostUp" in done.stderr

    files = {p.name: p for p in (tmp_path / "out").iterdir()}
    assert sorted(files) == ["tailplane.conf", "wg7-c53201039adba14b.psk", "wg7.key"]
    assert files["wg7.key"].read_text() == KEY + "\n" and mode(files["wg7.key"]) == 0o600
    psk = files["wg7-c53201039adba14b.psk"]
    assert psk.read_text() == PSK + "\n" and mode(psk) == 0o600
    text = files["tailplane.conf"].read_text()
    assert KEY not in text and PSK not in text
    assert f'private_key_file = "{files["wg7.key"]}";' in text
    assert f'preshared_key_file = "{psk}";' in text and 'name = "wg7";' in text


def test_import_to_stdout(tailplane, tmp_path):
    (tmp_path / "k").mkdir()
    done = tailplane("import", "wg", "-", "--keys", "k", "--name", "site", input=WG)
    assert done.stdout.startswith("#") and 'name = "site";' in done.stdout and KEY not in done.stdout
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == ["site-c53201039adba14b.psk", "site.key"]


def test_import_twice(tailplane, tmp_path):
    """The same again is no harm; another key or configuration is never replaced unasked."""
    (tmp_path / "wg0.conf").write_text(WG)
    tailplane("import", "wg", "wg0.conf", "-w", "t.conf")
    assert "--force replaces it" in tailplane("import", "wg", "wg0.conf", "-w", "t.conf", expect=1).stderr
    tailplane("import", "wg", "wg0.conf", "-w", "t.conf", "--force")

    (tmp_path / "wg0.conf").write_text(WG.replace(KEY, PSK))
    refused = tailplane("import", "wg", "wg0.conf", "-w", "u.conf", expect=1)
    assert "wg0.key is there already" in refused.stderr
    assert (tmp_path / "wg0.key").read_text() == KEY + "\n" and not (tmp_path / "u.conf").exists()


def test_import_refuses(tailplane, tmp_path):
    (tmp_path / "bad.conf").write_text("[Interface]\nPrivateKey = x\nAdress = 10.0.0.1\n")
    done = tailplane("import", "wg", "bad.conf", "-w", "t.conf", expect=1)
    assert "bad.conf:2: PrivateKey is no key" in done.stderr
    assert "bad.conf:3: [Interface] has no key 'Adress'; is it meant to be Address?" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["bad.conf"]
    assert "No such file" in tailplane("import", "wg", "none.conf", expect=1).stderr
    (tmp_path / "much too long a name.conf").write_text(WG)
    assert "--name" in tailplane("import", "wg", "much too long a name.conf", expect=1).stderr


# --- without a daemon ---


def test_no_daemon(tailplane, tmp_path):
    done = tailplane("-s", "none.sock", "status", expect=3)
    assert "no daemon at none.sock" in done.stderr and "systemctl start tailplaned" in done.stderr
    assert done.stdout == ""

    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    assert "nobody listens" in tailplane("status", "--socket=dead.sock", expect=3).stderr
    dead.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_no_permission(tmp_path):
    """The message says which group to join. In a folder that others may enter."""
    listener = socket.socket(socket.AF_UNIX)
    path = f"/tmp/tailplane-cli-{os.getpid()}.sock"
    listener.bind(path)
    try:
        os.chown(path, 0, 1)  # group daemon
        os.chmod(path, 0o660)
        done = subprocess.run(
            [TAILPLANE, "-s", path, "status"], capture_output=True, text=True, user=65534, group=65534,
            extra_groups=[], env=environment(),
        )
    finally:
        listener.close()
        os.unlink(path)
    if done.returncode == 126 or "rror while loading" in done.stderr:
        pytest.skip("the build folder is closed to others")
    assert done.returncode == 3 and "join its group 'daemon'" in done.stderr


def test_help(tailplane):
    overview = tailplane("help").stdout
    assert "import wg" in overview and "no daemon was asked" in " ".join(overview.split())
    assert tailplane("--help").stdout == overview
    assert tailplane("help", "keys").stdout == tailplane("keys", "--help").stdout
    new = tailplane("help", "keys", "new").stdout
    assert new == tailplane("keys", "new", "--help").stdout == tailplane("--help", "keys", "new").stdout
    assert "usage: tailplane keys new [--write FILE]" in new
    assert "keys psk" not in new and "keys psk" in tailplane("help", "keys").stdout
    assert "unknown command 'frobnicate'" in tailplane("help", "frobnicate", expect=1).stderr


def test_usage_errors(tailplane):
    for words, message in {
        ("keys",): "'keys' needs one more word: new, psk, public",
        ("keys", "nwe"): "did you mean 'keys new'?",
        ("keys", "new", "--wirte", "x"): "did you mean '--write'?",
        ("keys", "new", "x"): "one word too many",
        ("import", "wg"): "needs FILE",
        ("completion", "fish"): "SHELL takes bash, not 'fish'",
        ("--frobnicate", "keys", "new"): "unknown option '--frobnicate'",
        ("-o", "xml", "keys", "new"): "table, json, yaml or json-line",
        ("keys", "new", "--watch"): "cannot be watched",
        (): "which command?",
    }.items():
        done = tailplane(*words, expect=2)
        assert message in done.stderr and done.stdout == ""


def test_headscales_words(tailplane):
    """Who comes from there learns the way out, also while no daemon runs."""
    for words, way_out in {
        ("serve",): "'serve': the server is a program of its own: 'sudo systemctl start tailplaned'",
        ("generate", "private-key"): "'tailplane keys new' makes one for WireGuard",
        ("dumpConfig",): "'tailplaned -nv -c FILE' prints",
        ("oauth", "create", "-s", "all"): "HTTP API, which is not there yet",
        ("import", "headscale", "config.yaml"): "'import headscale': settings of the group control",
        ("-c", "config.yaml", "users", "list"): "unknown option '-c': the daemon reads the configuration",
        ("--config=config.yaml", "users", "list"): "and --socket names another one",
        ("keys", "new", "-c", "config.yaml"): "'keys new' takes no option '-c': the daemon reads",
    }.items():
        done = tailplane(*words, expect=2)
        assert way_out in done.stderr and done.stdout == ""


def test_abbreviations(tailplane):
    assert tailplane("k", "pub", input=KEY).stdout.strip() == PUBLIC


def test_version(tailplane):
    assert tailplane("--version").stdout.startswith("tailplane 0.")


def test_full_disk(tailplane):
    with open("/dev/full", "w") as full:
        done = subprocess.run([TAILPLANE, "-s", "none", "help"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment())
    assert done.returncode == 1 and "No space left" in done.stderr


def on_terminal(*words, **env):
    """What the command writes when its standard output is a terminal."""
    leader, terminal = pty.openpty()
    done = subprocess.run([TAILPLANE, *words], stdout=terminal, stderr=subprocess.PIPE,
                          env=environment(TAILPLANE_SOCKET="none", **env))
    os.close(terminal)
    text = b""
    while chunk := _read(leader):
        text += chunk
    os.close(leader)
    assert done.returncode == 0, done.stderr
    return text.decode()


def _read(fd):
    try:
        return os.read(fd, 65536)
    except OSError:  # the other end is closed
        return b""


def test_colours(tailplane):
    assert "\x1b[1m" in on_terminal("keys", "new")
    assert "\x1b" not in on_terminal("keys", "new", NO_COLOR="1")
    assert "\x1b" not in on_terminal("keys", "new", "--color=never")
    assert "\x1b" not in on_terminal("keys", "new", TERM="dumb")
    assert "\x1b" not in on_terminal("keys", "new", "-o", "json")
    assert "\x1b" not in tailplane("keys", "new").stdout
    assert "\x1b[1m" in tailplane("keys", "new", "--color", "always", env={"NO_COLOR": "1"}).stdout


def test_json_is_pretty_on_a_terminal():
    assert on_terminal("keys", "new", "-o", "json").startswith('{\r\n  "private_key"')
