"""Phases of 1,000 auctions on loopback, p50 and p99: five sellers with instant backends, one asker.

Phases come from the transcripts (GET /mesh/tasks/ID): choose, bids, award, first token; call→AWARD is choose + bids,
the time from the task's start until the award is sent. One request at a time, over established sessions.
"""
import harness


def run(bench):
    asks = 5_000 if bench.full else 1_000
    with bench.backend(tokens=8) as backend:
        sale = {"serves": "bench", "url": backend["url"], "price": {"input": 0.2, "output": 2.0}, "slots": 64}
        nodes = {f"seller{index}": sale for index in range(5)} | {"asker": {}}
        with bench.testnet(nodes) as testnet:
            bench.builds = False
            url = testnet.http("asker")
            door = harness.Door(url)
            bench.load([url], requests=50)
            phases = {"choose": [], "bids": [], "award": [], "first_token": []}
            calls, heard, asked = [], [], []
            # A node keeps its last 1,000 transcripts.
            while len(calls) < asks:
                done = bench.load([url], requests=min(500, asks - len(calls)))["targets"][0]
                heard += [microseconds / 1_000 for microseconds in done["first_us"]]
                for task in done["tasks"]:
                    document = door.get(f"/mesh/tasks/{task}")
                    for phase, times in phases.items():
                        if document["phases_ms"][phase] is not None:
                            times.append(document["phases_ms"][phase])
                    calls.append((document["phases_ms"]["choose"] or 0) + (document["phases_ms"]["bids"] or 0))
                    asked.append(document["candidates"]["asked"])
    harness.histogram("call to AWARD", calls, "ms")
    bench.figure("asks", len(calls))
    bench.figure("sellers_asked", sum(asked) / len(asked))
    bench.figure("call_to_award_p50", harness.percentile(calls, 50), "ms", "<= 2")
    bench.figure("call_to_award_p99", harness.percentile(calls, 99), "ms", "<= 20")
    for phase, times in phases.items():
        bench.figure(f"{phase}_p50", harness.percentile(times, 50), "ms")
        bench.figure(f"{phase}_p99", harness.percentile(times, 99), "ms")
    bench.figure("client_first_token_p50", harness.percentile(heard, 50), "ms")
    bench.figure("client_first_token_p99", harness.percentile(heard, 99), "ms")
