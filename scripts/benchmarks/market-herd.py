"""Fifty askers in the same millisecond at ten equal sellers: the largest share of one, and completion against the ideal (simulated).

Ten sellers of 4 slots at 60 tokens/s; each of 50 askers asks once, at the same time, for 300 tokens, which take 5 s: ten of
them wait for a slot. `share_max` is the largest number of answers of one seller by the mean, in any of the runs. `p99_late` is
the 99th percentile of completion beyond that of a scheduler that knows everything, in service times, over the tasks of all runs;
`last_late` is the same of each run's last task, in the worst run and in half of them.
`cold`: no asker has met a seller before; `warm`: each has paid each for answers before. 20 seeds;
--full: 200.
"""
import concurrent.futures
import os

import harness

MARKET = (
    "--sellers", 10, "--askers", 50, "--speeds", 60, "--slots", 4, "--tokens", 300, "--tokens", 300, "--burst",
    "--policies", "omniscient")
SERVICE = 299 / 60 + 0.06


def run(bench):
    bench.program("starling-bench")
    bench.builds = False
    seeds = range(1, 201 if bench.full else 21)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for label, warm in (("cold", ()), ("warm", ("--acquainted",))):
            words = MARKET + warm
            runs = list(pool.map(lambda seed: bench.study("market-study", "--tasks", 50, "--seed", seed, *words), seeds))
            shares = [run["auction"]["share_max"] for run in runs]
            ours, ideal = (sum((run[policy]["times"] for run in runs), []) for policy in ("auction", "omniscient"))
            late = (harness.percentile(ours, 99) - harness.percentile(ideal, 99)) / 1_000
            last = [(max(run["auction"]["times"]) - max(run["omniscient"]["times"])) / 1_000 for run in runs]
            bench.figure(f"{label}_share_max", max(shares), "x", "<= 2")
            bench.figure(f"{label}_share_p50", harness.median(shares), "x")
            bench.figure(f"{label}_p99_late", late / SERVICE, "service times", "<= 1")
            bench.figure(f"{label}_last_late_max", max(last) / SERVICE, "service times")
            bench.figure(f"{label}_last_late_p50", harness.median(last) / SERVICE, "service times")
            bench.figure(f"{label}_refused", max(run["auction"]["refused"] for run in runs), "1", "<= 0")
            calls = [run["auction"]["messages_per_task"] for run in runs]
            bench.figure(f"{label}_calls_per_task", sum(calls) / len(calls))
