# SPDX-License-Identifier: BSD-3-Clause
"""Headscale's commands: its words and flags, and its fields with -o json."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from daemon import BUILD

CLI = BUILD / "core" / "cli" / "tailplane"


@pytest.fixture
def tailnet(daemon):
    daemon.configure("tailnet")
    daemon.start()
    return daemon


def run(daemon, line, *more, check=True):
    done = subprocess.run([CLI, "--socket", daemon.socket, *line.split(), *more], capture_output=True, text=True,
                          timeout=30)
    assert not check or done.returncode == 0, done.stderr
    return done


def ask(daemon, line, *more):
    return json.loads(run(daemon, "-o json " + line, *more).stdout)


def refused(daemon, line, *more):
    done = run(daemon, line, *more, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def shape(value):
    """Names and kinds: texts that stand for any value of that kind, as the recorded cases have them."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value[:1]]
    return type(value).__name__


def recorded(name):
    folder = os.environ.get("TAILPLANE_TESTDATA")
    path = Path(folder or "/nowhere") / "headscale" / "apiv1" / f"{name}.json"
    if not path.exists():
        pytest.skip("no recorded cases of Headscale here")
    return json.loads(path.read_text())["body"]


def within(ours, theirs):
    """Each of their fields is there, of their kind. Null on either side is a value that is unset."""
    for key, kind in theirs.items():
        assert key in ours, key
        if isinstance(kind, dict) and isinstance(ours[key], dict):
            within(ours[key], kind)
        elif "NoneType" not in (kind, ours[key]) and not isinstance(kind, list):
            assert ours[key] == kind, key


def test_users(tailnet):
    alice = ask(tailnet, "users create alice --email a@example.com -d", "Alice A.")
    assert alice["id"] == "1" and alice["displayName"] == "Alice A." and alice["provider"] == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", alice["createdAt"])
    ask(tailnet, "user new bob")
    assert [u["name"] for u in ask(tailnet, "users ls")] == ["alice", "bob"]
    assert [u["name"] for u in ask(tailnet, "users list -n bob")] == ["bob"]
    assert [u["name"] for u in ask(tailnet, "users list -i 1")] == ["alice"]
    assert [u["name"] for u in ask(tailnet, "users list -e a@example.com")] == ["alice"]
    assert ask(tailnet, "users mv -n bob -r robert")["name"] == "robert"
    assert "taken" in refused(tailnet, "users create alice") or "alice" in refused(tailnet, "users create alice")
    assert "there is no user carol" in refused(tailnet, "users destroy -n carol")
    assert "--identifier or --name" in refused(tailnet, "users destroy")
    run(tailnet, "users destroy -i 2 --force")
    assert "alice" in run(tailnet, "users list").stdout and "robert" not in run(tailnet, "users list").stdout


def test_preauthkeys(tailnet):
    run(tailnet, "users create alice")
    text = run(tailnet, "preauthkeys create -u alice --reusable -e 24h").stdout.strip()
    assert re.fullmatch(r"hskey-auth-[\w-]{12}-[\w-]{64}", text), text
    once = ask(tailnet, "authkey c --user 1")
    assert not once["reusable"] and once["user"]["name"] == "alice" and once["key"].startswith("hskey-auth-")
    tagged = ask(tailnet, "pre new --tags tag:a,tag:b --ephemeral")
    assert tagged["aclTags"] == ["tag:a", "tag:b"] and tagged["user"] is None and tagged["ephemeral"]
    listed = run(tailnet, "preauthkeys list -o json").stdout
    assert text not in listed and once["key"] not in listed and "-***" in listed
    assert len(ask(tailnet, "preauthkeys ls -u alice")) == 2
    assert "such as 1h" in refused(tailnet, "preauthkeys create -u alice -e soon")
    assert "there is no user" in refused(tailnet, "preauthkeys create -u nobody")
    refused(tailnet, "preauthkeys create")
    refused(tailnet, "preauthkeys create --tags server")
    # spent, expired, removed
    assert tailnet.call("join", name="one", **{"auth-key": once["key"]}) == 1
    assert "used" in refused(tailnet, f"join two --auth-key {once['key']}")
    assert [k["used"] for k in ask(tailnet, "preauthkeys list")] == [False, True, False]
    run(tailnet, "preauthkeys expire -i 1")
    assert "revoked" in refused(tailnet, f"join three --auth-key {text}")
    run(tailnet, "preauthkeys del --id 3")
    assert [k["id"] for k in ask(tailnet, "preauthkeys list")] == ["1", "2"]
    assert "takes a number" in refused(tailnet, "preauthkeys delete -i x")


