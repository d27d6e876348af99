"""Sellers killed and frozen under answers and under waiting tasks, also in quick succession: bytes lost and repeated, gaps.

Six sellers, one scripted model server and one node that asks, on loopback. Every half second or so a seller is killed
(SIGKILL) and started again at once, or frozen (SIGSTOP) for four seconds, in turn; one in four is followed by another a
tenth of a second later. `stream`: 12 clients at 48 slots, so that only a worker's loss makes a client wait. `queue`: 20
clients at 12 slots, so that places are lost too, and whoever loses a worker waits for a slot with the others.

Losses are counted in assignments that broke off, as the transcripts have them: in mid-stream with text, else before it. A gap
in which several workers were lost counts as that number of equal ones; the model server reads prompts in no time, so that a gap
is all ours. `llama`: 4 clients and llama.cpp at each seller, where it is set up; up to a second of its gaps is the prompt's.
Receipts add up if what the asking node spent is what its clients were told that their answers cost. --full: 1,000 kills and 1,000
freezes, and 100 of each with llama.cpp.
"""
import asyncio
import collections
import json
import os
import random
import signal
import subprocess
import time

import harness

SELLERS = 6
TOKENS, INTERVAL = 100, 20
WORDS = [f"w{index} " for index in range(TOKENS)]
FROZEN = 4.0


class Seller:
    """A seller's process: the testnet's first, then ours."""

    def __init__(self, testnet, record):
        self.testnet, self.record, self.process = testnet, record, None
        self.is_well = True

    @property
    def pid(self):
        return self.process.pid if self.process else self.record["pid"]

    async def kill(self):
        self.is_well = False
        os.kill(self.pid, signal.SIGKILL)
        while self.is_alive():
            await asyncio.sleep(0.01)
        with open(self.record["log"], "a") as log:
            words = [self.testnet.program_path, "node", "--config", self.record["config"], "--quiet", "--grace", "2"]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        await asyncio.sleep(1)
        self.is_well = True

    async def freeze(self):
        self.is_well = False
        os.kill(self.pid, signal.SIGSTOP)
        await asyncio.sleep(FROZEN)
        os.kill(self.pid, signal.SIGCONT)
        await asyncio.sleep(0.5)
        self.is_well = True

    def is_alive(self):
        if self.process:
            return self.process.poll() is None
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


async def connect(url):
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=1 << 24)


async def get(url, path):
    reader, writer = await connect(url)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise harness.CannotMeasure(f"GET {path}: {head[:100]!r}")
    return json.loads(body)


class Answer:
    """What a client got."""

    def __init__(self):
        self.task, self.text, self.error, self.cost, self.done = None, "", None, 0, False


