# SPDX-License-Identifier: BSD-3-Clause
"""Start, stop, crash and bad starts of a gateway, on the topology of pair.py."""

import os
import re
from pathlib import Path

from daemon import DAEMON, Tailplaned, gateway, peer, tunnel
from machine import Background
from pair import CLIENT, PORT, make_pair
from traffic import PingStream, iperf3, ping, wait_ping
from wait import observe, wait_until
from wg import new_key


def alone(net, **tunnel_settings):
    """A gateway without a client: its own machine, an unused cable."""
    gw, other = net.machine("gateway"), net.machine("other")
    net.link(gw, other, ["192.0.2.1/24"], ["192.0.2.2/24"])
    key = new_key()
    peers = tunnel_settings.pop("peers", [peer("client", new_key(), ["10.9.0.2/32"])])
    return gw, Tailplaned(gw, gateway(tunnel("wg0", key, ["10.9.0.1/24"], peers, **tunnel_settings)))


def state_of(machine):
    """What a daemon may leave behind in a machine: links, routes, rules, sockets."""
    return {
        "links": machine.interfaces(),
        "routes": machine.run("ip", "route").stdout + machine.run("ip", "-6", "route").stdout,
        "rules": machine.run("nft", "list", "ruleset").stdout,
        "udp": machine.run("ss", "-Hlun").stdout,
        "wg": sorted(os.listdir(machine.path("/run/wireguard"))) if machine.path("/run/wireguard").exists() else [],
    }


def test_stop_leaves_nothing(net):
    gw, daemon = alone(net)
    before = state_of(gw)
    daemon.start()
    assert "wg0" in gw.interfaces() and f":{PORT}" in state_of(gw)["udp"]
    daemon.stop()
    assert state_of(gw) == before


def test_kill_and_restart(net):
    """After kill -9 the next start finds nothing in its way and the client comes back by itself."""
    pair = make_pair(net, keepalive="1s", initiator="gateway")
    wait_ping(pair.cl, "10.9.0.1")
    for _ in range(2):
        pair.daemon.program.kill()
        pair.daemon.start()
        wait_ping(pair.cl, "10.9.0.1", timeout=20)
    assert ping(pair.gw, "10.9.0.2").lost == 0
    pair.daemon.stop()
    assert "wg0" not in pair.gw.interfaces()


def test_restart_keeps_clients(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    pair.daemon.restart()
    wait_ping(pair.cl, "10.9.0.1", timeout=20)


def test_reload_adds_a_peer_without_loss(net):
    """The established peer's pings go on over a reload that adds another."""
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    peers = [peer("client", pair.cl_key, ["10.9.0.2/32", "fd09::2/128"]),
             peer("second", new_key(), ["10.9.0.3/32"])]
    pair.daemon.configure(gateway(
        tunnel("wg0", pair.gw_key, ["10.9.0.1/24", "fd09::1/64"], peers, PORT, 1420)))
    with PingStream(pair.cl, "10.9.0.1"):
        pair.daemon.call("reload")
    assert len(pair.daemon.peers()) == 2


def fails_to_start(daemon, *words):
    daemon.start(wait=False)
    assert daemon.program.wait(15) != 0
    log = daemon.program.log()
    assert all(re.search(w, log) for w in words), log
    assert "ERROR: AddressSanitizer" not in log


def test_tun_name_taken(net):
    gw, daemon = alone(net)
    gw.run("ip", "link", "add", "wg0", "type", "bridge")
    fails_to_start(daemon, "wg0")


def test_port_in_use(net):
    gw, daemon = alone(net)
    with gw.udp("0.0.0.0", PORT):
        fails_to_start(daemon, str(PORT), "in use")


def test_open_key_file_is_refused(net):
    gw, daemon = alone(net)
    key = next(daemon.state_dir.glob("*.private_key"))
    key.chmod(0o644)
    fails_to_start(daemon, "chmod 0?600", key.name)


def test_endpoint_that_does_not_resolve(net):
    """The daemon starts, says so, and works for the others."""
    gw, daemon = alone(net, peers=[
        peer("nowhere", new_key(), ["10.9.0.9/32"], endpoint="nowhere.invalid:51820", persistent_keepalive="1s"),
        peer("there", new_key(), ["10.9.0.2/32"], endpoint=f"{CLIENT}:{PORT}", persistent_keepalive="1s"),
    ])
    with net.machines[1].udp(CLIENT, PORT) as other:
        other.settimeout(10)
        daemon.start()
        assert len(other.recv(2048)) == 148, "a handshake initiation"
    wait_until(lambda: "nowhere.invalid" in daemon.program.log(), "the log names the endpoint")


def test_without_permission(net):
    """No capabilities: a clear error, no half start."""
    gw, daemon = alone(net)
    done = gw.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", DAEMON, "-c", daemon.config_file,
                  check=False)
    assert done.returncode == 1
    assert re.search("permitted|permission|CAP_NET_ADMIN", done.stderr + done.stdout, re.I), done.stderr
    assert "wg0" not in gw.interfaces()


