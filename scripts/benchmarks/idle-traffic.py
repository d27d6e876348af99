"""What an idle node's upkeep costs: bytes/s and packets/s a node in a quiet network of 64 processes.

Counted on a loopback interface of the network's own, IP and UDP headers included, each datagram once (at its sender).
Upkeep falls while the network ages, because old contacts are asked less often: the first minutes are the dearest, and
--full waits longer. "With offers": half of the nodes sell one model each, whose offers are mailed anew each minute.
"""
import time

import harness
from peers.network import Network, loopback, ours, quiet

NODES = 64


def measure(network, seconds):
    """(packets, bytes, CPU ms) a node and second."""
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


def run(bench):
    settling, seconds = (180, 300) if bench.full else (45, 65)
    plain, selling = ours(bench), ours(bench, offers=1)
    with quiet() as is_own:
        if not is_own:
            raise harness.CannotMeasure("the bytes can only be counted in a network namespace of their own, which needs root")
        upkeep(bench, "idle", plain, settling, seconds, "<= 64")
        half = lambda index, port, joins: (selling if index % 2 else plain)(index, port, joins)
        upkeep(bench, "with_32_offers", half, settling, seconds, "<= 300")
