"""Bytes out per byte in towards unproven addresses: the highest ratio in any state (goal 1.0).

Seeded floods from strangers, random programs, and every message kind in every unproven state, counted at the carrier.
A datagram that breaks the rule ends the run.
"""
import json
import subprocess

import harness


def run(bench):
    seeds = "5000" if bench.full else "300"
    done = subprocess.run([bench.program("starling-bench"), "amplification", "--seeds", seeds], capture_output=True, text=True)
    if done.returncode != 0:
        raise harness.CannotMeasure(f"the rule was broken: {done.stderr.strip()}")
    raw = json.loads(done.stdout.splitlines()[-1])
    for name, text in (("storms", "storm"), ("programs", "program"), ("kinds", "kind")):
        bench.figure(f"{name}_out_by_in_max", raw[name], "x", "<= 1")
        bench.figure(f"{text}_answers", raw[f"{text}_answers"], "1")