async def ask(url, body):
    answer = Answer()
    try:
        reader, writer = await connect(url)
        data = json.dumps(body)
        writer.write((
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n{data}").encode())
        while line := await asyncio.wait_for(reader.readline(), 120):
            if line.lower().startswith(b"x-request-id:"):
                answer.task = line.split(b":", 1)[1].strip().decode()
            if line.startswith(b'{"error"'):
                answer.error = json.loads(line)["error"]
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                answer.done = True
                continue
            event = json.loads(line[6:])
            answer.error = event.get("error") or answer.error
            answer.cost = (event.get("usage") or {}).get("cost_ucr") or answer.cost
            for choice in event.get("choices", []):
                answer.text += choice["delta"].get("content") or ""
        writer.close()
    except (OSError, asyncio.TimeoutError, ValueError) as problem:
        answer.error = answer.error or {"message": repr(problem)}
    if answer.error:
        answer.cost = answer.cost or (answer.error.get("metadata", {}).get("usage") or {}).get("cost_ucr") or 0
    return answer


class Tally:
    """What all clients of one run got."""

    def __init__(self, expected):
        self.expected = expected
        self.hits = self.asked = self.delivered = self.lost_bytes = self.repeated_bytes = self.cost = 0
        self.losses, self.gaps, self.failures = collections.Counter(), [], collections.Counter()
        # The longest gaps, with the assignments around them.
        self.slowest = []

    def add(self, answer):
        self.asked += 1
        self.cost += answer.cost
        if answer.error or not answer.done:
            # Told, so that nobody takes a part for the whole.
            self.failures[(answer.error or {}).get("message", "no [DONE]")[:140]] += 1
            return self.compare(answer.text, self.expected[:len(answer.text)])
        self.delivered += 1
        self.compare(answer.text, self.expected)

    def compare(self, text, expected):
        if text == expected:
            return
        got, wanted = collections.Counter(text.split()), collections.Counter(expected.split())
        lost = sum(len(word) + 1 for word in (wanted - got).elements())
        repeated = sum(len(word) + 1 for word in (got - wanted).elements())
        self.lost_bytes += lost
        # Another order is both.
        self.repeated_bytes += repeated if lost or repeated else len(text)

    def trace(self, document):
        together = 0
        for assignment in document["assignments"]:
            if together and assignment["gap_ms"] is not None and assignment["tokens"]:
                self.gaps += [assignment["gap_ms"] / 1_000 / together] * together
                around = "; ".join(f"{a['name']} {a['ended']} after {a['tokens']}" for a in document["assignments"])
                self.slowest = sorted(self.slowest + [(assignment["gap_ms"], around, document["task"])])[-3:]
            together = 0 if assignment["tokens"] else together
            if assignment["ended"] in ("lost", "stalled"):
                together += 1
                kind = "kills" if assignment["ended"] == "lost" else "freezes"
                self.losses[kind] += 1
                self.losses["in_mid_stream" if assignment["tokens"] else "before_text"] += 1


async def break_sellers(sellers, tally, goal, until, chance):
    """Kills and freezes until both have cost enough assignments."""
    running, turn = set(), 0
    while time.monotonic() < until and min(tally.losses["kills"], tally.losses["freezes"]) < goal:
        well = [seller for seller in sellers if seller.is_well]
        # Half of them stay, or there is nobody to go on.
        if len(well) > SELLERS // 2:
            turn += 1
            missing = [kind for kind in ("kills", "freezes") if tally.losses[kind] < goal]
            is_kill = missing[turn % len(missing)] == "kills"
            seller = chance.choice(well)
            task = asyncio.create_task(seller.kill() if is_kill else seller.freeze())
            running.add(task)
            task.add_done_callback(running.discard)
            tally.hits += 1
        await asyncio.sleep(0.1 if chance.random() < 0.25 else chance.uniform(0.3, 0.8))
    await asyncio.gather(*running)


async def measure(testnet, url, clients, goal, limit, expected, body, cost):
    sellers = [Seller(testnet, node) for node in testnet.nodes if node["name"].startswith("seller")]
    tally, over, chance = Tally(expected), asyncio.Event(), random.Random(1)
    tally.cost = cost

    async def client():
        while not over.is_set():
            answer = await ask(url, body)
            tally.add(answer)
            if answer.task:
                tally.trace(await get(url, f"/mesh/tasks/{answer.task}"))
            await asyncio.sleep(0.2 if answer.error else 0)

    try:
        workers = [asyncio.create_task(client()) for _ in range(clients)]
        await break_sellers(sellers, tally, goal, time.monotonic() + limit, chance)
        over.set()
        await asyncio.gather(*workers)
        # The last receipts are on their way.
        await asyncio.sleep(1.5)
        spent = (await get(url, "/mesh/status"))["spent_ucr"]
        earned = sum([(await get(seller.record["http"], "/mesh/status"))["earned_ucr"] for seller in sellers])
    finally:
        for seller in sellers:
            seller.stop()
    return tally, spent, earned


def report(bench, label, tally, spent, earned, gap_goal):
    for message, count in tally.failures.most_common(5):
        harness.remark(f"  {label}: {count:>5}  {message}")
    for gap, around, task in tally.slowest:
        harness.remark(f"  {label}: a gap of {gap / 1_000:.1f} s: {around} ({task})")
    bench.figure(f"{label}_sellers_hit", tally.hits)
    for kind in ("kills", "freezes", "in_mid_stream", "before_text"):
        bench.figure(f"{label}_{kind}", tally.losses[kind])
    bench.figure(f"{label}_answers", tally.asked)
    bench.figure(f"{label}_failed", tally.asked - tally.delivered, "", "<= 0")
    bench.figure(f"{label}_lost_bytes", tally.lost_bytes, "B", "<= 0")
    bench.figure(f"{label}_repeated_bytes", tally.repeated_bytes, "B", "<= 0")
    bench.figure(f"{label}_gap_p50", harness.percentile(tally.gaps, 50), "s")
    bench.figure(f"{label}_gap_p99", harness.percentile(tally.gaps, 99), "s", gap_goal)
    bench.figure(f"{label}_spent_beyond_told", abs(spent - tally.cost), "ucr", "<= 0")
    # A killed process loses receipts that it had not stored.
    bench.figure(f"{label}_earned_of_spent", earned / max(1, spent), "")


def run(bench):
    goal, limit = (1_000, 3_600) if bench.full else (150, 180)
    with bench.backend(tokens=TOKENS, interval=INTERVAL) as backend:
        bench.builds = False
        question = {"temperature": 0, "messages": [{"role": "user", "content": "go on"}]}
        for label, clients, slots, share in (("stream", 12, 8, 1), ("queue", 20, 2, 3)):
            # vLLM can continue an interrupted answer; so can the scripted server.
            sale = {"serves": "bench", "url": backend["url"], "backend": "vllm", "slots": slots}
            done = play(bench, sale, clients, goal // share, limit // share, question, "".join(WORDS))
            report(bench, label, *done, "<= 2.5" if label == "stream" else None)
    # scripts/setup has put llama.cpp's server there.
    if not (harness.ROOT / ".cache" / "venv").exists():
        return harness.remark("  llama.cpp is not set up (scripts/setup): left out")
    question = {"temperature": 0, "max_tokens": 150, "messages": [{"role": "user", "content": "Count from 5 to 60."}]}
    file = str(harness.ROOT / "testnet" / "models" / "wren-m.gguf")
    sale = {"serves": "wren-m", "file": file, "speed": 60, "slots": 2}
    report(bench, "llama", *play(bench, sale, 4, 100 if bench.full else 15, limit, question), "<= 3.5")


def play(bench, sale, clients, goal, limit, question, expected=None):
    """One run; without `expected` an answer that nothing interrupts says what is right."""
    sale = {**sale, "price": {"input": 0.2, "output": 2.0}}
    body = {**question, "model": sale["serves"], "stream": True, "stream_options": {"include_usage": True}}
    with bench.testnet({f"seller{index}": sale for index in range(SELLERS)} | {"asker": {}}) as testnet:
        url = testnet.http("asker")
        first = asyncio.run(ask(url, body))
        if first.error or not first.done:
            raise harness.CannotMeasure(f"the first answer: {first.error}")
        return asyncio.run(measure(testnet, url, clients, goal, limit, expected or first.text, body, first.cost))
