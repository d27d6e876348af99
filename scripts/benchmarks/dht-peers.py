"""Our DHT against OpenDHT and libtorrent's: first value, CPU, memory, and kill -9 of 30 %, 64 processes each.

All three networks run at once, one process a node, and take turns every few operations, so that a slow moment of the
machine affects all. Put: OpenDHT stores a value of 400 bytes, libtorrent a signed BEP 44 item of 400 bytes; ours
registers a provider (a signed record) with the topic's registrars. Get: until the first value, or the first provider whose
signature was checked. Each operation is by a random node with warm sessions and routing tables: every node has made a few
fruitless searches before. The cost of a cold node is in new_node_…. CPU is that of all 64 processes, user and system, less
their idle use. RSS counts shared libraries in full; private is the cost of one more node. bare_put_cpu is the cost of as
many datagrams as our put sends, between 64 processes that do nothing else.
"""
import hashlib
import random
import time

import harness
from peers import install
from peers.network import Network, Result, ours, quiet

NODES = 64
SIZE = 400
TURN = 25


class System:
    def __init__(self, name, network, put_words, get_words):
        self.name, self.network, self.put_words, self.get_words = name, network, put_words, get_words
        self.put, self.get, self.killed, self.later = Result(), Result(), Result(), Result()
        self.idle = 0.0


