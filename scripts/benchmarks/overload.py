"""A market at 3 × its capacity for a minute: answers in time, truth of the stated retry times, and recovery (simulated).

Ten sellers of 4 slots at 15 to 240 tokens/s, ten askers, Poisson arrivals of answers of 240 tokens, 1 to 16 s, whose clients wait
for 30 s; after the minute, half the capacity. `goodput`: tokens of answers that ended in time, from the eleventh second to
the sixtieth, by what all slots can do. `refused`: tasks that were not taken, and `refused_after`, how soon they heard it; `missed`:
tasks that were taken, and not ended in time. `retry_true`: the share of refused clients whose stated time was right within a factor
of 2: from the refusal until the market took a later task of the same asker, both counted as at least a second, the unit of
Retry-After; `retry_true_any`: a later task of any asker, which the sellers may know better.

`recovery`: seconds after the overload until the last task was asked for that was refused or not ended in time. From then on the
market does what it always does, but later: nobody is refused who can have an answer in time, so that up to 30 s of work are
promised when the overload ends, and half the capacity is left to do them beside what comes. `drained`: until the answers asked for
in each later second take no more than 1.5 × as long, on average, as in the same market at half its capacity. `drained_least`: how
long that work takes with half the capacity, in whatever order; sooner, promises would have to be broken, or tasks refused that
can be done. Five seeds, whose tasks are put together; --full: twenty.
"""
import concurrent.futures
import os

import harness

MARKET = ("--sellers", 10, "--askers", 10, "--tokens", 240, "--tokens", 240, "--deadline", 30)


def is_true(told, taken):
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
    print("  completion by every fifth second of asking after the overload, s: " + " ".join(
        f"{mean(times):.1f}" if times else "-" for times in after[::5]))
    bench.figure("goodput", mean([run["goodput"] for run in runs]), "1", ">= 0.9")
    bench.figure("refused", mean([run["refused"] for run in runs]), "1")
    bench.figure("missed", mean([run["missed"] for run in runs]), "1", "<= 0.02")
    bench.figure("refused_after_p50", harness.median([run["refusal_p50"] for run in runs]), "s")
    bench.figure("refused_after_p99", harness.median([run["refusal_p99"] for run in runs]), "s")
    bench.figure("retry_stated", mean([told is not None for told, _, _ in retries]) if retries else None, "1")
    bench.figure("retry_told_p50", harness.median([told for told, _, _ in retries if told is not None]), "s")
    bench.figure("retry_taken_p50", harness.median([taken for _, taken, _ in retries if taken is not None]), "s")
    bench.figure("retry_true", mean([is_true(told, taken) for told, taken, _ in retries]) if retries else None, "1", ">= 0.95")
    bench.figure("retry_true_any", mean([is_true(told, taken) for told, _, taken in retries]) if retries else None, "1")
    bench.figure("recovery", max(run["recovery"] for run in runs), "s", "<= 5")
    drained, least = max(slow, default=0), mean([run["backlog"] for run in runs]) / 0.5
    bench.figure("normal_completion", normal, "s")
    bench.figure("drained", drained, "s")
    bench.figure("drained_least", least, "s")
    bench.figure("drained_by_least", drained / least, "x", "<= 1.1")
