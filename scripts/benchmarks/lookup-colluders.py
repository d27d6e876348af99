"""Share of lookups that find the closest honest node when 10, 30 and 50 % of 10,000 nodes collude (simulated)."""


def run(bench):
    for share, goal in ((10, None), (30, ">= 0.99"), (50, ">= 0.95")):
        lookups = 2_000 if bench.full else 500
        raw = bench.study("lookup-study", "--nodes", 10_000, "--colluders", share * 10, "--lookups", lookups)
        bench.figure(f"success_{share}_percent", raw["success"], "1", goal)
        bench.figure(f"asked_p50_{share}_percent", raw["asked_p50"], "1")
