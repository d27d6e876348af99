"""Signatures, sealing, handshakes, offers and PINGs per core, against bare libsodium in the same run.

Times are CPU times of one thread, medians of slices of some milliseconds; our calls and the bare ones alternate. A
handshake is all work of one side from the request to the established session, with a PING included and the peer's key known.
"""
import json
import subprocess

import harness


def run(bench):
    seconds = "3" if bench.full else "0.6"
    done = subprocess.run([bench.program("starling-bench"), "crypto", "--seconds", seconds], capture_output=True, text=True)
    if done.returncode != 0:
        raise harness.CannotMeasure(done.stderr.strip())
    raw = json.loads(done.stdout.splitlines()[-1])
    print(f"libsodium {raw['sodium']}")
    for name in ("verify", "sign", "seal_1000B", "open_1000B", "x25519"):
        bench.figure(name, raw[f"{name}_us"], "us")
        bench.figure(f"{name}_rate_by_bare", raw[f"{name}_ratio"], "x")
    bench.figure("key_conversion", raw["key_conversion_us"], "us")
    bench.figure("handshake_initiator_cpu", raw["handshake_initiator_us"], "us", "<= 250")
    bench.figure("handshake_responder_cpu", raw["handshake_responder_us"], "us", "<= 250")
    bench.figure("wrong_mac_dropped", raw["wrong_mac_us"], "us", "<= 1")
    bench.figure("offers_merged_per_s", raw["offers_per_s"], "1/s")
    bench.figure("offers_merged_rate_by_bare_verify", raw["offers_ratio"], "x", ">= 0.85")
    bench.figure("ping_answered_by_sessions_per_s", raw["ping_sessions_per_s"], "1/s")
    bench.figure("ping_answered_by_peer_per_s", raw["ping_peer_per_s"], "1/s")
