"""Lookups of a node while handshakes flood it: 100,000 a second with a wrong mac, and as many as one core sends with a right one.

The node and the fifteen others that it asks share one core, the flood has the other to itself; the same lookups without
and with the flood take turns. A lookup is a search for the first provider of a topic (see dht-peers); each flood has
another source port. "Taken" is the share of the flood that reached the node: what the kernel's buffer could not hold is
lost before anybody sees it, honest datagrams included.
"""
import json
import os
import subprocess

import harness
from peers.network import Network, Result, ours, quiet

NODES = 16
VICTIM = 5


def flooded(bench, network, jobs, address, *words):
    """The lookups of `jobs` during a flood: (result, the flood's report, dropped by reason during it)."""
    before = network.stats(VICTIM)
    sender = subprocess.Popen(
        [bench.program("starling-bench"), "flood", "--to", address, *words], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}))
    network.pump(0.3)
    result = Result()
    while sender.poll() is None:
        network.run(jobs, result, patience=10)
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
        raise harness.CannotMeasure("the flood needs a core of its own")
    network = Network("starling", ours(bench), 7_000)
    bench.builds = False
    with quiet():
        try:
            network.start(NODES, cpu=cores[0])
            network.pump(6)
            keys = [f"key{number}" for number in range(NODES)]
            others = [index for index in range(NODES) if index != VICTIM]
            network.run([(others[number % len(others)], "put", key) for number, key in enumerate(keys)], Result())
            network.pump(1)
            jobs = [(VICTIM, "get", key) for key in keys * 4]
            address = network.nodes[VICTIM].address
            calm, runs = Result(), {"wrong_mac": [], "right_mac": []}
            for _ in range(rounds):
                for _ in range(4):
                    network.run(jobs, calm)
                runs["wrong_mac"].append(flooded(bench, network, jobs, address, "--rate", "100000", "--seconds", seconds))
                network.run(jobs, calm)
                runs["right_mac"].append(flooded(bench, network, jobs, address, "--right-mac", "--seconds", seconds))
                network.pump(1)
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
