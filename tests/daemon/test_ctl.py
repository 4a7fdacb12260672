# SPDX-License-Identifier: BSD-3-Clause
"""The control socket: the protocol, its checks, its bounds."""

import array
import json
import os
import random
import socket

import pytest

from daemon import OperationFailed
from wait import wait_until

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


@pytest.fixture
def calls(daemon):
    daemon.configure("calls")
    return daemon.start()


def ask(daemon, line):
    """The answer to one raw line, and that the connection is still good after it."""
    with daemon.control() as control:
        control.sock.sendall(line + b"\n")
        answer = json.loads(control.lines.readline())
        assert control.call("echo", int=1) == {"int": 1}
    return answer


@pytest.mark.parametrize("line, words", [
    (b"hello", "not JSON"),
    (b"\xff\xfe\x00", "not JSON"),
    (b'{"op":"echo"', "not JSON"),
    (b'{"op":"echo","op":"fail"}', "duplicate"),
    (b"[" * 100000, "not JSON"),
    (b"[1]", "a request is an object"),
    (b'"echo"', "not JSON"),
    (b"{}", "the name of an operation"),
    (b'{"op":7}', "the name of an operation"),
    (b'{"op":"echo","arg":{}}', 'nothing else'),
    (b'{"op":"ecko"}', 'no operation "ecko"; is "echo" meant?'),
    (b'{"op":"' + b"x" * 300 + b'"}', "there is no operation"),
    (b'{"op":"echo","args":[]}', "args takes an object, not a list"),
    (b'{"op":"echo","args":null}', "args takes an object, not null"),
    (b'{"op":"echo","args":{"colur":"red"}}', 'echo has no argument "colur"; is "colour" meant?'),
    (b'{"op":"twice"}', "twice needs the argument number"),
    (b'{"op":"twice","args":{"number":null}}', "number takes an integer, not null"),
    (b'{"op":"twice","args":{"number":1e3}}', "number takes an integer, not a fraction"),
    (b'{"op":"twice","args":{"number":99999999999999999999}}', "not JSON"),
    (b'{"op":"echo","args":{"bool":"yes"}}', "bool takes true or false, not a string"),
    (b'{"op":"echo","args":{"string":{}}}', "string takes a string, not an object"),
    (b'{"op":"echo","args":{"string":"a\\u0000b"}}', "not JSON"),
    (b'{"op":"echo","args":{"colour":"blue"}}', "colour: "),
    (b'{"op":"echo","args":{"duration":"soon"}}', "duration: "),
    (b'{"op":"echo","args":{"duration":5}}', "duration takes a string, not an integer"),
    (b'{"op":"echo","args":{"size":"1"}}', "size: "),
    (b'{"op":"echo","args":{"rate":"1Gbit"}}', "rate: "),
    (b'{"op":"echo","args":{"address":"10.0.0.256"}}', "address: "),
    (b'{"op":"echo","args":{"prefixes":"10.0.0.0/8"}}', "prefixes takes a list, not a string"),
    (b'{"op":"echo","args":{"prefixes":["10.0.0.0/8","10.0.0.0/33"]}}', "prefixes: "),
    (b'{"op":"echo","args":{"endpoint":"host"}}', "endpoint: "),
    (b'{"op":"echo","args":{"key":"short"}}', "key: "),
    (b'{"op":"file","args":{"file":"x"}}', "descriptor did not come along"),
    (b'{"op":"fail"}', "failed with 42"),
])
def test_what_is_wrong_is_said(calls, line, words):
    assert words in ask(calls, line)["error"]


def test_arguments_arrive(calls):
    args = {"bool": True, "int": -5, "string": "é\n", "colour": "green", "duration": "1m30s", "size": "64MiB",
            "rate": "10Gbit/s", "address": "fe80::1", "prefixes": ["10.0.0.0/8", "::/0"], "endpoint": "host.example:1",
            "key": KEY}
    assert calls.call("echo", **args) == args
    assert calls.call("echo") == {}


def test_describe_tells_the_table(calls):
    table = {op["name"]: op for op in calls.call("describe")}
    echo = {arg["name"]: arg for arg in table["echo"]["args"]}
    assert echo["colour"]["choices"] == ["red", "green"] and echo["colour"]["type"] == "enum"
    assert echo["prefixes"]["flags"] == ["list"]
    assert table["file"]["args"][0]["flags"] == ["required", "file"]
    assert table["reload"]["scope"] == "write" and table["status"]["scope"] == "read"
    assert {"key": "state", "title": "state", "format": "state"} in table["plugins"]["columns"]


def test_answers_that_come_later(calls):
    assert calls.call("twice", number=21) == 42
    assert calls.call("invoke", name="twice") == {"it": 42}
    with pytest.raises(OperationFailed, match="the other said: there is no operation"):
        calls.call("invoke", name="thrice")
    with pytest.raises(OperationFailed, match='the other said: fail has no argument "number"'):
        calls.call("invoke", name="fail")


def test_writes_of_one_file_keep_their_order(calls):
    with calls.control() as control:
        for i in range(50):
            control.sock.sendall(json.dumps({"op": "write", "args": {"path": "d/file", "text": f"{i}"}}).encode() + b"\n")
        for i in range(50):
            assert json.loads(control.lines.readline()) == {"result": i + 1}
    path = calls.state / "d" / "file"
    assert path.read_text() == "49" and path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(calls.state / "d") == ["file"]
    with pytest.raises(OperationFailed, match="cannot write /proc/nothing: "):
        calls.call("write", path="/proc/nothing", text="")


