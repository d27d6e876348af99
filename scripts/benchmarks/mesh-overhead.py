"""First token and tokens/s through the mesh against the same backend asked directly, paired; streamed requests/s at 16.

One client asks the backend and the mesh in turn, so that a slow moment of the machine affects both; the overhead is the
difference of each pair. The asked node serves nothing: every answer crosses two nodes. `added_beside_auction` excludes the
transcript's choose and bids. tokens/s is that of a paced backend (100 tokens at 5 ms), from the first to the last token.
"""
import harness


def nodes(url, sellers):
    sale = {"serves": "bench", "url": url, "price": {"input": 0.2, "output": 2.0}, "slots": 64}
    return {f"seller{index}": sale for index in range(sellers)} | {"asker": {}}


def first_tokens(bench):
    with bench.backend(tokens=16) as backend, bench.testnet(nodes(backend["url"], 3)) as testnet:
        bench.builds = False
        url = testnet.http("asker")
        door = harness.Door(url)
        bench.load([backend["url"], url], requests=50)
        pairs, added, beside = 0, [], []
        while pairs < (3_000 if bench.full else 1_000):
            direct, mesh = bench.load([backend["url"], url], requests=500)["targets"]
            for index, (a, b) in enumerate(zip(direct["first_us"], mesh["first_us"])):
                phases = door.get(f"/mesh/tasks/{mesh['tasks'][index]}")["phases_ms"]
                added.append((b - a) / 1_000)
                beside.append(added[-1] - (phases["choose"] or 0) - (phases["bids"] or 0))
            pairs += len(mesh["first_us"])
        harness.histogram("added to the first token", [max(value, 0.001) for value in added], "ms")
        bench.figure("direct_first_token_p50", harness.median(direct["first_us"]) / 1_000, "ms")
        bench.figure("mesh_first_token_p50", harness.median(mesh["first_us"]) / 1_000, "ms")
        bench.figure("added_beside_auction_p50", harness.percentile(beside, 50), "ms", "<= 2")
        bench.figure("added_in_all_p50", harness.percentile(added, 50), "ms", "<= 2")
        bench.figure("added_in_all_p99", harness.percentile(added, 99), "ms", "<= 6")
        throughput(bench, testnet, backend, url)


def throughput(bench, testnet, backend, url):
    seconds = 20 if bench.full else 8
    pids = {name: testnet.pid(name) for name in ("asker", "seller0", "seller1", "seller2")} | {"backend": backend["pid"]}
    bench.load([url], clients=16, seconds=2)
    before = {name: harness.cpu_seconds(pid) for name, pid in pids.items()}
    done = bench.load([url], clients=16, seconds=seconds)
    used = {name: harness.cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    answers = len(done["targets"][0]["total_us"])
    rate = answers / done["seconds"]
    sellers = sum(value for name, value in used.items() if name.startswith("seller"))
    bench.figure("streamed_requests_at_16", rate, "1/s", ">= 1000")
    bench.figure("failed_requests_at_16", done["targets"][0]["errors"], "", "<= 0")
    bench.figure("first_token_at_16_p50", harness.median(done["targets"][0]["first_us"]) / 1_000, "ms")
    bench.figure("first_token_at_16_p99", harness.percentile(done["targets"][0]["first_us"], 99) / 1_000, "ms")
    bench.figure("cpu_per_request_asker", used["asker"] / answers * 1e6, "us")
    bench.figure("cpu_per_request_sellers", sellers / answers * 1e6, "us")
    bench.figure("cpu_per_request_backend", used["backend"] / answers * 1e6, "us")
    bench.figure("cpu_per_request_client", done["cpu_seconds"] / answers * 1e6, "us")
    direct = bench.load([backend["url"]], clients=16, seconds=3)
    bench.figure("direct_requests_at_16", len(direct["targets"][0]["total_us"]) / direct["seconds"], "1/s")


def token_rate(bench):
    with bench.backend(tokens=100, interval=5) as backend, bench.testnet(nodes(backend["url"], 1)) as testnet:
        url = testnet.http("asker")
        bench.load([backend["url"], url], requests=2)
        direct, mesh = bench.load([backend["url"], url], requests=60 if bench.full else 20)["targets"]
        rates = [
            [(tokens - 1) / (last - first) * 1e6 for tokens, first, last in zip(t["tokens"], t["first_us"], t["last_us"]) if last > first]
            for t in (direct, mesh)
        ]
        bench.figure("direct_tokens_per_s", harness.median(rates[0]), "1/s")
        bench.figure("mesh_tokens_per_s", harness.median(rates[1]), "1/s")
        bench.figure("tokens_per_s_by_direct", harness.median([b / a for a, b in zip(*rates)]), "x", ">= 0.98")
    with bench.backend(tokens=4_000) as backend, bench.testnet(nodes(backend["url"], 1)) as testnet:
        url = testnet.http("asker")
        bench.load([url], requests=3)
        done = bench.load([url], requests=30)["targets"][0]
        rate = [tokens / total * 1e6 for tokens, total in zip(done["tokens"], done["total_us"])]
        bench.figure("unpaced_answer_tokens_per_s", harness.median(rate), "1/s")


def run(bench):
    first_tokens(bench)
    token_rate(bench)
