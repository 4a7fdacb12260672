# SPDX-License-Identifier: BSD-3-Clause
"""Tailscale's own client library (derp_go/main.go) on Tailscale's relay and on ours: its clients must see
the same. derper is the specification; what its clients see is looked at too, so that a program that sees
nothing is not content with it.

    relay: tailplaned or derper, and derp_go, all on one machine's loopback
"""

import hashlib
import json
import re
import ssl
import subprocess
from pathlib import Path

import pytest

from daemon import BUILD, Tailplaned
from gobuild import go_source
from tailscale import CURRENT, NEEDS_GO, program
from wait import wait_until

ADDRESS, TLS_PORT, PLAIN_PORT = "127.0.0.1", 443, 80
MESH_KEY = "5a" * 32
SOURCE = Path(__file__).parent / "derp_go"

# What a WebSocket client of the library can do: it has no mesh key, and derper closes it at 32 KiB.
WEBSOCKET = "exchange,ping,nobody,gone,duplicates,not allowed: forward,not allowed: close"


@pytest.fixture
def machine(net):
    return net.machine("relay")


@pytest.fixture
def certificate(machine):
    folder = machine.net.dir
    key, cert = folder / f"{ADDRESS}.key", folder / f"{ADDRESS}.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", f"/CN={ADDRESS}", "-addext", f"subjectAltName=IP:{ADDRESS}", "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    key.chmod(0o600)
    return key, cert


def mesh_key(machine):
    path = machine.net.dir / "mesh"
    path.touch(mode=0o600)
    path.write_text(MESH_KEY + "\n")
    return path


def listens(machine, port):
    wait_until(lambda: machine.run("sh", "-c", f"ss -ltn | grep -q :{port}", check=False).returncode == 0,
               f"the relay listens at {port}")


class Drive:
    """derp_go on that machine."""

    def __init__(self, machine, certificate):
        self.machine = machine
        self.pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[1].read_text())).hexdigest()

    def __call__(self, *options, tls=True, websocket=False):
        pin = ["-pin", self.pin] if tls else []
        env = ["env", "TS_DEBUG_DERP_WS_CLIENT=1"] if websocket else []
        done = self.machine.run(*env, go_source(SOURCE, NEEDS_GO[CURRENT], "ts_debug_websockets"), *pin, *options,
                                f"{ADDRESS}:{TLS_PORT if tls else PLAIN_PORT}", timeout=200)
        seen = json.loads(done.stdout)
        assert seen
        return seen


@pytest.fixture
def drive(machine, certificate):
    return Drive(machine, certificate)


@pytest.fixture
def derper(machine, certificate):
    """Starts it; `relay` stops it before ours comes."""
    def start(tls=True):
        folder = machine.net.dir
        how = ["-a", f"{ADDRESS}:{TLS_PORT}", "-certmode", "manual", "-certdir", folder] if tls else [
            "-a", f"{ADDRESS}:{PLAIN_PORT}"]
        relay = machine.start(program("derper"), "-c", folder / "derper.json", "-http-port", "-1", "-stun=false",
                              "-hostname", ADDRESS, "-mesh-psk-file", mesh_key(machine), *how, name="derper")
        listens(machine, TLS_PORT if tls else PLAIN_PORT)
        return relay

    return start


@pytest.fixture
def ours(machine, certificate):
    def start(tls=True):
        if not (BUILD / "derp/derp.so").exists():
            pytest.skip("the plugin derp is not built")
        key, cert = certificate
        http = {"listen_addr": [f"{ADDRESS}:{TLS_PORT}"], "tls_cert_path": cert, "tls_key_path": key} if tls else {
            "listen_addr": [f"{ADDRESS}:{PLAIN_PORT}"]}
        daemon = Tailplaned(machine, {"plugins": ["derp"], "core": {"http": http},
                                      "derp": {"mesh": {"psk_file": mesh_key(machine)}}})
        daemon.start()
        listens(machine, TLS_PORT if tls else PLAIN_PORT)
        daemon.program.metrics = lambda: daemon.call("metrics")
        return daemon.program

    return start


def both_see(derper, ours, look, **how):
    relay = derper(**how)
    theirs = look()
    relay.stop()
    relay = ours(**how)
    mine = look()
    relay.stop()
    assert not [line for lines in theirs.values() for line in lines if line.startswith("FAILED")], theirs
    assert mine == theirs
    return theirs


