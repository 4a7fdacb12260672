# SPDX-License-Identifier: BSD-3-Clause
"""Metrics over HTTP, and what else comes to that port."""

import http.client
import random
import re
import socket

import pytest

from daemon import OperationFailed
from wait import wait_until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def served(daemon):
    daemon.port = free_port()
    daemon.configure("calls", core={"metrics": {"listen": f"127.0.0.1:{daemon.port}"}})
    return daemon.start()


def get(daemon, path="/metrics", method="GET", headers=None):
    conn = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    conn.request(method, path, headers=headers or {})
    answer = conn.getresponse()
    answer.text = answer.read().decode()
    conn.close()
    return answer


def raw(daemon, data, timeout=10):
    """All that comes back for these bytes until the other side closes."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        out = b""
        try:
            while piece := s.recv(65536):
                out += piece
        except ConnectionResetError:
            pass
        return out


SAMPLE = re.compile(r'([a-z_:]+)(\{[a-z_]+="(\\.|[^"\\\n])*"(,[a-z_]+="(\\.|[^"\\\n])*")*\})? (NaN|[+-]?Inf|-?[0-9.e+-]+)')


def parse(text):
    """name+labels -> value; checks what Prometheus would."""
    types, samples, current = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in types, f"{current} twice"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == current and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = match[1]
            base = re.sub("_(bucket|sum|count)$", "", name) if types.get(current) == "histogram" else name
            assert base == current, line
            assert types[base] != "counter" or name.endswith("_total"), line
            assert (name, match[2]) not in samples, line
            samples[name, match[2]] = float(match[6])
    return {name + (labels or ""): value for (name, labels), value in samples.items()}


def test_metrics(served):
    served.idle_fds()
    answer = get(served)
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    metrics = parse(answer.text)
    assert metrics["tailplane_process_resident_memory_bytes"] > 1e6
    assert metrics['tailplane_process_cpu_seconds_total{mode="user"}'] >= 0
    assert metrics['tailplane_process_open_fds{kind="socket"}'] >= 3
    assert sum(v for k, v in metrics.items() if k.startswith("tailplane_process_open_fds")) == pytest.approx(served.fds(), abs=2)
    assert metrics["tailplane_loop_lag_seconds_count"] > 0
    assert metrics['tailplane_plugin_up{plugin="calls"}'] == 1
    assert metrics['tailplane_test_labels{text="a \\"quoted\\" \\\\ and\\nbroken"}'] == 0.25
    buckets = [v for k, v in metrics.items() if k.startswith("tailplane_loop_lag_seconds_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == metrics["tailplane_loop_lag_seconds_count"]
    assert set(parse(served.call("metrics"))) == set(metrics)


def test_jobs_are_counted(served):
    served.call("twice", number=1)
    metrics = parse(get(served).text)
    assert metrics['tailplane_jobs_total{job="answer"}'] == 1
    assert metrics["tailplane_jobs_queued"] == metrics["tailplane_jobs_running"] == 0


def test_who_holds_the_loop_is_named(served):
    served.call("hold")
    served.call("hold quietly")
    metrics = parse(get(served).text)
    # a busy machine may add others, and more that is nobody's
    assert metrics['tailplane_loop_held_total{callback="(no single callback)"}'] >= 1
    assert metrics['tailplane_loop_held_total{callback="hold"}'] == 1
    assert not [k for k in metrics if "quietly" in k]
    assert metrics["tailplane_loop_lag_max_seconds"] >= 0.06
    wait_until(lambda: re.search(r"loop: hold held the loop for (6|7|8|9|\d\d)\d*\.\d ms", served.log()), "the warning")


def test_paths_and_methods(served):
    head = get(served, method="HEAD")
    assert head.status == 200 and head.text == "" and int(head.headers["Content-Length"]) > 1000
    assert get(served, "/").status == 200
    assert get(served, "/metrics?x=1").status == 200
    assert get(served, "/metrics/").status == get(served, "/etc/passwd").status == get(served, "*").status == 404
    assert get(served, method="CONNECT", path="a:1").status == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = get(served, method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), method


def test_one_connection_serves_many_requests(served):
    conn = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    for _ in range(5):
        conn.request("GET", "/metrics")
        sock = conn.sock
        assert conn.getresponse().read() and conn.sock is sock
    conn.request("GET", "/", headers={"Connection": "close"})
    answer = conn.getresponse()
    assert answer.headers["Connection"] == "close" and answer.read()
    conn.close()


@pytest.mark.parametrize("data, status", [
    (b"hello\r\n\r\n", b"400"),
    (b"GET /metrics\r\n\r\n", b"505"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
    (b"GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
    (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n", b"414"),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, b"431"),
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 9000, b"431"),
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nbody", b"405"),
    (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"413"),
])
def test_garbage(served, data, status):
    answer = raw(served, data)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
    assert b"Connection: close" in answer and answer.count(b"HTTP/1.1") == 1
    assert get(served).status == 200


def test_noise(served):
    rng = random.Random(7)
    before = served.idle_fds()
    pieces = [b"GET ", b"/metrics", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b"Content-Length: 5", b":", b"Upgrade: h2c"]
    for _ in range(200):
        raw(served, b"".join(rng.choice(pieces) for _ in range(rng.randrange(30))))
    wait_until(lambda: served.fds() == before, "the connections are closed")
    assert get(served).status == 200


def test_connections_are_counted(served):
    held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(16)]
    held[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert held[-1].recv(100)
    assert raw(served, b"GET / HTTP/1.1\r\n\r\n") == b""
    for s in held:
        s.close()
    wait_until(lambda: raw(served, b"GET / HTTP/1.1\r\n\r\n"), "there is room again")


def test_port_in_use(daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon.configure("base", core={"metrics": {"listen": address}})
        said = daemon.fails()
    assert f"cannot listen on {address} for metrics: Address already in use" in said and "core.metrics.listen" in said


def test_remote_addresses_need_a_word(daemon):
    port = free_port()
    daemon.configure(core={"metrics": {"listen": f"0.0.0.0:{port}", "allow_remote": True}})
    daemon.port = port
    daemon.start()
    assert get(daemon).status == 200


def test_a_reload_opens_the_listener_to_others(served):
    """The same port on all addresses: the old socket and the new one are there together for a moment."""
    one = {"listen": f"127.0.0.1:{served.port}"}
    every = {"listen": f"0.0.0.0:{served.port}", "allow_remote": True}
    for metrics in (every, one, every):
        served.configure("calls", core={"metrics": metrics})
        served.call("reload")
        assert get(served).status == 200
    socket.create_connection(("127.0.0.2", served.port), timeout=10).close()


def test_a_reload_moves_the_listener(served):
    old = served.port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served.configure("calls", core={"metrics": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}})
        with pytest.raises(OperationFailed, match="cannot listen on .*Address already in use"):
            served.call("reload")
        assert get(served).status == 200
    served.port = free_port()
    served.configure("calls", core={"metrics": {"listen": f"127.0.0.1:{served.port}"}})
    served.call("reload")
    assert get(served).status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old))
    served.configure("calls")
    served.call("reload")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port))
