"""Rounds and time of a lookup among 1,000 to a million nodes, and with a fifth of the contacts dead (simulated).

Tables are filled from the distribution of ids; the real lookup code runs the lookups, at a round trip of 100 ms.
"""


def run(bench):
    sizes = (1_000, 10_000, 100_000, 1_000_000) if bench.full else (1_000, 10_000, 100_000)
    for nodes in sizes:
        raw = bench.study("lookup-study", "--nodes", nodes)
        goal = {10_000: "<= 2", 1_000_000: "<= 4"}.get(nodes)
        bench.figure(f"rounds_p50_{nodes}", raw["rounds_p50"], "rounds", goal)
        bench.figure(f"rounds_p99_{nodes}", raw["rounds_p99"], "rounds")
        bench.figure(f"success_{nodes}", raw["success"], "1")
        bench.figure(f"node_bytes_{nodes}", raw["node_bytes"], "B")
    raw = bench.study("lookup-study", "--nodes", 10_000, "--dead", 200, "--loss", 10)
    bench.figure("dead_fifth_p50", raw["ms_p50"], "ms")
    bench.figure("dead_fifth_p99", raw["ms_p99"], "ms", "<= 1500")
    bench.figure("dead_fifth_success", raw["success"], "1")