def test_apikeys(tailnet):
    text = run(tailnet, "apikeys create").stdout.strip()
    assert re.fullmatch(r"hskey-api-[\w-]{12}-[\w-]{64}", text), text
    row = ask(tailnet, "api ls")[0]
    assert text.startswith("hskey-api-" + row["prefix"]) and row["lastSeen"] is None
    run(tailnet, "apikeys expire -p", row["prefix"])
    assert "either" in refused(tailnet, "apikeys delete") and "either" in refused(tailnet, "apikeys delete -i 1 -p x")
    run(tailnet, "apikeys remove -i 1")
    assert ask(tailnet, "apikeys list") == []
    assert "no such key" in refused(tailnet, "apikeys delete -p abc")


@pytest.fixture
def nodes(tailnet):
    run(tailnet, "users create alice")
    key = run(tailnet, "preauthkeys create -u alice --reusable").stdout.strip()
    for name in ("one", "two"):
        run(tailnet, f"join {name} --routes 10.1.0.0/16,10.2.0.0/16 --auth-key {key}")
    return tailnet


def test_nodes(nodes):
    one, two = ask(nodes, "nodes list")
    assert one["ipAddresses"] == ["100.64.0.1", "fd7a:115c:a1e0::1"] and one["user"]["name"] == "alice"
    assert one["givenName"] == "one" and one["registerMethod"] == "REGISTER_METHOD_AUTH_KEY" and not one["online"]
    assert one["preAuthKey"]["key"].endswith("-***") and one["expiry"] is None
    assert len(ask(nodes, "node ls -u alice")) == 2 and "there is no user" in refused(nodes, "nodes list -u x")
    assert ask(nodes, "nodes rename first -i 1")["givenName"] == "first"
    assert ask(nodes, "nodes approve-routes -i first -r 10.1.0.0/16")["approvedRoutes"] == ["10.1.0.0/16"]
    assert ask(nodes, "nodes lsr -i first")[0]["availableRoutes"] == ["10.1.0.0/16", "10.2.0.0/16"]
    assert ask(nodes, "nodes approve-routes -i 100.64.0.1 -r", "")["approvedRoutes"] == []
    assert "takes prefixes" in refused(nodes, "nodes approve-routes -i 1 -r 10.1")
    tagged = ask(nodes, "nodes tag -i two -t tag:x,tag:y")
    assert tagged["tags"] == ["tag:x", "tag:y"] and tagged["user"] is None
    refused(nodes, "nodes tag -i two -t x")
    assert ask(nodes, "nodes set-ip 100.64.7.7 -i two")["ipAddresses"] == ["100.64.7.7", "fd7a:115c:a1e0::2"]
    refused(nodes, "nodes set-ip 100.64.0.1 -i two")
    refused(nodes, "nodes set-ip 192.0.2.1 -i two")
    for kept in ("100.100.100.100", "100.115.92.7", "fd7a:115c:a1e0::53"):
        assert "clients use it" in refused(nodes, f"nodes set-ip {kept} -i two")
    assert "at most one" in refused(nodes, "nodes set-ip 100.64.7.7 100.64.7.8 -i two")
    assert ask(nodes, "nodes exp -i 1")["expired"]
    assert not ask(nodes, "nodes expire -i 1 --disable")["expired"]
    assert ask(nodes, "nodes expire -i 1 -e 2099-01-01T00:00:00Z")["expiry"].startswith("2099-01-01T00:00:00")
    assert "such as 2026" in refused(nodes, "nodes expire -i 1 -e tomorrow")
    assert not ask(nodes, "nodes approve -i 1 --revoke")["approved"] and ask(nodes, "nodes approve -i 1")["approved"]
    assert ask(nodes, "--force nodes backfillips") == ask(nodes, "nodes backfillips --force") == {"changes": []}
    run(nodes, "nodes del -i first --force")
    assert [n["id"] for n in ask(nodes, "nodes list")] == ["2"]
    assert "there is no node first" in refused(nodes, "nodes delete -i first")


def test_registrations(nodes):
    waits = nodes.call("ask", name="three")
    assert [a["authId"] for a in ask(nodes, "auth list")] == [waits]
    assert "there is no user" in refused(nodes, f"auth register --auth-id {waits} -u x")
    assert "takes what the page" in refused(nodes, "auth register --auth-id x -u alice")
    assert "whose it is" in refused(nodes, f"auth approve --auth-id {waits}")
    node = ask(nodes, f"nodes register -k {waits} -u alice")  # as it was called before
    assert node["name"] == "three" and node["registerMethod"] == "REGISTER_METHOD_CLI" and node["preAuthKey"] is None
    assert ask(nodes, "auth list") == []
    refused(nodes, f"auth register --auth-id {waits} -u alice")
    other = nodes.call("ask", name="four")
    run(nodes, f"auth reject --auth-id {other}")
    assert ask(nodes, "auth list") == [] and len(ask(nodes, "nodes list")) == 3


