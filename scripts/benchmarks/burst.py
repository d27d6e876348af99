"""Up to 1,000 requests at once from one asker to one seller with 256 slots: refused for the asker's own bounds, with history and without.

"Without": the asker and the seller have met only as neighbours, and nothing was paid. "With": the asker has paid 300
tasks there. An answer takes half a second, so that slots are taken. A refusal is our own bounds' (`own`), for want of a
free slot (`busy`: for an asker without history the strangers' share decides), or anything else (`other`: "none of them
answers" and the like). After each burst, ten single requests must be answered. `own` and `other` may never be above 0.
"""
import asyncio
import collections
import json
import resource

import harness

SLOTS = 256
HISTORY = 300


async def ask(url):
    """How one streamed request ended: "ok", "busy", "own" or "other: …", and after how many seconds."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "bench", "stream": True, "max_tokens": 25, "messages": [{"role": "user", "content": "go"}]})
    started = asyncio.get_running_loop().time()
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = (await asyncio.wait_for(reader.read(), 90)).decode(errors="replace")
        writer.close()
    except (OSError, asyncio.TimeoutError) as problem:
        return f"other: {problem!r}", asyncio.get_running_loop().time() - started
    taken = asyncio.get_running_loop().time() - started
    if "[DONE]" in answer and '"code":"' not in answer:
        return "ok", taken
    if "requests of its own under way" in answer or '"rate_limited"' in answer:
        return "own", taken
    if '"code":"busy"' in answer:
        return "busy", taken
    return f"other: {answer[-300:]!r}", taken


async def burst(url, count):
    return await asyncio.gather(*(ask(url) for _ in range(count)))


def pay(url):
    for _ in range(HISTORY // 30):
        asyncio.run(burst(url, 30))


def measure(bench, url, label, count):
    ends = asyncio.run(burst(url, count))
    kinds = collections.Counter(kind.split(":")[0] for kind, _ in ends)
    for kind in sorted({kind for kind, _ in ends if kind.startswith("other")})[:3]:
        harness.remark(f"  {label} {count}: {kind}")
    after = [asyncio.run(ask(url)) for _ in range(10)]
    bench.figure(f"refused_own_{label}_{count}", kinds["own"], "", "<= 0")
    bench.figure(f"refused_other_{label}_{count}", kinds["other"], "", "<= 0")
    bench.figure(f"refused_busy_{label}_{count}", kinds["busy"])
    bench.figure(f"delivered_{label}_{count}", kinds["ok"])
    bench.figure(f"slowest_{label}_{count}", max(taken for _, taken in ends), "s")
    bench.figure(f"failed_after_{label}_{count}", sum(kind != "ok" for kind, _ in after), "", "<= 0")
    bench.figure(f"slowest_after_{label}_{count}", max(taken for _, taken in after), "s")


def run(bench):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192) if hard != resource.RLIM_INFINITY else 8_192, hard))
    sizes = [20, 64, 200, 500, 1_000] if bench.full else [20, 200, 1_000]
    with bench.backend(tokens=25, interval=20) as backend:
        bench.builds = False
        sale = {"serves": "bench", "url": backend["url"], "price": {"input": 0.2, "output": 2.0}, "slots": SLOTS}
        for label in ("without", "with"):
            for count in sizes:
                # Fresh processes: a burst leaves history.
                with bench.testnet({"seller": sale, "asker": {}}) as testnet:
                    url = testnet.http("asker")
                    if label == "with":
                        pay(url)
                    measure(bench, url, label, count)
