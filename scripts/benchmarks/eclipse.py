"""The share of a table that 1,000 ids in four /24s gain, and whether nodes restarting under attack recover (simulated).

A mesh of 1,000 honest nodes, each in its own /24. The attackers answer everything, name only each other and
introduce themselves 200 times a second. A restarting node has an empty table, 64 anchors of which 8 are honest and live,
24 hostile and 32 dead, and a bootstrap list of two attackers and two dead nodes. For comparison, the same attackers
with a /24 each, which costs them a thousand networks.
"""


def run(bench):
    restarts = 1_000 if bench.full else 200
    attack = bench.study("eclipse-study", "--restarts", restarts)
    bench.figure("slots_per_24_max", attack["slots_per_24_max"], "", "<= 10")
    bench.figure("hostile_share_of_settled_table_max", attack["hostile_share_settled"], "1")
    bench.figure("hostile_share_of_restarted_table_max", attack["hostile_share_restarted"], "1")
    bench.figure("restarts", attack["restarts"])
    bench.figure("restarts_reaching_two_anchors", attack["reached_two"] / attack["restarts"], "1", ">= 0.99")
    bench.figure("two_anchors_after_p50", attack["reached_ms_p50"], "ms")
    bench.figure("two_anchors_after_p99", attack["reached_ms_p99"], "ms")
    bench.figure("lookups_after_restart_finding_closest_honest", attack["found"] / attack["lookups"], "1")
    rich = bench.study("eclipse-study", "--restarts", restarts // 4, "--networks", 1_000)
    bench.figure("restarts_reaching_two_anchors_1000_networks", rich["reached_two"] / rich["restarts"], "1")
    bench.figure("two_anchors_after_p99_1000_networks", rich["reached_ms_p99"], "ms")
    bench.figure("hostile_share_of_settled_table_max_1000_networks", rich["hostile_share_settled"], "1")
    bench.figure("lookups_after_restart_finding_closest_honest_1000_networks", rich["found"] / rich["lookups"], "1")
