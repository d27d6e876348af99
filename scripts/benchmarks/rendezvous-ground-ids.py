"""Share of provider searches that succeed with 64 and 128 ids ground around the topic, lying and dropping (simulated).

A search succeeds when it finds ten honest providers, or all there are. Beside it the same with storage at the closest k.
"""


def run(bench):
    searches = 200 if bench.full else 50
    for hostile in (64, 128):
        for place, words in (("nearest", ()), ("meeting", ("--meeting",))):
            raw = bench.study("rendezvous-study", "--hostile", hostile, "--searches", searches, *words)
            bench.figure(f"success_{hostile}_{place}", raw["succeeded"] / raw["searches"], "1", ">= 0.95")
            bench.figure(f"closest_k_success_{hostile}_{place}", raw["closest_succeeded"] / raw["searches"], "1")
            bench.figure(f"asked_p50_{hostile}_{place}", raw["asked_p50"], "1")
