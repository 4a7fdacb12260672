# SPDX-License-Identifier: BSD-3-Clause
"""Data that nobody answers leads to a new handshake after 15 s; once that succeeded, there is peace.
Starts early and is looked at late: it takes a minute of real time, beside the other tests."""

import time

import pytest

from machine import Network, need_namespaces
from pair import make_pair
from traffic import ping, wait_ping
from wait import wait_until

SECONDS = 65


@pytest.fixture(scope="session")
def silenced(tmp_path_factory):
    """What the gateway sent was lost before the client; nobody sends since."""
    need_namespaces()
    net = Network(tmp_path_factory.mktemp("silence"))
    try:
        pair = make_pair(net)
        wait_ping(pair.cl, "10.9.0.1")
        # wireguard-go starts its clock after it has sent an initiation: an answer that comes in between does not stop
        # it, and there is a second handshake 5 s later
        wait_until(lambda: time.time() - pair.at_client().latest_handshake > 7, "the handshake is over", every=0.5)
        pair.before = pair.at_client().latest_handshake
        # the client's keep-alives (32 bytes and a UDP header) would end the silence
        pair.cl.run("nft", "add table inet quiet; add chain inet quiet out { type filter hook output priority 0; };"
                    "add rule inet quiet out udp length 40 drop;"
                    "add chain inet quiet in { type filter hook input priority 0; };"
                    "add rule inet quiet in udp sport 51820 drop")
        assert ping(pair.gw, "10.9.0.2", count=1).received == 0
        pair.cl.run("nft", "flush chain inet quiet in")
        yield time.monotonic(), pair
    finally:
        net.close()


@pytest.mark.first
def test_silence_begins(silenced):
    assert silenced[1].before


@pytest.mark.last
def test_silence(silenced):
    began, pair = silenced
    wait_until(lambda: time.monotonic() - began >= SECONDS, "a minute", timeout=SECONDS + 5, every=0.5)
    assert 13 <= pair.at_client().latest_handshake - pair.before <= 30
