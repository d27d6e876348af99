"""A market at 3 × its capacity for a minute: answers in time, truth of the stated retry times, and recovery (simulated).

Ten sellers of 4 slots at 15 to 240 tokens/s, ten askers, Poisson arrivals of answers of 240 tokens, 1 to 16 s, whose clients wait
for 30 s; after the minute, half the capacity. `goodput`: tokens of answers that ended in time, from the eleventh second to
the sixtieth, by what all slots can do. `retry_true`: the share of refused clients whose stated time was right within a factor of 2:
from the refusal until the market took a later task (they are all alike), both counted as at least a second, the unit of Retry-After.
`recovery`: seconds after the overload until the answers asked for in each later second take no more than 1.5 × as long, on average, as
in the same market at half its capacity. Five seeds, whose tasks are put together; --full: twenty.
"""
import concurrent.futures
import os

import harness

MARKET = ("--sellers", 10, "--askers", 10, "--tokens", 240, "--tokens", 240, "--deadline", 30)


def is_true(retry):
    told, taken = retry
    if told is None or taken is None:
        return False
    told, taken = max(told, 1), max(taken, 1)
    return taken / 2 <= told <= taken * 2


def mean(values):
    return sum(values) / len(values)


def run(bench):
    bench.program("starling-bench")
    bench.builds = False
    seeds = range(1, 21 if bench.full else 6)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda seed: bench.study("overload-study", "--seed", seed, *MARKET), seeds))
    leaks = sum(run["leaks"] for run in runs)
    if leaks:
        raise harness.CannotMeasure(f"{leaks} nodes are left with something at the end")
    retries = [retry for run in runs for retry in run["retries"]]
    normal = mean([seconds for run in runs for seconds in run["normal"]])
    after = [sum((run["after"][second] for run in runs), []) for second in range(len(runs[0]["after"]))]
    slow = [second + 1 for second, times in enumerate(after) if times and mean(times) > 1.5 * normal]
    print("  completion by the second of asking after the overload, s: " + " ".join(
        f"{mean(times):.1f}" if times else "-" for times in after[:40]))
    bench.figure("goodput", mean([run["goodput"] for run in runs]), "1", ">= 0.9")
    bench.figure("refused", mean([run["refused"] for run in runs]), "1")
    bench.figure("refused_after_p50", harness.median([run["refusal_p50"] for run in runs]), "s")
    bench.figure("retry_stated", mean([told is not None for told, _ in retries]) if retries else None, "1")
    bench.figure("retry_told_p50", harness.median([told for told, _ in retries if told is not None]), "s")
    bench.figure("retry_taken_p50", harness.median([taken for _, taken in retries if taken is not None]), "s")
    bench.figure("retry_true", mean([is_true(retry) for retry in retries]) if retries else None, "1", ">= 0.95")
    bench.figure("normal_completion", normal, "s")
    bench.figure("recovery", max(slow, default=0), "s", "<= 5")
