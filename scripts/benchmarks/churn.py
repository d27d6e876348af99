"""Nodes that live for five minutes on average, killed or without power: answers delivered whole, and how long failovers take (simulated).

testnet/scenarios/churn.yaml: 72 full peers on links with 1 % loss; all but the two that others join by come and go for 17 minutes,
half of them by a kill, half by a loss of power. 2,000 answers of 200 to 600 tokens, each checked to the byte. `delivered` is
a share of the answers whose asker itself stayed up. Three seeds; --full: twenty.
"""
import concurrent.futures
import json
import os
import subprocess

import harness

SCENARIO = harness.ROOT / "testnet" / "scenarios" / "churn.yaml"


def play(program, seed):
    words = [program, "sim", str(SCENARIO), "--seed", str(seed), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3_600)
    if not done.stdout:
        raise harness.CannotMeasure(done.stderr.strip())
    return json.loads(done.stdout)


def run(bench):
    program = bench.program("starling")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda seed: play(program, seed), range(1, 21 if bench.full else 4)))
    for document in runs:
        outcomes = ", ".join(f"{count} {name}" for name, count in document["outcomes"].items())
        harness.remark(f"  seed {document['seed']}: {outcomes}")
    stayed = sum(document["tasks"] - document["outcomes"].get("asker_lost", 0) for document in runs)
    bench.figure("answers", stayed)
    bench.figure("delivered", 100 * sum(document["outcomes"]["delivered"] for document in runs) / stayed, "%", ">= 99.5")
    bench.figure("violations", sum(len(document["violations"]) for document in runs), "", "<= 0")
    bench.figure("failovers", sum(document["failovers"] for document in runs))
    gaps = [document["failover_gap"] for document in runs]
    bench.figure("failover_gap_p50", harness.median([gap["p50_ms"] for gap in gaps]) / 1_000, "s")
    bench.figure("failover_gap_max", max(gap["max_ms"] for gap in gaps) / 1_000, "s")
    bench.figure("first_byte_p99", max(document["first_byte"]["p99_ms"] for document in runs) / 1_000, "s")
