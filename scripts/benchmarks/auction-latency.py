"""Phases of 1,000 auctions on loopback and of 400 over 50 ms, p50 and p99: five sellers with instant backends, one asker.

Phases come from the transcripts (GET /mesh/tasks/ID): choose, bids, award, first token; call→AWARD is choose + bids,
the time from the task's start until the award is sent. One request at a time, over established sessions.

The second time each node is a host of its own (a network namespace; shaped.py), 25 ms from every other one: `call_to_award_50ms` is the
time beyond the 50 ms of one round trip, and `fast` is that of auctions that ask one seller alone at first. `round_trip` is what
datagrams took between the same hosts, beyond 50 ms: what the router itself adds. It needs root.
"""
import contextlib

import harness
import shaped

SELLERS = 5
DELAY = 0.025
ROUND_TRIP = 2 * DELAY * 1e3


class Auctions:
    """Milliseconds of each phase, by auction."""

    def __init__(self):
        self.phases = {"choose": [], "bids": [], "award": [], "first_token": []}
        self.calls, self.heard, self.asked = [], [], []

    def run(self, bench, url, count):
        """One request at a time at the node of that address, which this thread must be able to reach."""
        door = harness.Door(url)
        bench.load([url], requests=50)
        # A node keeps its last 1,000 transcripts.
        while len(self.calls) < count:
            done = bench.load([url], requests=min(500, count - len(self.calls)))["targets"][0]
            self.heard += [microseconds / 1_000 for microseconds in done["first_us"]]
            for task in done["tasks"]:
                document = door.get(f"/mesh/tasks/{task}")
                times = document["phases_ms"]
                for phase in self.phases:
                    if times[phase] is not None:
                        self.phases[phase].append(times[phase])
                self.calls.append((times["choose"] or 0) + (times["bids"] or 0))
                self.asked.append(document["candidates"]["asked"])


def sale(backend):
    return {"serves": "bench", "url": backend["url"], "price": {"input": 0.2, "output": 2.0}, "slots": 64}


def on_loopback(bench, count):
    auctions = Auctions()
    with bench.backend(tokens=8) as backend:
        nodes = {f"seller{index}": sale(backend) for index in range(SELLERS)} | {"asker": {}}
        with bench.testnet(nodes) as testnet:
            bench.builds = False
            auctions.run(bench, testnet.http("asker"), count)
    harness.histogram("call to AWARD", auctions.calls, "ms")
    bench.figure("asks", len(auctions.calls))
    bench.figure("sellers_asked", sum(auctions.asked) / len(auctions.asked))
    bench.figure("call_to_award_p50", harness.percentile(auctions.calls, 50), "ms", "<= 2")
    bench.figure("call_to_award_p99", harness.percentile(auctions.calls, 99), "ms", "<= 20")
    for phase, times in auctions.phases.items():
        bench.figure(f"{phase}_p50", harness.percentile(times, 50), "ms")
        bench.figure(f"{phase}_p99", harness.percentile(times, 99), "ms")
    bench.figure("client_first_token_p50", harness.percentile(auctions.heard, 50), "ms")
    bench.figure("client_first_token_p99", harness.percentile(auctions.heard, 99), "ms")


def over_50ms(bench, count):
    auctions = Auctions()
    sellers = [f"seller{index}" for index in range(SELLERS)]
    with shaped.Network([*sellers, "asker"], delay=DELAY) as network, contextlib.ExitStack() as backends:
        nodes = {"asker": {}}
        for name in sellers:
            with network.inside(name):
                nodes[name] = sale(backends.enter_context(bench.backend(tokens=8)))
        with shaped.Mesh(bench.program("starling"), network, nodes) as mesh:
            network.round_trips("asker", sellers[0], 10)
            trips = [time - ROUND_TRIP for time in network.round_trips("asker", sellers[0])]
            with network.inside("asker"):
                auctions.run(bench, mesh.url, count)
    late = [time - ROUND_TRIP for time in auctions.calls]
    harness.histogram("call to AWARD beyond 50 ms", [max(0, time) for time in late], "ms")
    bench.figure("asks_50ms", len(late))
    bench.figure("sellers_asked_50ms", sum(auctions.asked) / len(auctions.asked))
    bench.figure("round_trip_50ms_p50", harness.percentile(trips, 50), "ms")
    bench.figure("round_trip_50ms_p99", harness.percentile(trips, 99), "ms")
    for name, bound, times in (
        ("call_to_award_50ms", 30, [time for time, asked in zip(late, auctions.asked) if asked > 1]),
        ("fast_call_to_award_50ms", 5, [time for time, asked in zip(late, auctions.asked) if asked == 1]),
    ):
        bench.figure(f"{name}_asks", len(times))
        if times:
            bench.figure(f"{name}_p50", harness.percentile(times, 50), "ms", f"<= {bound}")
            bench.figure(f"{name}_p99", harness.percentile(times, 99), "ms", f"<= {bound}")
    bench.figure("client_first_token_50ms_p50", harness.percentile(auctions.heard, 50) - ROUND_TRIP, "ms")
    bench.figure("client_first_token_50ms_p99", harness.percentile(auctions.heard, 99) - ROUND_TRIP, "ms")


def run(bench):
    on_loopback(bench, 5_000 if bench.full else 1_000)
    try:
        over_50ms(bench, 2_000 if bench.full else 400)
    except harness.CannotMeasure as problem:
        bench.cannot_measure(problem, call_to_award_50ms_p50="<= 30", call_to_award_50ms_p99="<= 30")
