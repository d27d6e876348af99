"""Share of provider searches that succeed with 64 and 128 ids ground around the topic, lying and dropping (simulated).

A search succeeds when it finds ten honest providers, or all if there are fewer. For comparison, the same with storage at
the k closest nodes and, in the long form, with searches that only go from far to near.
"""


def run(bench):
    searches, seeds = (200, (1, 2, 3)) if bench.full else (50, (1,))
    for hostile in (64, 128):
        for place, words in (("nearest", ()), ("meeting", ("--meeting",))):
            for behaviour in ("lying", "dropping"):
                name = f"{hostile}_{place}_{behaviour}"
                options = (*words, "--hostile", hostile, "--behaviour", behaviour, "--searches", searches)
                runs = [bench.study("rendezvous-study", *options, "--seed", seed) for seed in seeds]
                success = share(runs, "succeeded")
                bench.figure(f"success_{name}", success, "1", ">= 0.95")
                bench.figure(f"closest_k_success_{name}", share(runs, "closest_succeeded"), "1")
                bench.figure(f"asked_p50_{name}", most(runs, "asked_p50"), "1")
                bench.figure(f"first_honest_p50_{name}", most(runs, "first_ms_p50"), "ms")
                bench.figure(f"first_honest_p99_{name}", most(runs, "first_ms_p99"), "ms")
                if bench.full:
                    plain = [bench.study("rendezvous-study", *options, "--seed", seed, "--near-every", 0) for seed in seeds]
                    bench.figure(f"success_by_far_to_near_{name}", success / share(plain, "succeeded"), "x", ">= 0.99")
                    bench.figure(f"far_to_near_first_honest_p50_{name}", most(plain, "first_ms_p50"), "ms")
                    bench.figure(f"far_to_near_first_honest_p99_{name}", most(plain, "first_ms_p99"), "ms")


def share(runs, key):
    return sum(run[key] for run in runs) / sum(run["searches"] for run in runs)


def most(runs, key):
    return max(run[key] for run in runs)
