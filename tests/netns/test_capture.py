# SPDX-License-Identifier: BSD-3-Clause
"""`tailplane capture`: what it writes is read by tools that we did not write."""

import signal
import subprocess

import pytest

from daemon import CLI, RUNTIME_DIR
from pair import CLIENT, GATEWAY, PORT, make_pair
from traffic import PingStream, ping, wait_ping
from wait import wait_until


def capture(pair, path, *words):
    return pair.gw.start(CLI, "-s", f"{RUNTIME_DIR}/ctl.sock", "capture", "--write", path, *words, name="capture")


FIELDS = ("ip.src", "ip.dst", "udp.srcport", "udp.dstport", "udp.length", "icmp.type", "ip.checksum.status")


def read(path):
    """The packets as tshark understands them, each a dict of FIELDS (empty where there is none)."""
    words = [w for field in FIELDS for w in ("-e", field)]
    done = subprocess.run(["tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-T", "fields", *words],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return [dict(zip(FIELDS, line.split("\t"))) for line in done.stdout.splitlines()]


def count(packets, **wanted):
    return sum(all(p[k.replace("_", ".")] == str(v) for k, v in wanted.items()) for p in packets)


@pytest.fixture
def pair(net):
    made = make_pair(net)
    wait_ping(made.cl, "10.9.0.1")
    return made


def test_inner_packets_by_filter(pair):
    path = pair.daemon.folder / "inner.pcapng"
    running = capture(pair, path, "--at", "inner", "--count", "10", "icmp and host 10.9.0.2")
    with PingStream(pair.cl, "10.9.0.1"):
        with PingStream(pair.cl, "fd09::1"):
            assert running.wait(10) == 0, running.log()
    packets = read(path)
    assert len(packets) == 10
    assert count(packets, ip_src="10.9.0.2", ip_dst="10.9.0.1", icmp_type=8) == 5
    assert count(packets, ip_src="10.9.0.1", ip_dst="10.9.0.2", icmp_type=0) == 5


def test_sealed_packets(pair):
    """Whole datagrams with good headers, both ways, and none of what is inside."""
    path = pair.daemon.folder / "sealed.pcapng"
    running = capture(pair, path, "--at", "sealed", "--count", "12", f"udp port {PORT}")
    with PingStream(pair.cl, "10.9.0.1"):
        assert running.wait(10) == 0, running.log()
    packets = read(path)
    assert len(packets) == 12
    for source, to in ((CLIENT, GATEWAY), (GATEWAY, CLIENT)):
        assert count(packets, ip_src=source, ip_dst=to, udp_srcport=PORT, udp_dstport=PORT,
                     udp_length=8 + 128, icmp_type="", ip_checksum_status=1) == 6, packets


def test_interrupt_ends_with_a_whole_file(pair):
    path = pair.daemon.folder / "both.pcapng"
    running = capture(pair, path)
    with PingStream(pair.cl, "10.9.0.1"):
        wait_until(lambda: path.exists() and path.stat().st_size > 4000, "packets are written")
        running.signal(signal.SIGINT)
        running.wait(10)
    packets = read(path)
    assert count(packets, icmp_type=8) and count(packets, udp_dstport=PORT)
    again = capture(pair, path, "--count", "2")
    assert ping(pair.cl, "10.9.0.1").lost == 0
    assert again.wait(10) == 0, again.log()


def test_full_disk(pair):
    running = capture(pair, "/dev/full")
    with PingStream(pair.cl, "10.9.0.1"):
        assert running.wait(10) == 1
    assert "No space left" in running.log()
    path = pair.daemon.folder / "after.pcapng"
    again = capture(pair, path, "--count", "2", "--at", "inner")
    with PingStream(pair.cl, "10.9.0.1"):
        assert again.wait(10) == 0, again.log()
    assert len(read(path)) == 2


def test_what_is_refused(pair):
    first = capture(pair, pair.daemon.folder / "first.pcapng")
    second = pair.daemon.folder / "second.pcapng"
    wait_until(lambda: (pair.daemon.folder / "first.pcapng").stat().st_size, "the first one runs")
    done = pair.daemon.cli("capture", "--write", second, check=False)
    assert done.returncode == 1 and "another capture is running" in done.stderr
    first.signal(signal.SIGINT)
    first.wait(10)
    for words, why in ((["hots 1"], "tcpdump expression"), (["--count", "0"], "count"), (["--count", "-5"], "count"),
                       (["--snaplen", "-1"], "snaplen"), (["--tunnel", "nothere"], "nothere")):
        done = pair.daemon.cli("capture", "--write", second, *words, check=False)
        assert done.returncode != 0 and why in done.stderr, (words, done)
    assert ping(pair.cl, "10.9.0.1").lost == 0