def bep44_keys(key):
    """libtorrent's secret key (the expanded form) and public key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = hashlib.sha256(key.encode()).digest()
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    expanded = bytearray(hashlib.sha512(seed).digest())
    expanded[0] &= 248
    expanded[31] = expanded[31] & 63 | 64
    return expanded.hex(), public.hex()


def systems(bench):
    command = ours(bench)
    worker, python = install.opendht(), install.libtorrent()
    return [
        System("starling", Network("starling", command, 7_000), lambda key: [key], lambda key: [key]),
        System(
            "opendht", Network("opendht", lambda index, port, joins: [worker, "127.0.0.1", str(port), *joins], 8_000),
            lambda key: [key, SIZE], lambda key: [key]),
        System(
            "libtorrent",
            Network("libtorrent", lambda index, port, joins: [*python, f"127.0.1.{index + 1}", str(port), *joins], 9_000),
            lambda key: [*bep44_keys(key), SIZE], lambda key: [bep44_keys(key)[1]]),
    ]


def bare():
    """64 processes that only exchange the datagrams of a put."""
    program, port = install.burst(), 9_500
    return System(
        "bare", Network("bare", lambda index, own, joins: [program, str(own), str(port), str(NODES)], port),
        lambda key: [key], lambda key: [key])


def take_turns(systems, result, jobs):
    """Runs the jobs of each system in slices, one system after another."""
    lists = [(system, jobs(system)) for system in systems]
    for start in range(0, len(lists[0][1]), TURN):
        for system, list_ in lists:
            system.network.measure(list_[start : start + TURN], result(system), system.idle)


def idle(systems, seconds):
    before = [(system, system.network.cpu(), time.monotonic()) for system in systems]
    for system in systems:
        system.network.pump(seconds / len(systems))
    for system, cpu, started in before:
        system.idle = (system.network.cpu() - cpu) / (time.monotonic() - started)


def acquaint(systems):
    """Every node makes a few fruitless searches, so that nodes that will talk have met before."""
    for system in systems:
        jobs = [(node, "get", *system.get_words(f"nobody{round_}-{node}")) for round_ in range(6) for node in range(NODES)]
        system.network.run(jobs, Result(), at_once=4)


def newcomers(system, count, keys, owners):
    """Milliseconds from the start of a process until it has joined, and until it has read its first value."""
    joined, read = [], []
    network = system.network
    for _ in range(count):
        node = network.spawn([network.nodes[0].address, network.nodes[network.random.randrange(1, NODES)].address])
        network.until(lambda: node.connected, 30, f"{system.name}: a new node did not join")
        joined.append((node.connected - node.started) * 1e3)
        while True:
            result = Result()
            network.run([(node.index, "get", *system.get_words(network.random.choice(keys)))], result, patience=5, until_first=True)
            if result.ok:
                read.append((time.monotonic() - node.started) * 1e3)
                break
            if time.monotonic() - node.started > 20:
                raise harness.CannotMeasure(f"{system.name}: a new node reads nothing")
        network.pump(0.1)
    return joined, read


def run(bench):
    operations = 1_000 if bench.full else 400
    made = min(operations, 400)  # Our nodes provide at most eight topics.
    choice = random.Random(7)
    keys = [f"key{number}" for number in range(made)]
    all_systems, floor = systems(bench), bare()
    print(f"  {install.versions()}; {NODES} processes each")
    with quiet():
        try:
            measure(bench, all_systems, floor, keys, operations, choice)
        finally:
            for system in [*all_systems, floor]:
                system.network.end()


def measure(bench, all_systems, floor, keys, operations, choice):
    floor.network.start(NODES)
    for system in all_systems:
        started = time.monotonic()
        system.network.start(NODES)
        bench.figure(f"{system.name}_network_start", time.monotonic() - started, "s")
    idle(all_systems, 15)
    acquaint(all_systems)
    idle(all_systems, 12)

    owners = [number % NODES for number in range(len(keys))]
    choice.shuffle(owners)
    readers = [(choice.choice([n for n in range(NODES) if n != owners[number % len(keys)]]), keys[number % len(keys)]) for number in range(operations)]
    puts = [*all_systems, floor]
    take_turns(puts, lambda s: s.put, lambda s: [(owner, "put", *s.put_words(key)) for owner, key in zip(owners, keys)])
    bench.figure("bare_put_cpu", floor.put.cpu_each, "ms")
    bench.figure("bare_put_p50", harness.percentile(floor.put.done, 50), "ms")
    for system in all_systems:
        system.network.pump(2)
    take_turns(all_systems, lambda s: s.get, lambda s: [(reader, "get", *s.get_words(key)) for reader, key in readers])

    memories = {}
    for system in all_systems:
        memories[system.name] = [harness.memory(pid) for pid in system.network.pids]
    joins = {system.name: newcomers(system, 8 if bench.full else 5, keys, owners) for system in all_systems}

    for system in all_systems:
        dead = set(random.Random(3).sample(range(NODES), NODES * 3 // 10))
        left = [n for n in range(NODES) if n not in dead]
        live = [(key, owner) for key, owner in zip(keys, owners) if owner not in dead]
        for_all = [(choice.choice([n for n in left if n != owner]), "get", *system.get_words(key)) for key, owner in live[:150]]
        system.network.kill(dead)
        system.network.run(for_all, system.killed, at_once=4, until_first=True)
        if bench.full:
            system.network.pump(15)
            system.network.run(for_all, system.later, at_once=4, until_first=True)
    figures(bench, all_systems, memories, joins)


def figures(bench, all_systems, memories, joins):
    # The core's share of our CPU: the same operations among peers in one process, without sockets.
    core = bench.study("dht-in-memory")
    bench.figure("starling_put_core_cpu", core["put_us"] / 1e3, "ms")
    bench.figure("starling_get_core_cpu", core["get_us"] / 1e3, "ms")
    for system in all_systems:
        name, get, put = system.name, system.get, system.put
        harness.histogram(f"{name}: first value", get.first, "ms")
        bench.figure(f"{name}_get_first_p50", harness.percentile(get.first, 50), "ms")
        bench.figure(f"{name}_get_first_p99", harness.percentile(get.first, 99), "ms")
        bench.figure(f"{name}_get_done_p50", harness.percentile(get.done, 50), "ms")
        bench.figure(f"{name}_get_done_p99", harness.percentile(get.done, 99), "ms")
        bench.figure(f"{name}_get_success", 100 * get.ok / get.count, "%")
        bench.figure(f"{name}_get_cpu", get.cpu_each, "ms")
        bench.figure(f"{name}_get_packets", get.packets / get.count)
        bench.figure(f"{name}_put_p50", harness.percentile(put.done, 50), "ms")
        bench.figure(f"{name}_put_p99", harness.percentile(put.done, 99), "ms")
        bench.figure(f"{name}_put_success", 100 * put.ok / put.count, "%")
        bench.figure(f"{name}_put_cpu", put.cpu_each, "ms")
        bench.figure(f"{name}_put_packets", put.packets / put.count)
        bench.figure(f"{name}_rss", harness.median([one["rss"] for one in memories[name]]), "MB")
        bench.figure(f"{name}_private", harness.median([one["private"] for one in memories[name]]), "MB")
        bench.figure(f"{name}_idle_cpu", system.idle * 1e3 / NODES, "ms/s")
        bench.figure(f"{name}_new_node_joined_p50", harness.median(joins[name][0]), "ms")
        bench.figure(f"{name}_new_node_first_value_p50", harness.median(joins[name][1]), "ms")
        is_ours = name == "starling"
        killed = system.killed
        bench.figure(f"{name}_killed_success", 100 * killed.ok / killed.count, "%", ">= 100" if is_ours else None)
        bench.figure(f"{name}_killed_first_p50", harness.percentile(killed.first, 50), "ms")
        bench.figure(f"{name}_killed_first_p99", harness.percentile(killed.first, 99), "ms", "<= 150" if is_ours else None)
        if system.later.count:
            bench.figure(f"{name}_killed_15s_later_success", 100 * system.later.ok / system.later.count, "%")
            bench.figure(f"{name}_killed_15s_later_first_p99", harness.percentile(system.later.first, 99), "ms")

    mine, *others = all_systems

    def by_better(name, value, goal=None):
        best = min(value(system) for system in others)
        bench.figure(name, value(mine) / best, "x", goal)

    by_better("get_first_p50_by_better", lambda s: harness.percentile(s.get.first, 50), "<= 0.6")
    by_better("get_first_p99_by_better", lambda s: harness.percentile(s.get.first, 99))
    by_better("get_cpu_by_better", lambda s: s.get.cpu_each, "<= 0.4")
    by_better("put_cpu_by_better", lambda s: s.put.cpu_each, "<= 0.4")
    by_better("put_p50_by_better", lambda s: harness.percentile(s.put.done, 50))
    by_better("rss_by_better", lambda s: harness.median([one["rss"] for one in memories[s.name]]))
    by_better("private_by_better", lambda s: harness.median([one["private"] for one in memories[s.name]]))
