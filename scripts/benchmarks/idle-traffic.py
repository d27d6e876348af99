"""Upkeep of an idle node: bytes/s and packets/s a node, in 64 processes, and in simulated meshes of 100 to 10,000.

Counted on the network's own loopback interface, including IP and UDP headers, each datagram once (at its sender).
Upkeep falls as the network ages, because old contacts are asked less often: the first minutes cost most, and --full waits
longer. "With offers": half of the nodes sell one model each and mail its offer again every minute.
The simulations run testnet/scenarios/quiet.yaml: minutes 20 to 40 after the joins. --full adds 100,000 nodes (two and a
half hours of one core, 14 GB), which take ten minutes to join, because they have only two bootstrap nodes.
"""
import json
import re
import subprocess
import tempfile
import time

import harness
from peers.network import Network, loopback, ours, quiet

NODES = 64


def measure(network, seconds):
    """(packets, bytes, CPU ms) per node and second."""
    started, cpu, before = time.monotonic(), network.cpu(), loopback()
    network.pump(seconds)
    after, passed = loopback(), time.monotonic() - started
    share = passed * len(network.nodes)
    return (after[0] - before[0]) / share, (after[1] - before[1]) / share, (network.cpu() - cpu) * 1e3 / share


def upkeep(bench, name, command, settling, seconds, goal):
    network = Network("starling", command, 7_000)
    try:
        network.start(NODES)
        network.pump(settling)
        packets, bytes_, cpu = measure(network, seconds)
        known = [network.stats(index) for index in range(NODES)]
        bench.figure(f"{name}_contacts", harness.median([one["contacts"] for one in known]))
        if any(one["offers"] for one in known):
            bench.figure(f"{name}_offers_known", min(one["offers"] for one in known))
        bench.figure(f"{name}_packets", packets, "1/s")
        bench.figure(f"{name}_bytes", bytes_, "B/s", goal)
        bench.figure(f"{name}_cpu", cpu, "ms/s")
    finally:
        network.end()


def simulated(bench, nodes):
    scenario = (harness.ROOT / "testnet" / "scenarios" / "quiet.yaml").read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(re.sub(r"^start: .*$", f"start: {max(60, nodes // 166)}s", scenario, flags=re.M))
        file.flush()
        words = [bench.program("starling"), "sim", file.name, "--nodes", str(nodes), "--carrier", "plain", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=14_400)
    if not done.stdout:
        raise harness.CannotMeasure(done.stderr.strip())
    report = json.loads(done.stdout)
    measures = report["measures"]
    bench.figure(f"simulated_{nodes}_bytes", measures["upkeep_bytes"], "B/s", "<= 300")
    bench.figure(f"simulated_{nodes}_packets", measures["upkeep_packets"], "1/s")
    if nodes == 100_000:
        bench.figure(f"simulated_{nodes}_memory", report["resident_bytes_per_node_untrimmed"] * nodes / 1e9, "GB", "<= 16")
    return measures["upkeep_bytes"]


def run(bench):
    sizes = [100, 1_000, 10_000] + ([100_000] if bench.full else [])
    costs = [simulated(bench, nodes) for nodes in sizes]
    bench.figure("simulated_dearest_by_cheapest", max(costs) / min(costs), "x")
    settling, seconds = (180, 300) if bench.full else (150, 120)
    plain, selling = ours(bench), ours(bench, offers=1)
    with quiet() as is_own:
        if not is_own:
            raise harness.CannotMeasure("counting bytes needs a private network namespace, which needs root")
        upkeep(bench, "idle", plain, settling, seconds, "<= 64")
        half = lambda index, port, joins: (selling if index % 2 else plain)(index, port, joins)
        upkeep(bench, "with_32_offers", half, settling, seconds, "<= 300")