def test_tls(derper, ours, drive):
    seen = both_see(derper, ours, lambda: drive("-mesh", MESH_KEY))
    assert len(seen) == 15 and seen["exchange"][0] == "b: packet from a: 3 bytes one"
    assert "mesh: not ideal is present from 127.0.0.1, port true, flags 8" in seen["watch"]
    assert "b: packet from a: 65536 bytes d809b75df5a9b674" in seen["sizes"]
    assert seen["tells its key"] == [
        "TLS 304, last certificate: its key true, serial 2, Ed25519, valid now true, basic constraints true"]


def test_plain(derper, ours, drive):
    both_see(derper, ours, lambda: drive("-only", "exchange,sizes,ping", tls=False), tls=False)


def test_websocket(derper, ours, drive):
    seen = both_see(derper, ours, lambda: drive("-only", WEBSOCKET, tls=False, websocket=True), tls=False)
    assert len(seen) == 7 and seen["ping"][0] == "a: pong 0001020304050607"


def javascript():
    """The command before the program, in a JavaScript that has WebSocket; skips the test where there is none."""
    node = ["node", "--experimental-websocket", "--no-warnings"]  # a flag until Node.js 22
    try:
        has = subprocess.run([*node, "-p", "typeof WebSocket"], capture_output=True, text=True).stdout == "function\n"
    except FileNotFoundError:
        has = False
    if not has:
        pytest.skip("no Node.js with WebSocket here")
    program = go_source(SOURCE, NEEDS_GO[CURRENT], javascript=True)
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return [*node, "--stack-size=8192", f"{root}/lib/wasm/wasm_exec_node.js", program]


def test_javascript(machine, ours):
    """The library as it runs in browsers, with the WebSocket of JavaScript's own machine."""
    command = javascript()
    relay = ours(tls=False)
    done = machine.run(*command, "-only", "exchange,sizes,ping,duplicates", f"{ADDRESS}:{PLAIN_PORT}", timeout=200)
    relay.stop()
    seen = json.loads(done.stdout)
    assert not [line for lines in seen.values() for line in lines if line.startswith("FAILED")], seen
    assert len(seen) == 4 and seen["exchange"][0] == "b: packet from a: 3 bytes one"
    assert "b: packet from a: 65536 bytes d809b75df5a9b674" in seen["sizes"]


# Of derper's insides: its Go heap, how its writers and mesh updates batch, a mistake of its own that it counts; and
# what tailplane_process_open_fds tells.
NOT_OURS = {"derp_memstats_sys0", "derp_average_queue_duration_ms", "derp_buffered_write_frames", "derp_mesh_update_batch_size",
            "derp_mesh_update_loop_count", "derp_packet_forwarder_delete_other_value", "derp_current_file_descriptors"}


def series(text):
    """Names with their labels, and their types; of a histogram its name, and of one without labels so far."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    histograms = tuple(f"{name}_" for name, kind in types.items() if kind == "histogram")
    found = {re.sub(r"_(bucket{.*|count|sum)$", "", name) if name.startswith(histograms) else name
             for name in re.findall(r"^((?:derp|stun)_\S+) ", text, re.M)}
    found |= {name for name in types if re.match("(derp|stun)_", name)} - {name.partition("{")[0] for name in found}
    return {name: types.get(name.partition("{")[0]) for name in found}


def test_metrics(machine, derper, ours):
    """Whoever watches derpers by their metrics finds the same names, labels and types here."""
    relay = derper(tls=False)
    theirs = series(machine.run("curl", "-sS", f"http://{ADDRESS}:{PLAIN_PORT}/debug/varz").stdout)
    relay.stop()
    relay = ours(tls=False)
    mine = series(relay.metrics())
    relay.stop()
    assert NOT_OURS < set(theirs) and len(theirs) > 60
    del mine['stun_requests{disposition="silent"}']  # derper always answers
    for name in theirs.keys() - mine.keys() - NOT_OURS:  # it has a label for what has occurred
        labelled = {one for one in mine if one.startswith(f"{name}{{")}
        assert labelled, name
        mine[name] = {mine.pop(one) for one in labelled}.pop()
    assert mine == {name: kind for name, kind in theirs.items() if name not in NOT_OURS}
