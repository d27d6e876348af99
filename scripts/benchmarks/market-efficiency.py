"""Completion times and refusals of the market against schedulers on the same tasks, at 50, 80 and 95 % load (simulated).

40 sellers of 4 slots at 15, 30, 60, 120 and 240 tokens/s and 20 askers; Poisson arrivals, answers of 20 to 200 tokens.
--full adds 1,000 sellers and 100 askers with answers of 10 seconds on average, exponential and heavy-tailed.

The auctions are those that ship; the schedulers serve the same tasks, over links of the same lengths, in a queueing model
with queues without bounds. Each figure is a ratio to `omniscient`, which gives each task at once to the seller where it
truly ends first, and pays the same round trips: above 1 is slower. A mean below 1 is no mistake: a refused task has no
completion time, and a rule that decides at once is not the best one. `refused` is a share of all tasks.

Also: what 1, 3, 5 and 8 calls a task buy, and how many events a second the market's carrier does.
"""
import harness

POLICIES = ["random", "two-choices", "least-loaded", "jsq", "omniscient"]
GOALS = {
    "mean_80": "<= 1.0", "p99_80": "<= 1.1", "p99_95": "<= 1.15", "refused_80": "<= 0", "refused_95": "<= 0",
}


def ratio(run, base, name):
    return run["completion"][name] / base["completion"][name]


def table(title, raw):
    print(f"  {title}: completion in ms")
    print(f"    {'':<14}{'mean':>10}{'p50':>10}{'p95':>10}{'p99':>10}{'refused':>10}")
    for name, run in raw.items():
        times = "".join(f"{run['completion'][key]:>10,.0f}" for key in ("mean", "p50", "p95", "p99"))
        print(f"    {name:<14}{times}{run['refused']:>10.2%}", flush=True)


def measure(bench, suffix, goals, *words):
    """One table; ratios of the auction, and of each policy, to the omniscient scheduler."""
    raw = bench.study("market-study", *words, *(word for name in POLICIES for word in ("--policies", name)))
    table(f"load {suffix}", raw)
    best = raw["omniscient"]
    for key in ("mean", "p99"):
        name = f"{key}_{suffix}"
        bench.figure(name, ratio(raw["auction"], best, key), "x", goals.get(name))
    bench.figure(f"refused_{suffix}", raw["auction"]["refused"], "1", goals.get(f"refused_{suffix}"))
    for policy in POLICIES[:-1]:
        for key in ("mean", "p99"):
            bench.figure(f"{policy}_{key}_{suffix}", ratio(raw[policy], best, key), "x")
    if raw["auction"]["leaks"]:
        raise harness.CannotMeasure(f"{raw['auction']['leaks']} nodes are left with something at the end")
    return raw


def run(bench):
    tasks = 20_000
    speed = None
    for load in (50, 80, 95):
        raw = measure(bench, str(load), GOALS, "--load", load, "--tasks", tasks)
        speed = raw["auction"]["events_per_s"]
        bench.builds = False
    bench.figure("events", speed, "/s")
    for calls in (1, 3, 5, 8):
        raw = bench.study("market-study", "--load", 80, "--tasks", 5_000, "--calls", calls, "--policies", "omniscient")
        for key in ("mean", "p99"):
            bench.figure(f"calls{calls}_{key}_80", ratio(raw["auction"], raw["omniscient"], key), "x")
        bench.figure(f"calls{calls}_refused_80", raw["auction"]["refused"], "1")
    if bench.full:
        market = ("--sellers", 1_000, "--askers", 100, "--tasks", 50_000, "--delta-every", 1_000, "--tokens", 20, "--tokens", 20_000)
        for lengths in (("exponential", "--mean", 500), ("pareto", "--tail", 1_100)):
            for load in (50, 80, 95):
                measure(bench, f"{lengths[0]}_{load}", {}, "--load", load, "--lengths", *lengths, *market)
