"""Attacks of strangers and sellers on real nodes: whether each is held off, and the honest goodput during it.

A seller with 32 slots, a buyer and a paced scripted model server on loopback; eight honest clients ask the buyer, first
alone, then beside the attack (peers/hostile_peer.py, an independent implementation). `…_goodput` is the answers a second
during the attack as a share of those without it. `…_held` is 1 if the attack got nothing of what it wanted: a slot, money,
an empty or endless answer for the client, the node's memory or its time.
"""
import json
import pathlib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import harness

PEER = pathlib.Path(__file__).resolve().parent / "peers" / "hostile_peer.py"
VENV = harness.ROOT / ".cache" / "vectors"
SALE = {"serves": "bench", "price": {"input": 0.2, "cached_input": 0.02, "output": 2.0}, "slots": 32}
CLIENTS = 8


def python():
    """A Python with the packages of Protocol/vectors/requirements.txt; scripts/vectors shares it."""
    requirements = harness.ROOT / "Protocol" / "vectors" / "requirements.txt"
    stamp = VENV / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        harness.remark(f"installing the attacker's packages into {VENV} …")
        try:
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            subprocess.run([VENV / "bin" / "pip", "install", "-q", "-r", requirements], check=True)
        except (OSError, subprocess.CalledProcessError) as problem:
            raise harness.CannotMeasure(f"the attacker's packages can't be installed: {problem}")
        stamp.write_text(requirements.read_text())
    return str(VENV / "bin" / "python")


def ask(url, content="go", timeout=60, **more):
    """One answer that isn't streamed: (status, seconds, text, usage)."""
    body = {"model": "bench", "max_tokens": 10, "messages": [{"role": "user", "content": content}], **more}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            document = json.load(response)
        message = document["choices"][0]["message"]
        return 200, time.monotonic() - started, message["content"] or "", document["usage"]
    except urllib.error.HTTPError as error:
        return error.code, time.monotonic() - started, "", {}
    except OSError:
        return 0, time.monotonic() - started, "", {}