def test_two_gateways_meet(net):
    """Both ends are ours: handshake, both families, a name as endpoint."""
    left, right = net.machine("left"), net.machine("right")
    net.link(left, right, ["192.0.2.1/24"], ["192.0.2.2/24"])
    keys = new_key(), new_key()
    ends = []
    for n, machine in enumerate((left, right)):
        other = peer("other", keys[1 - n], [f"10.9.0.{2 - n}/32"], endpoint=f"192.0.2.{2 - n}:{PORT}")
        ends.append(Tailplaned(machine, gateway(
            tunnel("wg0", keys[n], [f"10.9.0.{n + 1}/24"], [other]))).start())
    wait_ping(left, "10.9.0.2")
    assert ping(right, "10.9.0.1").lost == 0


def test_client_to_client_through_the_hub(net):
    """Two peers of one gateway reach each other through it when it forwards."""
    hub, a, b = net.machine("hub"), net.machine("a"), net.machine("b")
    net.link(hub, a, ["192.0.2.1/30"], ["192.0.2.2/30"], a_dev="eth0")
    net.link(hub, b, ["192.0.2.5/30"], ["192.0.2.6/30"], a_dev="eth1")
    keys = new_key(), new_key(), new_key()
    peers = [peer("a", keys[1], ["10.9.0.2/32"]), peer("b", keys[2], ["10.9.0.3/32"])]
    Tailplaned(hub, gateway(tunnel("wg0", keys[0], ["10.9.0.1/24"], peers, relay_peers=True))).start()
    for n, (machine, address) in enumerate(((a, "192.0.2.1"), (b, "192.0.2.5")), 1):
        Tailplaned(machine, gateway(tunnel("wg0", keys[n], [f"10.9.0.{n + 1}/24"], [
            peer("hub", keys[0], ["10.9.0.0/24"], endpoint=f"{address}:{PORT}")]))).start()
        wait_ping(machine, "10.9.0.1")
    assert ping(a, "10.9.0.3").lost == 0 and ping(b, "10.9.0.2").lost == 0


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_costs_next_to_nothing(net):
    """Adaptive polling: under 3 % of a core without traffic, right after a burst of it."""
    pair = make_pair(net, workers=2)
    wait_ping(pair.cl, "10.9.0.1")
    iperf3(pair.cl, pair.gw, "10.9.0.1", seconds=1)
    pid = pair.daemon.program.pid
    before = cpu_seconds(pid)
    observe(4)
    assert (cpu_seconds(pid) - before) / 4 < 0.03
    assert ping(pair.cl, "10.9.0.1").lost == 0


def worker_tasks(pid):
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()
            if (task / "comm").read_text().startswith("worker-")]


def worker_nice(pid):
    """os.getpriority knows processes only, but Linux takes a thread's number for one."""
    return [os.getpriority(os.PRIO_PROCESS, task) for task in worker_tasks(pid)]


def test_workers_precede_who_shares_their_core(net):
    """Unless they are pinned, when somebody has arranged the cores; the control loop never does."""
    pair = make_pair(net)
    config, pid = pair.daemon.config, pair.daemon.program.pid
    assert worker_nice(pid) == [-10]
    for changes, nice in (({"worker_nice": 3}, 3), ({"worker_nice": -3, "cores": [0]}, 0)):
        pair.daemon.configure({**config, "dataplane": {**config["dataplane"], **changes}})
        pair.daemon.cli("reload")
        wait_until(lambda: worker_nice(pid) == [nice], f"a worker with the nice value {nice}")
        wait_ping(pair.cl, "10.9.0.1", timeout=20)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 0


def test_worker_waits_for_more_only_while_packets_come_in_bulk(net):
    pair = make_pair(net)
    wait_ping(pair.cl, "10.9.0.1")
    [worker] = worker_tasks(pair.daemon.program.pid)
    assert os.sched_getscheduler(worker) == os.SCHED_OTHER
    load = Background(iperf3, pair.cl, pair.gw, "10.9.0.1", seconds=3)
    wait_until(lambda: os.sched_getscheduler(worker) == os.SCHED_BATCH, "a worker that waits for more", 20)
    load.result(40)
    wait_until(lambda: os.sched_getscheduler(worker) == os.SCHED_OTHER, "a worker that does not wait", 20)


def test_deleted_interface_is_made_anew(net):
    """A reload brings back the interface that somebody deleted, its addresses and routes."""
    pair = make_pair(net)
    pair.daemon.cli("peers", "set", "client", "--allowed-ips", "10.9.0.2/32,fd09::2/128,10.77.0.0/16")
    wait_ping(pair.cl, "10.9.0.1")

    def port():
        return next(p for p in pair.daemon.call("ports") if p["name"] == "wg0")

    def had():
        """What is the daemon's: the kernel adds its own to the addresses."""
        said = pair.gw.run("ip", "-br", "addr", "show", "wg0").stdout
        return ([a for a in ("10.9.0.1/24", "fd09::1/64") if a in said],
                "10.77.0.0/16 dev wg0" in pair.gw.run("ip", "route").stdout)

    before = had()
    assert before == (["10.9.0.1/24", "fd09::1/64"], True)
    for _ in range(2):
        pair.gw.run("ip", "link", "del", "wg0")
        wait_until(lambda: port()["state"] == "down", "the port is down")
        pair.daemon.call("reload")
        assert port()["state"] == "up" and port()["reason"] == ""
        assert had() == before
        wait_ping(pair.gw, "10.9.0.2")
        wait_ping(pair.cl, "fd09::1")
    pair.daemon.call("reload")  # nothing is wrong: nothing is made
    assert pair.daemon.program.log().count("was made anew") == 2
