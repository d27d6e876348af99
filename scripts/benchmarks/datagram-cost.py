"""PINGs that a node answers per second of CPU time, against a bare libuv echo of the same bytes; drops and handshakes.

The node is a whole `Peer` on its own socket; the echo is C on libuv's recvmmsg (peers/echo.c). One sender for both, on its
own core, keeps 128 datagrams in flight; PINGs are sealed before the clock starts, PONGs opened after it stops. Node and
echo take turns. Rates are per CPU time, so that other work on the machine doesn't count. Drops and handshakes are those of `crypto`.
"""
import json
import os
import subprocess

import harness
from peers import install
from peers.network import Network, ours, quiet


def load(bench, to, pid, count, size):
    cores = sorted(os.sched_getaffinity(0))
    words = ["ping-load", "--to", to, "--pid", str(pid), "--count", str(count), "--size", str(size)]
    done = subprocess.run(
        [bench.program("starling-bench"), *words], capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}))
    if done.returncode != 0:
        raise harness.CannotMeasure(done.stderr.strip())
    report = json.loads(done.stdout)
    if report["answered"] < 0.99 * report["sent"]:
        raise harness.CannotMeasure(f"only {report['answered']:.0f} of {report['sent']:.0f} were answered")
    report["rate"] = report["answered"] / report["answerer_cpu_seconds"]
    return report


def run(bench):
    count, rounds = (200_000, 9) if bench.full else (100_000, 5)
    first = sorted(os.sched_getaffinity(0))[0]
    network = Network("starling", ours(bench), 7_000)
    bench.builds = False
    with quiet():
        echo = None
        try:
            node = network.spawn([], prepare=lambda: os.sched_setaffinity(0, {first}))
            network.until(lambda: node.connected, 10, "the node did not start")
            echo = subprocess.Popen(
                [install.echo()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {first}))
            target = f"127.0.0.1:{int(echo.stdout.readline())}"
            size, pings, echoes = 48, [], []
            for _ in range(rounds):
                pings.append(load(bench, node.address, node.pid, count, size))
                size = int(pings[-1]["bytes_sent"])
                echoes.append(load(bench, target, echo.pid, count, size))
        finally:
            network.end()
            if echo:
                echo.kill()
                echo.wait()
    bench.figure("ping_bytes", size, "B")
    bench.figure("pong_bytes", pings[-1]["bytes_answered"], "B")
    bench.figure("ping_answered", harness.median([one["rate"] for one in pings]), "1/s")
    bench.figure("ping_cpu", harness.median([1e6 / one["rate"] for one in pings]), "us")
    bench.figure("echo_answered", harness.median([one["rate"] for one in echoes]), "1/s")
    bench.figure("echo_cpu", harness.median([1e6 / one["rate"] for one in echoes]), "us")
    ratios = [ping["rate"] / bare["rate"] for ping, bare in zip(pings, echoes)]
    bench.figure("ping_rate_by_echo", harness.median(ratios), "x", ">= 0.5")
    bench.figure("ping_rate_by_echo_least", min(ratios), "x")
    bench.figure("ping_wall_rate", harness.median([one["answered"] / one["seconds"] for one in pings]), "1/s")
    bench.figure("echo_wall_rate", harness.median([one["answered"] / one["seconds"] for one in echoes]), "1/s")

    seconds = "2" if bench.full else "0.5"
    done = subprocess.run(
        [bench.program("starling-bench"), "crypto", "--sessions-only", "--seconds", seconds], capture_output=True, text=True)
    if done.returncode != 0:
        raise harness.CannotMeasure(done.stderr.strip())
    raw = json.loads(done.stdout.splitlines()[-1])
    bench.figure("wrong_mac_dropped", raw["wrong_mac_us"], "us", "<= 1")
    bench.figure("handshake_initiator_cpu", raw["handshake_initiator_us"], "us", "<= 250")
    bench.figure("handshake_responder_cpu", raw["handshake_responder_us"], "us", "<= 250")
    bench.figure("ping_answered_by_sessions_in_memory", raw["ping_sessions_per_s"], "1/s")
    bench.figure("ping_answered_by_peer_in_memory", raw["ping_peer_per_s"], "1/s")
