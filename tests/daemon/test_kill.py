# SPDX-License-Identifier: BSD-3-Clause
"""The server dies at any moment of a thousand registrations: who was told to be registered is, whole."""

import collections
import json
import random
import sqlite3
import subprocess

from daemon import BUILD
from test_http import free_port
from test_transport import server_key

STORM = BUILD / "tests" / "daemon" / "join_storm"
MACHINES = 1000


def test_kill(daemon):
    daemon.port = free_port()
    daemon.env["TAILPLANE_PLUGIN_PATH"] = str(BUILD / "control")
    derp = daemon.folder / "derp.json"
    derp.write_text('{"Regions":{"900":{"RegionID":900,"RegionCode":"x","Nodes":[{"Name":"a","HostName":"a.test"}]}}}')
    daemon.configure("control", core={"http": {"listen_addr": [f"127.0.0.1:{daemon.port}"]}},
                     control={"first_key": False, "derp": {"paths": [derp]}})
    daemon.start()
    daemon.call("users create", name="alice")
    with daemon.control() as control:
        keys = [control.call("preauthkeys create", user="alice", expiration="1d")["key"] for _ in range(MACHINES)]
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    (daemon.folder / "keys").write_text("".join(f"{key}\n" for key in keys))
    told = collections.defaultdict(dict)
    with open(daemon.folder / "keys") as lines:
        storm = subprocess.Popen([STORM, "127.0.0.1", str(daemon.port), server_key(daemon), str(seed)],
                                 stdin=lines, stdout=subprocess.PIPE, text=True)
    deaths, until = 0, chance.randrange(100)
    for line in storm.stdout:
        word, node, *rest = line.split()
        told[word][node] = rest
        until -= word == "ack"
        if until < 0 and storm.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
            deaths, until = deaths + 1, chance.randrange(200)
            daemon.start()
    assert storm.wait(10) == 0 and not told["refused"], told["refused"]
    assert deaths >= 5, deaths
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()

    with daemon.control() as hasty:  # one who leaves while the list is written
        hasty.sock.sendall(b'{"op": "nodes list"}\n')
    nodes = {n["nodeKey"].removeprefix("nodekey:"): n for n in daemon.call("nodes list")}
    ask = [BUILD / "core" / "cli" / "tailplane", "--socket", daemon.socket, "nodes", "list"]
    shown = [line.split() for line in subprocess.check_output(ask, text=True).splitlines()[1:]]
    assert [(w[0], w[1], w[2]) for w in shown] == [(n["id"], n["givenName"], "alice") for n in nodes.values()]
    assert json.loads(subprocess.check_output([*ask, "-o", "json"])) == list(nodes.values())
    assert len(told["ack"]) >= MACHINES * 3 / 4
    assert not set(told["ack"]) - set(nodes), "an acknowledged node is not there"
    assert not set(nodes) - set(told["ack"]) - set(told["lost"]), "a node that nobody asked for"
    for key, node in nodes.items():
        machine = told["ack"].get(key) or told["lost"][key]
        assert node["machineKey"] == f"mkey:{machine[0]}" and len(node["ipAddresses"]) == 2
        assert node["user"]["name"] == "alice" and node["givenName"].startswith("storm-")
    for field in ("id", "givenName", "machineKey"):
        assert len({n[field] for n in nodes.values()}) == len(nodes)
    assert len({a for n in nodes.values() for a in n["ipAddresses"]}) == 2 * len(nodes)
    with sqlite3.connect(f"file:{daemon.state}/db.sqlite?mode=ro", uri=True) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        used = {key for key, in db.execute("SELECT id FROM preauth_keys WHERE used")}
        by = [key for key, in db.execute("SELECT preauth_key_id FROM nodes")]
    assert len(by) == len(nodes) and set(by) == used, "a key is spent with its node, or not at all"
    print(f"{deaths} deaths, {len(told['ack'])} acknowledged, {len(told['lost'])} lost, {len(nodes)} there")
