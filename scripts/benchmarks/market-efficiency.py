"""Completion times and refusals of the market against schedulers on the same tasks, at 50, 80 and 95 % load (simulated).

1,000 sellers of 4 slots at 15, 30, 60, 120 and 240 tokens/s and 100 askers that know all of them and have paid each for tasks
before (`strangers`: none of them), over links of 5 to 40 ms; Poisson arrivals of clients that wait for ten minutes. Answers of
1,000 tokens on average, which take the average slot 10 seconds: 20 to 8,000, exponential, or 250 to 20,000, heavy-tailed (Pareto,
shape 1.1). All policies serve the same tasks; those of the first 45 s, in which the empty market fills, and of the last 5 s
don't count; all are served to their ends.

The auctions are those that ship; a seller keeps a queue of at most 64 tasks a slot (256 here). The schedulers serve the tasks in a queueing model: each seller in the order in which it got
them, in queues without bounds, and pay the same round trips as an auction. All but `random` know each seller's speed and
slots, the task's length and the mean length; `least-loaded` has loads up to a minute old, `two-choices` the true loads of two
random sellers, `jsq` those that a seller reports to an asker when it gets and when it ends a task of it. `omniscient` knows the
whole schedule, and gives each task at once to the seller where it truly ends first.

Each figure is a ratio to `omniscient`: above 1 is slower, and the worse one of both kinds of lengths. A mean below 1 is no mistake:
a rule that decides at once is not the best one. `refused` is the share of tasks without an answer in time, which have no completion
time, so that a policy with refusals looks quicker than it is. --full: five times as long, with three seeds, and the small market
of 40 sellers and answers of 20 to 200 tokens.
"""
import concurrent.futures
import os

import harness

POLICIES = ["random", "two-choices", "least-loaded", "jsq", "omniscient"]
LOADS = (50, 80, 95)
GOALS = {
    "mean_50": "<= 0.95", "p99_50": "<= 1.1", "mean_80": "<= 1.0", "p99_80": "<= 1.1", "mean_95": "<= 1.05", "p99_95": "<= 1.2",
    "refused_50": "<= 0", "refused_80": "<= 0", "refused_95": "<= 0",
}
STRANGERS = ("--sellers", 1_000, "--askers", 100, "--delta-every", 2_500)
MARKET = STRANGERS + ("--acquainted",)
LENGTHS = {
    "exponential": ("--lengths", "exponential", "--mean", 980, "--tokens", 20, "--tokens", 8_000),
    "pareto": ("--lengths", "pareto", "--tail", 1_100, "--tokens", 250, "--tokens", 20_000),
}
CALLS = (1, 3, 5, 8)


def ratio(run, key, policy="auction"):
    return run[policy]["completion"][key] / run["omniscient"]["completion"][key]


def table(title, raw):
    print(f"  {title}: {raw['auction']['counted']} answers, completion in s")
    print(f"    {'':<14}{'mean':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'refused':>9}{'messages':>10}{'run s':>8}")
    for name, run in raw.items():
        times = "".join(f"{run['completion'][key] / 1_000:>9.2f}" for key in ("mean", "p50", "p95", "p99"))
        print(f"    {name:<14}{times}{run['refused']:>9.2%}{run['messages_per_task']:>10.1f}{run['seconds']:>8.1f}", flush=True)


def chart(bench, name, title, raws):
    """Quantiles of completion, a panel a table; prints the path."""
    panels = []
    for key, raw in raws.items():
        lines = [
            {"name": policy, "values": [ms / 1_000 for ms in run["quantiles"]["ms"]]} for policy, run in raw.items()]
        panels.append({"title": key, "lines": lines})
    percent = next(iter(raws.values()))["auction"]["quantiles"]["percent"]
    path = bench.chart(name, {"title": title, "unit": "% of the answers", "xs": percent, "panels": panels})
    print(f"  chart: {path}", flush=True)