def test_lines_in_pieces_and_in_one_piece(calls):
    with calls.control() as control:
        for byte in b'{"op":"echo","args":{"int":3}}\n':
            control.sock.sendall(bytes([byte]))
        assert json.loads(control.lines.readline()) == {"result": {"int": 3}}
        control.sock.sendall(b'{"op":"twice","args":{"number":1}}\n\n' * 100 + b'{"op":"echo"}\n')
        assert [json.loads(control.lines.readline()) for _ in range(101)] == [{"result": 2}] * 100 + [{"result": {}}]


def test_who_has_said_all_still_gets_the_answers(calls):
    with calls.control() as control:
        control.sock.sendall(b'{"op":"flood","args":{"mib":8}}\n')
        control.sock.shutdown(socket.SHUT_WR)
        answers = control.lines.read()
    assert answers.count('{"row"') == 8 and answers.endswith('{"result":null}\n')


def test_a_line_that_does_not_end(calls):
    with calls.control() as control:
        with pytest.raises(OSError):
            for _ in range(64):
                control.sock.sendall(b"x" * 65536)
        assert json.loads(control.lines.readline()) == {"error": "a request is longer than 1 MiB"}
    assert calls.call("echo") == {}


def test_who_sends_while_a_request_runs_is_bounded(calls):
    with calls.control() as control:
        control.sock.sendall(b'{"op":"silent"}\n')
        with pytest.raises(OSError):
            for _ in range(64):
                control.sock.sendall(b'{"op":"echo"}\n' * 5000)
    assert calls.call("echo") == {}


def test_who_does_not_read_is_closed(calls):
    with calls.control() as control:
        control.sock.sendall(b'{"op":"flood","args":{"mib":40}}\n')
        wait_until(lambda: "does not read what it asked for" in calls.log(), "the connection is given up")
        got = 0
        with pytest.raises(OSError):
            while True:
                n = len(control.sock.recv(1 << 20))
                if n == 0:
                    raise OSError("closed")
                got += n
    assert got < 20 << 20
    assert calls.call("echo") == {}


def test_a_stream_ends_with_its_client(calls):
    with calls.control() as control:
        control.sock.sendall(b'{"op":"stream"}\n')
        assert json.loads(control.lines.readline()) == {"row": {"closed": 0}}
        assert calls.call("counts")["streams"]
    wait_until(lambda: calls.call("counts") == {"closed": 1, "written": 0, "streams": False}, "the stream is closed")


def test_a_call_outlives_its_client(calls):
    with calls.control() as control:
        control.sock.sendall(b'{"op":"silent"}\n{"op":"echo"}\n')
    for _ in range(20):
        with calls.control() as control:
            control.sock.sendall(b'{"op":"twice","args":{"number":1}}\n')
    assert calls.call("twice", number=2) == 4


def send_with(control, line, fds):
    control.sock.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def test_descriptors(calls):
    before = calls.idle_fds()
    path = calls.folder / "out"
    with open(path, "w") as out, calls.control() as control:
        send_with(control, b'{"op":"file","args":{"file":"out"}}\n', [out.fileno()])
        assert json.loads(control.lines.readline()) == {"result": None}
        assert path.read_text() == "by the daemon\n"
        # too many, for an operation that takes none, for one that is not there, and for none at all
        for line in (b'{"op":"echo"}\n', b'{"op":"nothing"}\n', b"garbage\n"):
            send_with(control, line, [out.fileno()] * 4)
            control.lines.readline()
        send_with(control, b"{", [out.fileno()])
    wait_until(lambda: calls.fds() == before, "all descriptors are closed")


def test_connections_are_counted(calls):
    before = calls.idle_fds()
    held = [calls.control() for _ in range(64)]
    assert held[-1].call("echo") == {}
    with calls.control() as one_more:
        assert json.loads(one_more.lines.readline()) == {"error": "too many connections"}
        assert one_more.lines.readline() == ""
    for control in held:
        control.sock.close()
        control.lines.close()
    wait_until(lambda: calls.fds() == before, "the connections are closed")
    assert calls.call("echo") == {}


def test_noise(calls):
    rng = random.Random(20240601)
    pieces = [b"{", b"}", b'"op"', b":", b'"echo"', b'"args"', b",", b"[", b"]", b"\n", b"\x00", b"\xff", b"1", b"null",
              b'{"op":"echo","args":{"int":1}}\n', b'{"op":"twice","args":{"number":3}}\n', b'{"op":"stream"}\n']
    before = calls.idle_fds()
    for _ in range(200):
        with calls.control() as control:
            try:
                control.sock.sendall(b"".join(rng.choice(pieces) for _ in range(rng.randrange(200))))
            except OSError:
                pass
    wait_until(lambda: calls.fds() == before, "the connections are closed")
    assert calls.call("echo", int=1) == {"int": 1}


def test_writes_are_told_at_debug(calls):
    calls.call("log level", level="debug")
    calls.call("log level")
    wait_until(lambda: f"ctl: log level by user {os.getuid()}, process {os.getpid()}" in calls.log(), "the line")
    assert "ctl: echo" not in calls.log()
