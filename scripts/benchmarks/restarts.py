"""Sellers killed and restarted every 5 s under load: requests delivered whole, and how soon every node holds the new offer.

Three sellers, one scripted model server, and two nodes that only ask and are never restarted. Each seller is restarted
every 5 s, in turn, by SIGKILL and by SIGTERM alternately, and is back at once. Eight clients ask the two nodes in a
closed loop, streamed and without retries; a request is delivered when its text is complete. `offers_everywhere` is the
time from the moment at which a restarted seller lists its own new offer until both askers list it, in that version or a
newer one.
"""
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import harness

SELLERS, ASKERS, CLIENTS = 3, 2, 8
EVERY = 5.0
TOKENS, INTERVAL = 20, 20
TEXT = "".join(f"w{index} " for index in range(TOKENS))


class Seller:
    """One seller's process, begun by the testnet and continued here."""

    def __init__(self, testnet, name):
        self.testnet, self.name = testnet, name
        self.record = next(node for node in testnet.nodes if node["name"] == name)
        self.process = None

    def end(self, number):
        if self.process is None:
            os.kill(self.record["pid"], number)
            while os.path.exists(f"/proc/{self.record['pid']}") and not self.is_zombie():
                time.sleep(0.01)
        else:
            self.process.send_signal(number)
            self.process.wait()

    def is_zombie(self):
        try:
            with open(f"/proc/{self.record['pid']}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    def start(self):
        with open(self.record["log"], "a") as log:
            self.process = subprocess.Popen(
                [self.testnet.program_path, "node", "--config", self.record["config"], "--quiet", "--grace", "2"],
                stdout=log, stderr=log)

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def offers(url):
    """{node id: sequence} of what the node lists; None while it doesn't answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/mesh/offers?model=bench")
        document = json.loads(connection.getresponse().read())
        return {offer["node_id"]: offer["sequence"] for offer in document["offers"]}
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


class Load:
    """Clients that ask until the end."""

    def __init__(self, urls):
        self.outcomes, self.lock, self.over = {}, threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(urls[n % len(urls)],)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, url):
        while not self.over.is_set():
            outcome = self.ask(url)
            with self.lock:
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            # A refusal at once must not become thousands.
            time.sleep(0 if outcome == "delivered" else 0.2)

    def ask(self, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        body = {"model": "bench", "messages": [{"role": "user", "content": "go on"}], "temperature": 0, "stream": True}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            return f"no answer: {type(problem).__name__}"
        finally:
            connection.close()
        if response.status != 200:
            return f"{response.status} {json.loads(answer)['error']['message']}"
        text, error = "", None
        for line in answer.splitlines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            error = error or event.get("error")
            for choice in event.get("choices", []):
                text += choice["delta"].get("content") or ""
        if error:
            return f"broken off: {error['message']}"
        return "delivered" if text == TEXT else f"{len(text)} of {len(TEXT)} characters"

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def returned(seller, before, urls):
    """Seconds until the restarted seller lists its own new offer, and from then until every asker lists it."""
    begun, sequence = time.monotonic(), None
    while sequence is None and time.monotonic() < begun + 10:
        sequence = (offers(seller.record["http"]) or {}).get(seller.record["node_id"])
        if sequence is not None and sequence <= before:
            sequence = None
        time.sleep(0.01)
    published = time.monotonic()
    if sequence is None:
        raise harness.CannotMeasure(f"{seller.name} offers nothing 10 s after its restart")
    while time.monotonic() < published + 120:
        listed = [(offers(url) or {}).get(seller.record["node_id"], 0) for url in urls]
        if all(held >= sequence for held in listed):
            break
        time.sleep(0.01)
    return published - begun, time.monotonic() - published


def run(bench):
    seconds = 180 if bench.full else 45
    with bench.backend(tokens=TOKENS, interval=INTERVAL) as backend:
        bench.builds = False
        # vLLM can continue an interrupted answer; so can the scripted server.
        sale = {"serves": "bench", "url": backend["url"], "backend": "vllm", "price": {"input": 0.2, "output": 2.0}, "slots": 8}
        nodes = {f"asker{index}": {} for index in range(ASKERS)} | {f"seller{index}": sale for index in range(SELLERS)}
        with bench.testnet(nodes) as testnet:
            askers = [testnet.http(f"asker{index}") for index in range(ASKERS)]
            sellers = [Seller(testnet, f"seller{index}") for index in range(SELLERS)]
            load = Load(askers)
            watches, times, problems = [], [], []

            def watch(seller, before):
                try:
                    times.append(returned(seller, before, askers))
                except harness.CannotMeasure as problem:
                    problems.append(problem)

            try:
                begun, turn = time.monotonic(), 0
                while (at := begun + 2 + turn * EVERY / SELLERS) < begun + seconds:
                    time.sleep(max(0, at - time.monotonic()))
                    seller = sellers[turn % SELLERS]
                    before = max((offers(url) or {}).get(seller.record["node_id"], 0) for url in askers)
                    seller.end(signal.SIGTERM if turn // SELLERS % 2 else signal.SIGKILL)
                    seller.start()
                    watches.append(threading.Thread(target=watch, args=(seller, before)))
                    watches[-1].start()
                    turn += 1
                for thread in watches:
                    thread.join()
                load.end()
            finally:
                load.over.set()
                for seller in sellers:
                    seller.stop()
    if problems:
        raise problems[0]
    asked = sum(load.outcomes.values())
    for outcome, count in sorted(load.outcomes.items(), key=lambda pair: -pair[1]):
        harness.remark(f"  {count:>6}  {outcome}")
    spread = [everywhere for _, everywhere in times]
    bench.figure("restarts", len(times))
    bench.figure("requests", asked)
    bench.figure("delivered", 100 * load.outcomes.get("delivered", 0) / asked, "%", ">= 99.9")
    bench.figure("own_offer_p50", harness.percentile([own for own, _ in times], 50), "s")
    bench.figure("offers_everywhere_p50", harness.percentile(spread, 50), "s")
    bench.figure("offers_everywhere_p99", harness.percentile(spread, 99), "s", "<= 2")
