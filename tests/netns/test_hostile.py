# SPDX-License-Identifier: BSD-3-Clause
"""Bad input on the WireGuard port, on the topology of pair.py: the daemon lives, counts, stays
silent to what does not authenticate, and the established tunnel works on."""

import itertools
import random

import hostile
from middlebox import TO_SERVER, Middlebox
from pair import CLIENT, GATEWAY, PORT, make_pair
from traffic import iperf3, ping, transfer, wait_ping
from wait import wait_until
from wg import newest


def counted(pair, word=""):
    return sum(n for name, n in pair.daemon.drops().items() if word in name)


def refused(pair):
    """Handshake messages that were not believed; their counters are the tunnel's."""
    counters = pair.daemon.call("tunnels")[0]["handshakes"]
    return sum(n for name, n in counters.items() if name.startswith("refused_"))


def test_random_datagrams(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    rng = random.Random(1)
    with hostile.Flood(pair.cl, CLIENT, (GATEWAY, PORT), lambda: hostile.garbage(rng), 5000) as flood:
        wait_until(lambda: flood.sent >= 10000, "10 000 datagrams", timeout=30)
        assert ping(pair.cl, "10.9.0.1").lost == 0
    assert not flood.answers, "only silence for what does not authenticate"
    wait_until(lambda: counted(pair) + refused(pair) >= 0.99 * flood.sent, "each loss has a name")


def test_mutated_messages(net):
    """Real messages of a real session, changed: handshakes and data alike."""
    pair = make_pair(net, client_endpoint="127.0.0.1:5000")
    with Middlebox(pair.cl, ("127.0.0.1", 5000), (GATEWAY, PORT)) as box:
        box.keep = True
        wait_ping(pair.cl, "10.9.0.1")
        transfer(pair.cl, pair.gw, "10.9.0.1", megabytes=1)
        box.keep = False
        seen = [d for d in box.seen[TO_SERVER] if d]
        assert {d[0] for d in seen} >= {hostile.INITIATION, hostile.TRANSPORT}
        handshake_before = pair.at_gateway()["latest_handshake"]
        rng = random.Random(2)
        originals = set(seen)
        changed = [m for m in (hostile.mutated(rng, rng.choice(seen)) for _ in range(10000)) if m not in originals]
        make = iter(changed * 2).__next__
        with hostile.Flood(pair.cl, CLIENT, (GATEWAY, PORT), make, 5000) as flood:
            wait_until(lambda: flood.sent >= len(changed), "all sent", timeout=30)
            assert ping(pair.cl, "10.9.0.1").lost == 0
        assert not set(flood.answers) - {hostile.COOKIE_REPLY}
        assert pair.at_gateway()["latest_handshake"] == handshake_before
        assert pair.at_gateway()["endpoint"].startswith(f"{CLIENT}:")


def test_replayed_and_reordered(net):
    """Every datagram twice, and out of order within 32: each arrives once, none is believed twice."""
    pair = make_pair(net, client_endpoint="127.0.0.1:5000", mtu=1380)
    rng = random.Random(3)
    held = []

    def shuffle(direction, datagram):
        if direction != TO_SERVER or datagram[0] != hostile.TRANSPORT or len(datagram) < 500:
            return [datagram]
        held.append(datagram)
        if len(held) < 32:
            return []
        out = held * 2
        held.clear()
        rng.shuffle(out)
        return out

    with Middlebox(pair.cl, ("127.0.0.1", 5000), (GATEWAY, PORT)) as box:
        wait_ping(pair.cl, "10.9.0.1")
        box.policy = shuffle
        receiver = pair.gw.udp("10.9.0.1", 7000)
        receiver.settimeout(5)
        sender = pair.cl.udp("10.9.0.2")
        count = 32 * 40
        got = []
        for n in range(count):
            sender.sendto(n.to_bytes(4, "big") + bytes(1000), ("10.9.0.1", 7000))
            if n % 32 == 31:  # the box has let a batch go
                got += [int.from_bytes(receiver.recv(2000)[:4], "big") for _ in range(32)]
        receiver.close()
        sender.close()
        assert sorted(got) == list(range(count)) and got != sorted(got)
        wait_until(lambda: counted(pair, "replay") >= count, "each second copy is counted as replay")


def test_replayed_initiation(net):
    """An initiation that was believed once (TAI64N) is not believed again."""
    pair = make_pair(net, client_endpoint="127.0.0.1:5000")
    with Middlebox(pair.cl, ("127.0.0.1", 5000), (GATEWAY, PORT)) as box:
        box.keep = True
        wait_ping(pair.cl, "10.9.0.1")
        old = box.wait_seen(TO_SERVER, hostile.INITIATION)
        endpoint = pair.at_gateway()["endpoint"]
        with hostile.Flood(pair.cl, CLIENT, (GATEWAY, PORT), lambda: old, 20) as flood:
            wait_until(lambda: flood.sent >= 20, "replays sent")
            assert ping(pair.cl, "10.9.0.1").lost == 0
        assert hostile.RESPONSE not in flood.answers
        assert pair.at_gateway()["endpoint"] == endpoint


def test_flood_leaves_the_tunnel_its_throughput(net):
    """A handshake flood costs an established tunnel less than a tenth of what it carries. The yardstick is
    the same flood at a port where nobody listens, so the sender's own cost is in both figures.
    A machine that does other things as well disturbs single runs: one good run of five proves it."""
    pair = make_pair(net, newest())
    pair.gw.sysctl("net.ipv4.icmp_ratemask", "0")
    wait_ping(pair.cl, "10.9.0.1")
    messages = [hostile.initiation(pair.gw_key.public_bytes) for _ in range(5000)]

    def throughput(port):
        make = itertools.cycle(messages).__next__
        with hostile.Flood(pair.cl, CLIENT, (GATEWAY, port), make, per_second=3000) as flood:
            flow = iperf3(pair.cl, pair.gw, "10.9.0.1", seconds=3)
        return flow.bits_per_second, flood

    ratios = []
    while len(ratios) < 5 and max(ratios, default=0) < 0.9:
        quiet, _ = throughput(9)
        flooded, flood = throughput(PORT)
        ratios.append(flooded / quiet)
    assert max(ratios) >= 0.9, f"of the yardstick's throughput: {ratios}"
    assert flood.sent > 6000 and hostile.RESPONSE not in flood.answers
    counters = pair.daemon.call("tunnels")[0]["handshakes"]
    assert refused(pair) + counters["cookies_sent"] >= 0.95 * len(ratios) * flood.sent
