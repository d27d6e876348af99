"""Lookups by a node during a handshake flood: 100,000 a second with a wrong mac, and as many as one core sends with a valid one.

The node has one core, which the 31 nodes that it asks share at a higher priority; the flood has the other. The same
lookups, at most 400 a second, run alternately without and with the flood. If permitted, the nodes run at real-time
priority, so that other work on the machine doesn't count. A lookup is a search for the first provider of a topic (see
dht-peers) that the node doesn't keep itself. "Taken" is the share of the flood that reached the node: what exceeds the
kernel's buffer is lost before that, honest datagrams included.
"""
import json
import os
import subprocess
import time

import harness
from peers.network import Network, Result, ours, quiet

NODES = 32
VICTIM = 5


def on_core(core, priority, pid=0):
    """Pins a process, and gives it this real-time priority (0: a niceness) if permitted."""
    try:
        for thread in os.listdir(f"/proc/{pid or 'self'}/task"):
            os.sched_setaffinity(int(thread), {core})
            if priority:
                os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(priority))
            else:
                # Not real-time, which would starve the kernel's thread that delivers the datagrams.
                os.setpriority(os.PRIO_PROCESS, int(thread), -15)
    except PermissionError:
        pass


def look(network, keys, result, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key in keys:
            network.run([(VICTIM, "get", key)], result, patience=10)
            network.pump(0.0015)


def is_suitable(network, key):
    """Whether the node must ask others for `key` and may do so often: providers among its contacts are under no budget."""
    result = Result()
    network.run([(VICTIM, "get", key)] * 8, result)
    return result.ok == 8 and min(result.asked) > 0


def flooded(bench, network, keys, address, *words):
    """Lookups of `keys` during a flood: (result, the flood's report, dropped by reason during it)."""
    before = network.stats(VICTIM)
    sender = subprocess.Popen(
        [bench.program("starling-bench"), "flood", "--to", address, *words], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: on_core(max(os.sched_getaffinity(0)), 0))
    network.pump(0.3)
    result = Result()
    while sender.poll() is None:
        look(network, keys, result, 0.1)
    report = json.loads(sender.stdout.readline())
    after = network.stats(VICTIM)
    report["received"] = after["received"] - before["received"]
    report["cpu"] = after["cpu_seconds"] - before["cpu_seconds"]
    remark = {name: count - before["dropped"].get(name, 0) for name, count in after["dropped"].items()}
    harness.remark(f"  {' '.join(words)}: {report} dropped {remark}")
    return result, report


def run(bench):
    seconds, rounds = ("6", 3) if bench.full else ("3", 2)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise harness.CannotMeasure("the flood needs its own core")
    network = Network("starling", ours(bench), 7_000)
    bench.builds = False
    with quiet():
        try:
            network.start(NODES, prepare=lambda: on_core(cores[0], 2))
            on_core(cores[0], 1, network.nodes[VICTIM].pid)
            network.pump(6)
            keys = [f"key{number}" for number in range(2 * NODES)]
            others = [index for index in range(NODES) if index != VICTIM]
            network.run([(others[number % len(others)], "put", key) for number, key in enumerate(keys)], Result())
            network.pump(1)
            keys = [key for key in keys if is_suitable(network, key)]
            address = network.nodes[VICTIM].address
            calm, runs = Result(), {"wrong_mac": [], "right_mac": []}
            for _ in range(rounds):
                look(network, keys, calm, 2)
                runs["wrong_mac"].append(flooded(bench, network, keys, address, "--rate", "100000", "--seconds", seconds))
                network.pump(0.5)
                look(network, keys, calm, 2)
                runs["right_mac"].append(flooded(bench, network, keys, address, "--right-mac", "--seconds", seconds))
                network.pump(0.5)
            memory = harness.memory(network.nodes[VICTIM].pid)
        finally:
            network.end()
    quiet_p99 = harness.percentile(calm.first, 99)
    bench.figure("calm_lookups", calm.count)
    bench.figure("calm_lookup_p50", harness.percentile(calm.first, 50), "ms")
    bench.figure("calm_lookup_p99", quiet_p99, "ms")
    for name, pairs in runs.items():
        results, reports = [result for result, _ in pairs], [report for _, report in pairs]
        first = [value for result in results for value in result.first]
        total = lambda key: sum(report[key] for report in reports)
        harness.histogram(f"{name}: first provider", first, "ms")
        bench.figure(f"{name}_sent", total("sent") / total("seconds"), "1/s")
        bench.figure(f"{name}_taken", min(100, 100 * total("received") / total("sent")), "%")
        bench.figure(f"{name}_answers_by_sent", 100 * total("answers") / total("sent"), "%")
        bench.figure(f"{name}_cpu_each", total("cpu") / total("received") * 1e6, "us")
        bench.figure(f"{name}_lookups", sum(result.count for result in results))
        bench.figure(f"{name}_lookup_success", 100 * sum(r.ok for r in results) / sum(r.count for r in results), "%")
        bench.figure(f"{name}_lookup_p50", harness.percentile(first, 50), "ms")
        bench.figure(f"{name}_lookup_p99", harness.percentile(first, 99), "ms")
        bench.figure(f"{name}_lookup_p99_by_calm", harness.percentile(first, 99) / quiet_p99, "x", "<= 2")
    bench.figure("rss_after", memory["rss"], "MB", "<= 64")
    bench.figure("private_after", memory["private"], "MB")
