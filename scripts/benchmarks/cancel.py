"""From a client's hang-up until nothing works for it any more: in the auction, queued, before the first token, in mid-stream.

A seller with a scripted model server, another that is frozen while auctions are to stay open, and a node that asks, on loopback;
streamed and not in turn. `waiting` and `stream`: until the model server's connection ended, by its own clock. `auction`: the
client hangs up within 60 ms of its request, while the frozen seller's answer is awaited; `queued`: it has a place in the queue,
because all slots are taken. There the model server may never be asked: the time is `free`, or that until the model server's
connection ended, whichever is later. `…_free`: until the asking node runs nothing for the client, and its seller has neither
slot nor place for it, by their status, asked every few milliseconds. `in_vain` counts queued requests that reached the model
server after their client had gone. --full: 250 of each.
"""
import contextlib
import json
import os
import random
import signal
import socket
import time

import harness

SLOTS = 2
LIMIT = 5.0


def send(url, streams):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=LIMIT)
    body = json.dumps({"model": "parrot", "stream": streams, "messages": [{"role": "user", "content": "go"}]})
    connection.sendall((
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
    return connection


def read_until(connection, word):
    text = b""
    while word not in text:
        part = connection.recv(65_536)
        if not part:
            raise harness.CannotMeasure(f"the answer ended before {word!r}: {text[-300:]!r}")
        text += part


def wait(what, condition, limit=LIMIT):
    """Seconds of the clock when it held; raises if it never did."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.003)
    raise harness.CannotMeasure(f"{what}: not within {limit} s")


class Mesh:
    def __init__(self, testnet, server):
        self.testnet, self.server = testnet, server
        self.url = testnet.http("fay")
        self.asker, self.seller = harness.Door(self.url), harness.Door(testnet.http("ada"))

    def running(self):
        return self.asker.get("/mesh/status")["tasks"]["running"]

    def taken(self):
        """Slots and places that the seller has given away, to bids too."""
        models = self.seller.get("/mesh/status")["models"]
        return sum(model["slots_busy"] for model in models), sum(model["waiting"] for model in models)

    def is_quiet(self, slots=0):
        return self.running() == slots and self.taken() == (slots, 0)

    def free(self, at, slots=0):
        """Seconds from that time on until only tasks in that number of slots are left."""
        wait("slots and places are free", lambda: self.is_quiet(slots))
        return time.time() - at

    def ended(self, count):
        """When the model server's request of this number ended, by its clock."""
        return wait("the model server is left alone", lambda: self.server.requests()[count]["ended"])


def waiting(mesh, streams):
    mesh.server.play(first=30, tokens=1_000)
    before = mesh.server.asked()
    connection = send(mesh.url, streams)
    wait("the model server works", lambda: mesh.server.asked() > before)
    connection.close()
    at = time.time()
    free = mesh.free(at)
    return mesh.ended(before) - at, free


def stream(mesh, streams):
    mesh.server.play(first=0, every=0.01, tokens=1_000)
    before = mesh.server.asked()
    connection = send(mesh.url, streams)
    if streams:
        read_until(connection, b"w5 ")
    else:
        wait("the model server works", lambda: mesh.server.asked() > before)
        time.sleep(0.06)
    connection.close()
    at = time.time()
    free = mesh.free(at)
    return mesh.ended(before) - at, free


def auction(mesh, streams, chance):
    mesh.server.play(first=0, every=0.01, tokens=1_000)
    before = mesh.server.asked()
    connection = send(mesh.url, streams)
    time.sleep(chance.uniform(0, 0.06))
    connection.close()
    at = time.time()
    free = mesh.free(at)
    asked = mesh.server.requests()[before:]
    return max([free] + [entry["ended"] - at for entry in asked if entry["ended"]]), free


def queued(mesh, streams, chance):
    """All slots are taken; returns the times, and how many requests reached the model server in vain."""
    mesh.server.play(first=0, every=0.01, tokens=1_000)
    before = mesh.server.asked()
    holders = [send(mesh.url, True) for _ in range(SLOTS)]
    wait("the slots are taken", lambda: mesh.server.asked() == before + SLOTS)
    connection = send(mesh.url, streams)
    wait("the request has a place", lambda: mesh.running() == SLOTS + 1 and mesh.taken() == (SLOTS, 1))
    time.sleep(chance.uniform(0.05, 0.3))
    connection.close()
    at = time.time()
    free = mesh.free(at, SLOTS)
    for holder in holders:
        holder.close()
    wait("the slots are free", mesh.is_quiet)
    asked = mesh.server.requests()[before + SLOTS:]
    return (max([free] + [entry["ended"] - at for entry in asked if entry["ended"]]), free), len(asked)


@contextlib.contextmanager
def frozen(mesh, name):
    os.kill(mesh.testnet.pid(name), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mesh.testnet.pid(name), signal.SIGCONT)


def run(bench):
    count, chance = 250 if bench.full else 40, random.Random(1)
    times, in_vain = {}, 0
    price = {"input": 0.1, "output": 1.0}
    with harness.scripted_servers("parrot", "parrot") as (ada, bob):
        def sells(server, slots):
            return {"serves": "parrot", "url": server.url, "backend": "vllm", "slots": slots, "price": price}

        with bench.testnet({"ada": sells(ada, 4), "bob": sells(bob, 4), "fay": {}}) as testnet:
            bench.builds = False
            mesh = Mesh(testnet, ada)
            # Each auction waits for the frozen one only as long as it isn't known to be silent.
            for index in range(count):
                ada.play(first=0, every=0.001, tokens=5)
                bob.play(first=0, every=0.001, tokens=5)
                for _ in range(2):
                    with contextlib.closing(send(mesh.url, True)) as connection:
                        read_until(connection, b"[DONE]")
                with frozen(mesh, "bob"):
                    times.setdefault("auction", []).append(auction(mesh, index % 2 == 0, chance))
                time.sleep(0.05)
    with harness.scripted_servers("parrot") as (ada,):
        with bench.testnet({"ada": sells(ada, SLOTS), "fay": {}}) as testnet:
            mesh = Mesh(testnet, ada)
            # A buyer that has paid for answers may have all slots.
            ada.play(first=0, every=0.001, tokens=100)
            for _ in range(3):
                with contextlib.closing(send(mesh.url, True)) as connection:
                    read_until(connection, b"[DONE]")
            for index in range(count):
                streams = index % 2 == 0
                times.setdefault("waiting", []).append(waiting(mesh, streams))
                times.setdefault("stream", []).append(stream(mesh, streams))
                wait("the slots are free", mesh.is_quiet)
                taken, vain = queued(mesh, streams, chance)
                times.setdefault("queued", []).append(taken)
                in_vain += vain
    for phase, pairs in times.items():
        for name, taken in zip((phase, f"{phase}_free"), zip(*pairs)):
            milliseconds = [seconds * 1_000 for seconds in taken]
            bench.figure(f"{name}_p50", harness.percentile(milliseconds, 50), "ms")
            bench.figure(f"{name}_p99", harness.percentile(milliseconds, 99), "ms", "<= 200")
    bench.figure("hang_ups", sum(map(len, times.values())))
    bench.figure("in_vain", in_vain, "", "<= 0")
