"""Memory of an idle node with gateway and peers, and the program's size; --full: more peers.

RSS counts shared libraries in full; private (Private_Clean + Private_Dirty of smaps_rollup) is the cost of one more node;
dirty (Private_Dirty) is the part of it that is not a page of a file. Figures are the largest over all nodes. Idle means
ten seconds after every node knows every offer. --full: 64 nodes instead of 16.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import harness


def idle(bench):
    count, seconds = (64, 30) if bench.full else (16, 10)
    with bench.backend() as backend:
        sale = {"serves": "bench", "url": backend["url"], "price": {"input": 0.2, "output": 2.0}, "slots": 4}
        nodes = {f"n{index}": sale if index < count // 2 else {} for index in range(count)}
        with bench.testnet(nodes, timeout=180) as testnet:
            time.sleep(seconds)
            roles = {"seller": testnet.nodes[: count // 2], "asker": testnet.nodes[count // 2 :]}
            for role, members in roles.items():
                found = [harness.memory(node["pid"]) for node in members]
                bench.figure(f"idle_{role}_rss", max(one["rss"] for one in found), "MB", "<= 36")
                bench.figure(f"idle_{role}_private", max(one["private"] for one in found), "MB", "<= 6")
                bench.figure(f"idle_{role}_dirty", max(one["dirty"] for one in found), "MB")
            # Asked afterwards: answering touches code that an idle node does not.
            peers = harness.Door(testnet.nodes[-1]["http"]).get("/mesh/peers")["peers"]
            bench.figure("peers_known", len(peers))
            pids = [node["pid"] for node in testnet.nodes]
            before = sum(map(harness.cpu_seconds, pids))
            time.sleep(seconds)
            used = (sum(map(harness.cpu_seconds, pids)) - before) / seconds / len(pids)
            bench.figure("idle_cpu_per_node", used * 1e3, "ms/s")


def size(bench):
    program = bench.program("starling")
    bench.figure("program", os.path.getsize(program) / 1e6, "MB")
    if shutil.which("strip"):
        with tempfile.TemporaryDirectory() as folder:
            stripped = pathlib.Path(folder, "starling")
            subprocess.run(["strip", "-o", stripped, program], check=True)
            bench.figure("program_stripped", stripped.stat().st_size / 1e6, "MB")


def run(bench):
    size(bench)
    bench.builds = False
    idle(bench)
