# SPDX-License-Identifier: BSD-3-Clause
"""Flow control of HTTP/2 inside /ts2021: DATA is framed by us, so its windows are ours. The client's own
HTTP/2 ends a connection that sends more than it may."""

import pytest

from test_transport import clients, facts, frame, rpcs  # noqa: F401 (fixtures)
from wait import wait_until

MESSAGE = 4 + 109  # bytes of a message whose length is 0
WINDOW_MAX = (1 << 31) - 1


def update(stream, increment):
    """That the client's own HTTP/2 knows nothing of."""
    return frame(8, 0, stream, increment.to_bytes(4, "big"))


@pytest.fixture
def client(clients):
    return clients(hold=True)


def stream_of(client, rpcs, window):
    """One whose windows begin with that."""
    client.say(f"begin-with {window}")
    stream = client.begin("POST", "/machine/map", 10)
    assert client.hear("status")["status"] == 200
    facts(rpcs, held=1)
    return stream


def has(client, stream, n):
    """So much comes, and no more."""
    wait_until(lambda: client.tell(stream)["bytes"] >= n, f"{n} bytes have come")
    client.catch_up()
    assert client.tell(stream)["bytes"] == n


def ends_whole(client, rpcs, n):
    rpcs.call("rpc end")
    end = client.hear("end")
    assert (end["bytes"], end["end"]) == (n, 0)


def test_none_to_begin_with(client, rpcs):
    stream = stream_of(client, rpcs, 0)
    rpcs.call("rpc send", len=0, times=1)
    has(client, stream, 0)
    for n in range(1, 6):
        client.say(f"give {stream} 1")
        has(client, stream, n)
    client.say(f"give {stream} {MESSAGE}")
    has(client, stream, MESSAGE)
    ends_whole(client, rpcs, MESSAGE)


def test_byte_by_byte_to_the_end(client, rpcs):
    stream = stream_of(client, rpcs, 0)
    rpcs.call("rpc send", len=0, times=1)
    rpcs.call("rpc end")
    for _ in range(MESSAGE):
        client.say(f"give {stream} 1")
    end = client.hear("end")
    assert (end["bytes"], end["messages"], end["end"]) == (MESSAGE, 1, 0)


def test_a_reply_without_window(client, rpcs):
    client.say("begin-with 0")
    stream = client.begin("POST", "/machine/echo", 10)
    assert client.hear("status")["status"] == 200
    has(client, stream, 0)
    client.say(f"give {stream} 10")
    assert client.hear("end")["bytes"] == 10


def test_others_go_on_meanwhile(client, rpcs):
    stream = stream_of(client, rpcs, 0)
    rpcs.call("rpc send", len=1_000_000, times=1)
    for _ in range(3):
        other = client.begin("POST", "/machine/echo", 5)
        client.say(f"give {other} 5")
        assert client.hear("end")["bytes"] == 5
    has(client, stream, 0)


def test_raised_while_data_waits(client, rpcs):
    stream = stream_of(client, rpcs, 0)
    rpcs.call("rpc send", len=0, times=2)
    has(client, stream, 0)
    client.say("begin-with 10")
    has(client, stream, 10)
    client.say(f"give {stream} 5")
    has(client, stream, 15)
    client.say("begin-with 100")
    has(client, stream, 105)
    client.say("begin-with 1000")
    ends_whole(client, rpcs, 2 * MESSAGE)


def test_lowered_below_what_was_sent(client, rpcs):
    stream = stream_of(client, rpcs, 100)
    rpcs.call("rpc send", len=0, times=2)
    has(client, stream, 100)
    client.say("begin-with 0")  # 100 less than none
    client.say(f"give {stream} 100")
    has(client, stream, 100)
    client.say(f"give {stream} 1")
    has(client, stream, 101)
    client.say("begin-with 100")
    has(client, stream, 201)
    client.say("begin-with 200")
    ends_whole(client, rpcs, 2 * MESSAGE)


def test_lowered_with_window_left(client, rpcs):
    stream = stream_of(client, rpcs, 100)
    client.say(f"give {stream} 1000")
    rpcs.call("rpc send", len=0, times=1)
    has(client, stream, MESSAGE)
    client.say("begin-with 0")
    client.catch_up()
    ends_whole(client, rpcs, MESSAGE)


@pytest.mark.parametrize("window, frames, ends", [
    (0, [("stream", WINDOW_MAX)], False),
    (0, [("stream", WINDOW_MAX), ("stream", 1)], True),
    (1, [("stream", WINDOW_MAX)], True),
    (65_535, [("stream", WINDOW_MAX - 65_535)], False),
    (65_535, [("stream", WINDOW_MAX - 65_534)], True),
    (65_535, [("stream", WINDOW_MAX - 65_535), ("all", 65_535)], False),
    (65_535, [("stream", WINDOW_MAX - 65_535), ("all", 65_536)], True),
    (65_535, [("stream", WINDOW_MAX - 65_535), ("all", 0), ("stream", 65_535)], False),
    (0, [("all", WINDOW_MAX)], False),
    (0, [("stream", 1), ("all", WINDOW_MAX)], True),
], ids=str)
def test_more_than_there_is(client, rpcs, window, frames, ends):
    """RFC 9113, sections 6.9.1 and 6.9.2: an update or a setting that makes a window too large ends all."""
    stream = stream_of(client, rpcs, window)
    for whose, n in frames:
        client.catch_up()
        client.say(f"begin-with {n}" if whose == "all" else "text " + update(stream, n).hex())
    if ends:
        client.hear("closed")
    else:
        client.catch_up()
        rpcs.call("rpc end")
        assert client.hear("end")["end"] == 0
