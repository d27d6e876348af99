"""First token, streamed requests/s and CPU through the mesh against the same backend asked directly, and against LiteLLM.

One client asks the backend and the mesh in turn, so that a slow moment of the machine affects both; the overhead is the
difference of each pair. The asked node serves nothing: every answer crosses two nodes. `added_beside_auction` excludes the
transcript's choose and bids. tokens/s is that of a paced backend (100 tokens at 5 ms), from the first to the last token.

At 1, 16 and 256 streams the backend writes each of 16 tokens by itself, as fast as its loop turns. CPU is that of each
process, and of each thread of the nodes: `mesh` is the loop, `http` the gateway, `pool` the database and large documents.
LiteLLM's proxy (PyPI) stands before the same backend in the same run. `rss_2000_streams` is that of
the asker with 2,000 answers of a token a second open; six sellers have a sixth of them each.
"""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request

import harness
from peers import install

SELLERS = [f"seller{index}" for index in range(3)]
# LiteLLM does not start without one.
KEY = "sk-bench"
THREADS = {"starling": "mesh", "NIO-ELT": "http"}


def nodes(url, sellers, slots=64):
    sale = {"serves": "bench", "url": url, "price": {"input": 0.2, "output": 2.0}, "slots": slots}
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


class Spent:
    """CPU of the processes on the way, in seconds, since it was made."""

    def __init__(self, pids):
        self.pids, self.threads_before = pids, {name: harness.thread_seconds(pid) for name, pid in pids.items()}
        self.before = {name: harness.cpu_seconds(pid) for name, pid in pids.items()}

    def stop(self):
        self.used = {name: harness.cpu_seconds(pid) - self.before[name] for name, pid in self.pids.items()}
        self.threads = {}
        for name, pid in self.pids.items():
            for thread, seconds in harness.thread_seconds(pid).items():
                role = next((role for start, role in THREADS.items() if thread.startswith(start)), "pool")
                key = (name.rstrip("0123456789"), role)
                self.threads[key] = self.threads.get(key, 0) + seconds - self.threads_before[name].get(thread, 0)

    def of(self, kind):
        return sum(seconds for name, seconds in self.used.items() if name.startswith(kind))


def streamed(bench, url, pids, clients, seconds, **options):
    """Answers, their document and the CPU spent, of `clients` that each have one request in flight."""
    bench.load([url], clients=clients, seconds=1, **options)
    spent = Spent(pids)
    done = bench.load([url], clients=clients, seconds=seconds, **options)
    spent.stop()
    return len(done["targets"][0]["total_us"]), done, spent


def throughput(bench, testnet, backend, url):
    """The backend writes each answer at once."""
    pids = {name: testnet.pid(name) for name in ("asker", *SELLERS)} | {"backend": backend["pid"]}
    answers, done, spent = streamed(bench, url, pids, 16, 20 if bench.full else 5)
    bench.figure("at_once_requests_at_16", answers / done["seconds"], "1/s", ">= 1000")
    bench.figure("cpu_per_request_asker", spent.of("asker") / answers * 1e6, "us", "<= 500")
    bench.figure("cpu_per_request_sellers", spent.of("seller") / answers * 1e6, "us")
    direct = bench.load([backend["url"]], clients=16, seconds=2)
    bench.figure("direct_requests_at_16", len(direct["targets"][0]["total_us"]) / direct["seconds"], "1/s")