class Scene:
    """A testnet under one attack."""

    def __init__(self, bench, testnet, seconds):
        self.bench, self.testnet, self.seconds = bench, testnet, seconds
        self.url = testnet.http("buyer")
        self.seller = harness.Door(testnet.http("seller"))
        self.peer, self.clients, self.report = None, None, {}

    def answers(self):
        """(answers a second, the fewest tokens of an answer) of the honest clients."""
        try:
            done = self.bench.load([self.url], clients=CLIENTS, seconds=self.seconds, tokens=16)
        except harness.CannotMeasure as problem:
            harness.remark(f"  {problem}")
            return 0, 0
        target = done["targets"][0]
        return len(target["total_us"]) / done["seconds"], min(target["tokens"], default=0)

    def begin(self, attack):
        if attack == "killing_question":
            self.clients = Clients(self.url, "fail500")
            return
        address = lambda name: next(
            f"{node['public_key']}@{node['udp']}" for node in self.testnet.nodes if node["name"] == name)
        words = [python(), "-B", str(PEER), attack, "testnet-bench", address("seller"), address("buyer")]
        self.peer = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.peer.stdout.readline():
            raise harness.CannotMeasure(f"the attack {attack} did not start")
        if attack == "piecemeal":
            self.clients = Clients(self.url, "go", model="bench2")

    def end(self):
        """Ends the attack and keeps its report."""
        if self.clients:
            self.clients.stop()
            self.report["asked"] = self.clients.asked
        if self.peer:
            self.peer.stdin.close()
            line = self.peer.stdout.readline()
            self.peer.wait(timeout=60)
            self.report |= json.loads(line) if line else {}

    def kill(self):
        if self.clients:
            self.clients.stop()
        if self.peer:
            self.peer.kill()
            self.peer.wait()

    def is_alive(self, name):
        return pathlib.Path(f"/proc/{self.testnet.pid(name)}").exists()

    def slots_free_within(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.seller.get("/mesh/status")["models"][0]["slots_busy"] == 0:
                return True
            time.sleep(0.2)
        return False


# What must hold: asked beside the attack, and with its report afterwards.


def slots(scene):
    held = scene.slots_free_within(15)
    scene.end()
    return held


def no_declines(scene):
    scene.end()
    return scene.report["declined"] == 0


def no_debtors(scene):
    scene.end()
    return scene.is_alive("seller") and scene.seller.get("/mesh/status")["earned_from"] <= 1


def few_channels(scene):
    served = ask(scene.url)[0] == 200
    scene.end()
    return served and scene.report["open"] <= 64


def no_empty_answers(scene):
    answers = [ask(scene.url) for _ in range(10)]
    scene.end()
    return all(status == 200 and text for status, _, text, _ in answers) and scene.report["paid_most"] == 0


def limits_kept(scene):
    status, _, text, usage = ask(scene.url, provider={"max_cost": 0.001})
    time.sleep(1.5)
    scene.end()
    return (
        status == 200 and len(text) <= 200 and usage.get("completion_tokens", 0) <= 10
        and scene.report["paid_most"] <= 1_000)


def moves_on(scene):
    answers = [ask(scene.url, provider={"deadline_ms": 60_000}) for _ in range(2)]
    scene.end()
    return all(status == 200 for status, *_ in answers) and answers[0][1] < 15 and answers[1][1] < 5


def answered_at_once(scene):
    """Whole answers of the worst kind are put together all the while."""
    status, seconds, *_ = ask(scene.url, model="bench2")
    scene.end()
    return status == 200 and seconds < 2


def others_served(scene):
    """The breaking question goes on; nobody else may notice, and the seller keeps its trust."""
    answers = [ask(scene.url) for _ in range(5)]
    peers = harness.Door(scene.url).get("/mesh/peers")["peers"]
    scene.end()
    return all(status == 200 and seconds < 1 for status, seconds, *_ in answers) and all(
        peer["trust"] > 0.95 for peer in peers if peer["sells"])


class Clients:
    """The part of an attack that the buyer's own clients play."""

    def __init__(self, url, content, **more):
        self.stopped, self.asked = threading.Event(), 0
        self.thread = threading.Thread(target=self.repeat, args=(url, content), kwargs=more)
        self.thread.start()

    def repeat(self, url, content, **more):
        while not self.stopped.wait(0.3):
            ask(url, content, **more)
            self.asked += 1

    def stop(self):
        self.stopped.set()
        self.thread.join()


ATTACKS = {
    "phantom_leases": no_declines, "unread_jobs": slots, "junk_receipts": no_debtors, "junk_channels": few_channels,
    "killing_question": others_served, "empty_finish": no_empty_answers, "greedy_tokens": limits_kept,
    "stalling": moves_on, "piecemeal": answered_at_once, "cheap_stalling": moves_on, "cheap_empty": no_empty_answers,
    "cheap_greedy": limits_kept, "rotating_keys": moves_on,
}


def run(bench):
    python()
    seconds = 20 if bench.full else 8
    for attack, holds in ATTACKS.items():
        with bench.backend(tokens=16, interval=5) as backend:
            nodes = {"seller": SALE | {"url": backend["url"]}, "buyer": {}}
            with bench.testnet(nodes) as testnet:
                bench.builds = False
                scene = Scene(bench, testnet, seconds)
                scene.answers()
                calm, _ = scene.answers()
                if calm == 0:
                    raise harness.CannotMeasure("the buyer answers nothing without any attack")
                scene.begin(attack)
                try:
                    beside, fewest = scene.answers()
                    held = holds(scene) and fewest > 0 and scene.is_alive("buyer")
                finally:
                    scene.kill()
                harness.remark(f"  {attack}: {scene.report}")
                bench.figure(f"{attack}_held", 1 if held else 0, "", ">= 1")
                bench.figure(f"{attack}_goodput", beside / calm, "", ">= 0.9")
