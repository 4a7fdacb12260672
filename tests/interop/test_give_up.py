# SPDX-License-Identifier: BSD-3-Clause
"""Who has not answered for 90 s is given up, and an answer that comes later is none.
Starts early and is looked at late: it takes that long in real time, beside the other tests."""

import time

import pytest

from machine import Network, need_namespaces
from middlebox import TO_CLIENT, TO_SERVER, Middlebox
from pair import CLIENT, PORT, make_pair
from traffic import ping
from wait import wait_until

INITIATION, RESPONSE = 1, 2
REKEY_ATTEMPT_TIME, REKEY_TIMEOUT = 90, 5


@pytest.fixture(scope="session")
def unanswered(tmp_path_factory):
    """The gateway calls; what the client answers is held back."""
    need_namespaces()
    net = Network(tmp_path_factory.mktemp("give-up"))
    try:
        pair = make_pair(net, initiator="gateway", client_port=PORT + 1)

        def policy(direction, datagram):
            return [] if direction == TO_CLIENT and datagram[0] == RESPONSE else [datagram]

        with Middlebox(pair.cl, (CLIENT, PORT), (CLIENT, PORT + 1), policy) as box:
            box.keep = True
            pair.daemon.cli("peers", "set", "client", "--endpoint", f"{CLIENT}:{PORT}")
            ping(pair.gw, "10.9.0.2", count=1)
            box.wait_seen(TO_SERVER, INITIATION)
            yield time.monotonic(), pair, box
    finally:
        net.close()


@pytest.mark.first
def test_nobody_answers(unanswered):
    _, pair, box = unanswered
    box.wait_seen(TO_CLIENT, RESPONSE)
    assert pair.at_gateway()["latest_handshake"] == 0


@pytest.mark.last
def test_late_answer(unanswered):
    began, pair, box = unanswered
    given_up = REKEY_ATTEMPT_TIME + 2 * REKEY_TIMEOUT
    wait_until(lambda: time.monotonic() - began >= given_up, "90 s", timeout=given_up + 5, every=0.5)
    calls = [d for d in box.seen[TO_SERVER] if d[0] == INITIATION]
    late = [d for d in box.seen[TO_CLIENT] if d[0] == RESPONSE][-1]
    assert 15 <= len(calls) <= 19
    assert late[8:12] == calls[-1][4:8], "an answer to the last call"

    def unexpected():
        return pair.daemon.call("tunnels")[0]["handshakes"]["refused_unexpected"]

    before = unexpected()
    box.send(TO_CLIENT, late)
    wait_until(lambda: unexpected() == before + 1, "the answer is refused")
    assert pair.at_gateway()["latest_handshake"] == 0
