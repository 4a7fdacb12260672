# SPDX-License-Identifier: BSD-3-Clause
"""A node changes its key while the relay beside the control server is its only way. Starts first, is looked
at last: how long the key before stays good is real time, beside the other tests."""

import base64
import json
import time

import pytest

from derp_client import Talker
from machine import Network, need_namespaces
from relays import ADDRESS, REGION, URL, Embedded, relayed, wall
from traffic import PingStream
from wait import wait_until

GOOD_FOR = 60  # seconds that the key before is


def private_key(client):
    """That of tailscaled's only profile, in hex."""
    state = json.loads((client.folder / "tailscaled.state").read_text())
    profile = json.loads(base64.b64decode(next(v for k, v in state.items() if k.startswith("profile-"))))
    return profile["Config"]["PrivateNodeKey"].removeprefix("privkey:")


class Rotation:
    """a and b talk, and so do others; a changes its key. `before` and `during` are connections with a's old key."""

    def __init__(self, net):
        self.world = world = Embedded(net)
        self.a, self.b, self.c, self.d = (world.joined(name, wall) for name in "abcd")
        relayed(self.a, self.b)
        relayed(self.c, self.d)
        self.file = net.dir / "old.key"
        self.file.touch(mode=0o600)
        self.file.write_text(private_key(self.a))
        self.old = world.key_of("a")
        self.before, self.during = self.talker(), None

    def talker(self, *args):
        """A connection with a's first key."""
        node = self.world.ask("derp", "map")["Regions"][str(REGION)]["Nodes"][0]
        talker = Talker(self.world.server, "--key", self.file, *args, "--cert", node["CertName"],
                        f"https://{ADDRESS}:{node['DERPPort']}")
        assert f"nodekey:{talker.key}" == self.old
        return talker

    def others(self):
        """How long those whom it does not concern have been connected, in seconds."""
        rows = self.world.rows()
        return [rows[self.world.key_of(name)]["connected"] / 1e9 for name in "bcd"]


@pytest.fixture(scope="session")
def rotation(tmp_path_factory):
    need_namespaces()
    network = Network(tmp_path_factory.mktemp("rotation"))
    try:
        yield Rotation(network)
    finally:
        network.close()


@pytest.mark.first
def test_rotation(rotation):
    """Both keys are admitted: what is connected with the old one stays, and it is let in anew, while the node is
    there with the new one; of the others not a ping is lost."""
    world = rotation.world
    rotation.before.wait("up")
    with PingStream(rotation.c.machine, rotation.d.ip4, interval=0.1):
        rotation.began = time.monotonic()
        rotation.a.up(URL, world.key(), "--force-reauth")
        wait_until(lambda: world.key_of("a") != rotation.old, "the key is another")
        new = world.key_of("a")
        wait_until(lambda: new in world.connected(), "it is connected with the new key", 30)
        rotation.during = rotation.talker()
        rotation.during.wait("up")
        relayed(rotation.a, rotation.b)
        assert not rotation.before.seen("down") and world.connected() >= {rotation.old, new}
        assert time.monotonic() - rotation.began < GOOD_FOR


@pytest.mark.last
def test_rotation_ends(rotation):
    """The old key's connections are closed and it is not let in again; nobody else is touched."""
    world, left = rotation.world, GOOD_FOR - (time.monotonic() - rotation.began)
    for talker in (rotation.before, rotation.during):
        talker.wait("down", timeout=max(left, 0) + 20)
    wait_until(lambda: rotation.old not in world.connected(), "the old key has no connection")
    denied = world.counter("handshakes_denied")
    with rotation.talker("--once") as late:
        late.wait("down")
        assert not late.seen("up")
    assert world.counter("handshakes_denied") > denied
    since = time.monotonic() - rotation.began
    assert min(rotation.others()) > since
    relayed(rotation.a, rotation.b)
    relayed(rotation.c, rotation.d)