def test_events(nodes):
    with subprocess.Popen([CLI, "--socket", nodes.socket, "-o", "json", "events", "watch"], text=True,
                          stdout=subprocess.PIPE) as watch:
        # whoever watches sees it at last, however late it came
        for n in range(200):
            run(nodes, f"nodes rename name{n} -i 1")
            if subprocess.run(["true"]) and watch.poll() is None and _readable(watch.stdout):
                break
        event = json.loads(watch.stdout.readline())
        watch.terminate()
    assert event["id"] == "1" and event["what"] == ["name"]


@pytest.fixture
def rows(nodes):
    """The rows of `events watch`, from a moment on at which it surely watches."""
    with nodes.control() as control:
        control.sock.sendall(b'{"op": "events watch"}\n')
        rows = (json.loads(line)["row"] for line in control.lines)
        for _ in range(100):
            waits = nodes.call("ask", name="watched")
            run(nodes, f"auth reject --auth-id {waits}")
            if _readable(control.sock):
                break
        while next(rows).get("authId") != waits:  # what it waited for
            pass
        yield rows


def _until(rows, what, **of):
    """All rows up to the first that says this of it."""
    seen = []
    while not seen or seen[-1]["what"] != what or any(seen[-1].get(k) != v for k, v in of.items()):
        seen.append(next(rows))
    return seen


def test_events_of_registrations(nodes, rows):
    """Who waits for a person, under what id, and what became of it."""
    refused_id = nodes.call("ask", name="three")
    run(nodes, f"auth reject --auth-id {refused_id}")
    last = _until(rows, ["registration rejected"], authId=refused_id)[-1]
    assert last["node"] == "three" and refused_id.startswith("hskey-authreq-") and last["user"] == ""
    waits = nodes.call("ask", name="four")
    run(nodes, f"auth register --auth-id {waits} -u alice")
    seen = _until(rows, ["registered"], authId=waits)
    mine = [(row["what"], row["node"]) for row in seen if row.get("authId") == waits]
    assert mine == [(["waits for registration"], "four"), (["registered"], "four")]
    assert any("joined" in row["what"] and row["user"] == "alice" for row in seen)
    # with as many as may wait at once, another one takes the place of the oldest
    late = nodes.call("ask", name="late")
    for n in range(16):
        nodes.call("ask", name=f"crowd{n}")
    assert _until(rows, ["registration ran out"])[-1]["authId"] == late


def test_events_of_approval(nodes, rows):
    run(nodes, "nodes approve -i 2 --revoke")
    assert _until(rows, ["approval", "waits for approval"])[-1]["node"] == "two"
    run(nodes, "nodes approve -i 2")
    assert _until(rows, ["approval"])[-1]["node"] == "two"
    run(nodes, "nodes delete -i 2")
    assert _until(rows, ["removed"])[-1]["node"] == "two"


def _readable(stream):
    import select
    return select.select([stream], [], [], 0.05)[0]


@pytest.mark.parametrize("name, key, line", [
    ("NodeList_all", "nodes", "nodes list"),
    ("ListPreAuthKeys_all", "preAuthKeys", "preauthkeys list"),
])
def test_fields_are_headscales(nodes, name, key, line):
    within(shape(ask(nodes, line)[0]), shape(recorded(name)[key][0]))


def test_policy(tailnet):
    file = tailnet.folder / "policy.hujson"
    file.write_text("{}")
    for line in ("policy get", "policy show", f"policy set -f {file}", f"policy check --file {file}"):
        assert "no policy engine is loaded: all nodes see and reach each other" in refused(tailnet, line)
    run(tailnet, "engine")
    assert run(tailnet, "policy fetch").stdout == "get \n"
    assert run(tailnet, f"policy put -f {file}").stdout == "set {}\n"
    assert run(tailnet, f"policy check -f {file} --bypass-server-and-access-database-directly").stdout == "check {}\n"


def test_a_result_that_is_a_failure(tailnet):
    done = run(tailnet, "-o json doctor", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)[0]["state"] == "failed"
    assert done.stderr == "tailplane: doctor: 1 of 1 checks failed\n"
    done = run(tailnet, "doctor", check=False)
    assert done.returncode == 1 and "front door" in done.stdout and "what to do" in done.stdout


def test_kept_over_a_restart(nodes):
    before = ask(nodes, "nodes list"), ask(nodes, "users list"), ask(nodes, "preauthkeys list")
    assert nodes.stop() == 0
    nodes.start()
    assert (ask(nodes, "nodes list"), ask(nodes, "users list"), ask(nodes, "preauthkeys list")) == before