def studies(bench, jobs):
    """The results of {key: words}, on all cores."""
    # Built once, before any of them.
    bench.program("starling-bench")
    bench.builds = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # The longest first.
        waiting = {
            key: pool.submit(bench.study, "market-study", *words)
            for key, words in sorted(jobs.items(), key=lambda job: -weight(job[1]))}
        return {key: waiting[key].result() for key in jobs}


def weight(words):
    return words[words.index("--load") + 1]


def policies(*names):
    return tuple(word for name in names for word in ("--policies", name))


def run(bench):
    seeds = (1, 2, 3) if bench.full else (1,)
    length = ("--warm-up", 120, "--seconds", 300) if bench.full else ("--warm-up", 45, "--seconds", 60)
    jobs = {}
    for kind, words in LENGTHS.items():
        for load in LOADS:
            for seed in seeds:
                jobs[kind, load, seed] = MARKET + words + length + ("--load", load, "--seed", seed) + policies(*POLICIES)
    for calls in CALLS:
        words = MARKET + LENGTHS["exponential"] + ("--warm-up", 40, "--seconds", 30, "--load", 80, "--calls", calls)
        jobs["calls", calls, 1] = words + policies("omniscient")
    jobs["strangers", 80, 1] = STRANGERS + LENGTHS["exponential"] + length + ("--load", 80) + policies("omniscient")
    if bench.full:
        for load in LOADS:
            jobs["small", load, 1] = ("--tasks", 20_000, "--load", load) + policies(*POLICIES)
    raws = studies(bench, jobs)
    leaks = sum(raw["auction"]["leaks"] for raw in raws.values())
    if leaks:
        raise harness.CannotMeasure(f"{leaks} nodes are left with something at the end")
    shown = {f"{kind}, load {load} %": raw for (kind, load, seed), raw in raws.items() if seed == 1 and kind not in ("calls", "strangers")}
    for title, raw in shown.items():
        table(title, raw)
    chart(bench, "market-efficiency", "time to complete, s", shown)

    def ratios(kind, load, key, policy="auction"):
        found = [ratio(raws[kind, load, seed], key, policy) for seed in seeds]
        return sum(found) / len(found)

    for load in LOADS:
        for key in ("mean", "p99"):
            name = f"{key}_{load}"
            bench.figure(name, max(ratios(kind, load, key) for kind in LENGTHS), "x", GOALS[name])
        refused = max(raws[kind, load, seed]["auction"]["refused"] for kind in LENGTHS for seed in seeds)
        bench.figure(f"refused_{load}", refused, "1", GOALS[f"refused_{load}"])
    for kind in LENGTHS:
        for load in LOADS:
            for policy in ["auction"] + POLICIES[:-1]:
                for key in ("mean", "p99"):
                    bench.figure(f"{policy}_{key}_{load}_{kind}", ratios(kind, load, key, policy), "x")
    for calls in CALLS:
        raw = raws["calls", calls, 1]
        for key in ("mean", "p99"):
            bench.figure(f"calls{calls}_{key}_80", ratio(raw, key), "x")
        bench.figure(f"calls{calls}_messages_80", raw["auction"]["messages_per_task"])
        bench.figure(f"calls{calls}_refused_80", raw["auction"]["refused"], "1")
    raw = raws["strangers", 80, 1]
    for key in ("mean", "p99"):
        bench.figure(f"strangers_{key}_80", ratio(raw, key), "x")
    bench.figure("strangers_refused_80", raw["auction"]["refused"], "1")
    if bench.full:
        for load in LOADS:
            raw = raws["small", load, 1]
            for key in ("mean", "p99"):
                bench.figure(f"small_{key}_{load}", ratio(raw, key), "x")
            bench.figure(f"small_refused_{load}", raw["auction"]["refused"], "1")
    bench.figure("events", raws["exponential", 80, 1]["auction"]["events_per_s"], "/s")
