"""Simulated nodes at rest: virtual seconds per second on one core, and bytes per node: 1,000 nodes (--full: 10,000 too).

Full peers on the plain carrier (the same packets without cryptography, one memo of checked signatures), as in
testnet/scenarios/steady-10000.yaml; for comparison, 1,000 nodes with real cryptography. The speed is that of the second
half of the calm period, when every node has joined. Bytes are the growth of resident memory, after the allocator has
returned unused memory, divided by the number of nodes.
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
