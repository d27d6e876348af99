"""Simulated nodes at rest: virtual seconds a second on one core, and bytes a node: 1,000 nodes (--full: 10,000 too).

Full peers on the plain carrier (the same packets without cryptography, one memo of checked signatures), as in
testnet/scenarios/steady-10000.yaml; 1,000 nodes with real cryptography beside it. The speed is that of the second half of
its calm, when everybody has joined. Bytes are the resident memory that the world
takes (after it less before, what the allocator keeps for later given back), divided by the nodes.
"""
import json
import subprocess

import harness

SCENARIO = harness.ROOT / "testnet" / "scenarios" / "steady-10000.yaml"


def run(bench):
    program = bench.program("starling")
    for nodes, carrier in [(1_000, "sealed"), (1_000, "plain")] + ([(10_000, "plain")] if bench.full else []):
        words = [program, "sim", str(SCENARIO), "--nodes", str(nodes), "--carrier", carrier, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=3_600)
        if not done.stdout:
            raise harness.CannotMeasure(done.stderr.strip())
        document = json.loads(done.stdout)
        name = f"nodes{nodes}_{carrier}"
        goal = ">= 10" if nodes == 10_000 else None
        bench.figure(f"{name}_times_real_time", document["times_real_time_at_rest"], "x", goal)
        bench.figure(f"{name}_events", document["events_per_s"], "/s")
        bench.figure(f"{name}_bytes_per_node", document["resident_bytes_per_node"], "B")
        bench.figure(f"{name}_sent_per_node", document["sent_bytes_per_s"]["mean"], "B/s")
        bench.figure(f"{name}_violations", len(document["violations"]), "", "<= 0")