def token_by_token(bench):
    with bench.backend(tokens=16, apart=True) as backend, bench.testnet(nodes(backend["url"], 3, slots=256)) as testnet:
        url = testnet.http("asker")
        pids = {name: testnet.pid(name) for name in ("asker", *SELLERS)} | {"backend": backend["pid"]}
        for clients in (1, 16, 256):
            answers, done, spent = streamed(bench, url, pids, clients, 20 if bench.full else 6)
            target, goals = done["targets"][0], clients == 16
            bench.figure(
                f"streamed_requests_at_{clients}", answers / done["seconds"], "1/s", ">= 2500" if goals else None)
            bench.figure(f"failed_requests_at_{clients}", target["errors"], "", "<= 0")
            bench.figure(f"first_token_at_{clients}_p50", harness.median(target["first_us"]) / 1_000, "ms")
            bench.figure(f"first_token_at_{clients}_p99", harness.percentile(target["first_us"], 99) / 1_000, "ms")
            both = (spent.of("asker") + spent.of("seller")) / answers * 1e3
            suffix = "" if goals else f"_at_{clients}"
            bench.figure(f"cpu_per_request{suffix}", both, "ms", "<= 0.7" if goals else None)
            for kind in ("asker", "seller"):
                for role in ("mesh", "http", "pool"):
                    used = spent.threads.get((kind, role), 0) / answers * 1e3
                    if used >= 0.001:
                        bench.figure(f"cpu_at_{clients}_{kind}_{role}", used, "ms")
            bench.figure(f"cpu_at_{clients}_backend", spent.of("backend") / answers * 1e3, "ms")
            bench.figure(f"cpu_at_{clients}_client", done["cpu_seconds"] / answers * 1e3, "ms")
        litellm(bench, backend["url"], url)


@contextlib.contextmanager
def proxy(url):
    """LiteLLM's proxy before `url`: its URL and pid."""
    program = install.litellm()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
        configuration = pathlib.Path(folder, "litellm.yaml")
        model = {"model": "openai/bench", "api_base": f"{url}/v1", "api_key": "none"}
        configuration.write_text(
            json.dumps({
                "model_list": [{"model_name": "bench", "litellm_params": model}],
                "general_settings": {"master_key": KEY}}))
        process = subprocess.Popen(
            [program, "--config", configuration, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
            cwd=folder, env={**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(120):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5).close()
                    break
                if process.poll() is not None:
                    raise harness.CannotMeasure(f"LiteLLM's proxy ended with code {process.returncode}")
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait()


def litellm(bench, backend, mesh):
    """The same load on LiteLLM's proxy, and the first tokens of all three in turn."""
    try:
        with proxy(backend) as (url, pid):
            answers, done, spent = streamed(bench, url, {"litellm": pid}, 16, 20 if bench.full else 6, key=KEY)
            bench.figure("litellm_requests_at_16", answers / done["seconds"], "1/s")
            bench.figure("litellm_cpu_per_request", spent.of("litellm") / answers * 1e3, "ms")
            direct, ours, theirs = (
                harness.median(target["first_us"]) / 1_000
                for target in bench.load([backend, mesh, url], requests=100, key=KEY)["targets"])
            bench.figure("litellm_added_to_first_token_p50", theirs - direct, "ms")
            bench.figure("mesh_added_to_first_token_p50", ours - direct, "ms")
    except harness.CannotMeasure as problem:
        harness.remark(f"  without LiteLLM: {problem}")


def open_streams(bench, count=2_000):
    """Memory of both nodes with `count` answers open. Strangers may use half of a seller's slots."""
    with bench.backend(tokens=3_600, interval=1_000) as backend, bench.testnet(
            nodes(backend["url"], 6, slots=1_024)) as testnet:
        url, door = testnet.http("asker"), harness.Door(backend["url"])
        with bench.loading(url, clients=count):
            opened = 0
            for _ in range(60):
                opened = door.get("/stats")["running"]
                if opened >= count:
                    break
                time.sleep(0.5)
            time.sleep(10 if bench.full else 5)
            bench.figure("streams_open", door.get("/stats")["running"], "", f">= {count}")
            found = {name: harness.memory(testnet.pid(name))["rss"] for name in ("asker", "seller0")}
            bench.figure("rss_2000_streams", found["asker"], "MB", "<= 120")
            bench.figure("rss_2000_streams_seller", found["seller0"], "MB")


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
        # Clients that don't read hold up their own answers alone.
        with bench.loading(url, clients=32, stalled=True):
            time.sleep(1)
            done = bench.load([url], requests=30)["targets"][0]
        beside = [tokens / total * 1e6 for tokens, total in zip(done["tokens"], done["total_us"])]
        bench.figure("beside_32_stalled_by_alone", harness.median(beside) / harness.median(rate), "x", ">= 0.9")


def run(bench):
    first_tokens(bench)
    token_by_token(bench)
    open_streams(bench)
    token_rate(bench)
