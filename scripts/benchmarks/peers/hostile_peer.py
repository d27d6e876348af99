"""A peer that keeps the wire format and no other rule: the attacks of scripts/bench hostile.

    hostile_peer.py ATTACK MESH SELLER BUYER

SELLER and BUYER are KEY@ADDRESS:PORT. Prints {"ready": true} once the attack runs, goes on until its stdin ends, and then
prints what it saw as one line of JSON. Needs the packages of Protocol/vectors/requirements.txt, whose independent codec
and Noise it uses.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import resource
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "Protocol" / "vectors"))
import noise_peer as noise
import schema
from nacl.signing import SigningKey

MESSAGES = schema.load()
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
BUSY = 1
stopped = threading.Event()


class Target:
    def __init__(self, text, mesh):
        key, place = text.split("@")
        host, port = place.rsplit(":", 1)
        bits = int("".join(f"{ALPHABET.index(letter):05b}" for letter in key)[:256], 2)
        self.key, self.place, self.mesh = bits.to_bytes(32, "big"), (host, int(port)), mesh.encode()


def signed(seed, domain, message):
    body = message.SerializeToString(deterministic=True)
    return {"body": body, "signature": SigningKey(seed).sign(domain + b"\0" + body).signature}


class Session:
    """Datagrams to one node, in a session that this side opened."""

    def __init__(self, seed, node):
        self.seed, self.node, self.key, self.number = seed, node, noise.public_key(seed), 1
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.lock = threading.Lock()
        state = noise.noise(seed, b"starling datagram", node.key, mesh=node.mesh)
        self.send_raw(noise.initiation(state, seed, node.key, 7, b""))
        self.socket.settimeout(3)
        packet = self.socket.recv(2048)
        while packet[0] != 2:
            packet = self.socket.recv(2048)
        theirs = int.from_bytes(bytes(state.read_message(packet[8:]))[32:36], "little")
        self.transport = noise.Transport(state, theirs)
        self.send()

    def send_raw(self, packet):
        self.socket.sendto(packet, self.node.place)

    def send(self, **body):
        plain = MESSAGES["Envelope"](**body).SerializeToString(deterministic=True) if body else b""
        with self.lock:
            self.send_raw(self.transport.seal(plain))

    def receive(self, seconds):
        """The next envelope; None if none comes in time, or what came is none."""
        self.socket.settimeout(max(0.001, seconds))
        try:
            packet = self.socket.recv(2048)
            return MESSAGES["Envelope"].FromString(self.transport.open(packet)) if packet[0] == 4 else None
        except Exception:
            return None

    def ask(self, seconds=1.0, **body):
        self.number += 1
        self.send(request=self.number, **body)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            answer = self.receive(left)
            if answer is not None and answer.reply == self.number:
                return answer
        return None


class Channel:
    """A channel that this side dialled."""

    def __init__(self, seed, node):
        self.socket = socket.create_connection(node.place, 5)
        self.state = noise.noise(seed, b"starling channel", node.key, mesh=node.mesh)
        first = bytes(self.state.write_message(noise.public_key(seed)))
        mac = hashlib.blake2b(noise.header(5) + first, digest_size=16, key=noise.mac_key(node.key)).digest()
        self.socket.sendall(noise.header(5) + mac + first)
        self.state.read_message(self.take(84)[4:])
        self.record(b"")

    def take(self, count):
        taken = b""
        while len(taken) < count:
            part = self.socket.recv(count - len(taken))
            if not part:
                raise EOFError
            taken += part
        return taken

    def record(self, plain):
        sealed = bytes(self.state.encrypt(plain))
        self.socket.sendall(len(sealed).to_bytes(2, "little") + sealed)

    def frame(self, task, attempt, **body):
        self.record(MESSAGES["Frame"](task=task, attempt=attempt, **body).SerializeToString(deterministic=True))

    def read(self, seconds):
        self.socket.settimeout(seconds)
        plain = bytes(self.state.decrypt(self.take(int.from_bytes(self.take(2), "little"))))
        return MESSAGES["Frame"].FromString(plain)

    @property
    def is_open(self):
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def call(task, **more):
    body = {"task": task, "attempt": 1, "model": "bench", "features": 1, "tokens_in": 8, "tokens_out": 16}
    return body | {"close_ms": 250, "deadline_ms": 10_000} | more


# ── Strangers at a seller: each yields when it runs, and again with its report ──


def phantom_leases(seller, _):
    """One unknown key takes bids, releases them and awards them all the same, over and over."""
    thief, witness = Session(os.urandom(32), seller), Session(os.urandom(32), seller)
    probes = declined = 0
    yield
    while not stopped.is_set():
        tasks = [os.urandom(16) for _ in range(16)]
        for task in tasks:
            thief.send(request=1, call_for_bids=call(task))
        time.sleep(0.02)
        for task in tasks:
            thief.send(release={"task": task, "attempt": 1, "winning_score": 1})
            thief.send(request=2, award={"task": task, "attempt": 1})
        answer = witness.ask(0.5, call_for_bids=call(os.urandom(16), close_ms=1))
        probes += 1
        declined += answer is None or answer.HasField("decline") and answer.decline.reason == BUSY
        stopped.wait(0.15)
    yield {"probes": probes, "declined": declined}


def unread_jobs(seller, _):
    """Unknown keys open jobs with the smallest window and never read their answers."""
    kept, body = [], b'{"messages":[{"role":"user","content":"go"}]}'
    for _ in range(16):
        seed, task = os.urandom(32), os.urandom(16)
        with contextlib.suppress(Exception):
            Session(seed, seller).ask(call_for_bids=call(task, deadline_ms=0))
            channel = Channel(seed, seller)
            kept.append(channel)
            channel.frame(task, 1, open={"kind": 1, "body_bytes": len(body), "window_bytes": 4096})
            channel.frame(task, 1, body_part={"bytes": body})
    yield
    stopped.wait()
    yield {"opened": len(kept)}


def junk_receipts(seller, _):
    """Receipts of a billion credits for bids that were never awarded."""
    seed = os.urandom(32)
    session, channel, sent = Session(seed, seller), Channel(seed, seller), 0
    yield
    while not stopped.is_set():
        task = os.urandom(16)
        answer = session.ask(call_for_bids=call(task, deadline_ms=1_000))
        if answer is None or not answer.HasField("bid"):
            stopped.wait(0.02)
            continue
        session.send(release={"task": task, "attempt": 1, "winning_score": 1})
        receipt = MESSAGES["Receipt"](
            task=task, attempt=1, buyer=session.key, worker=seller.key, sequence=1, completion_tokens=1,
            cost_ucr=10**15, final=True, issued_at_ms=int(time.time() * 1000))
        try:
            channel.frame(task, 1, receipt=signed(seed, b"starling receipt", receipt))
            sent += 1
        except OSError:
            channel = Channel(seed, seller)
        stopped.wait(0.005)
    yield {"sent": sent}


def junk_channels(seller, _):
    """1,100 channels of one key, each with one frame that means nothing."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4_096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    seed, kept = os.urandom(32), []

    def dial():
        with contextlib.suppress(Exception):
            channel = Channel(seed, seller)
            channel.frame(os.urandom(16), 1, window={"consumed": 1})
            kept.append(channel)

    for _ in range(300):
        dial()
    yield
    while not stopped.is_set() and len(kept) < 1_100:
        dial()
        stopped.wait(0.005)
    stopped.wait()
    yield {"opened": len(kept), "open": sum(channel.is_open for channel in kept)}


# ── Sellers at a buyer ──


class Seller:
    """A new key that sells below the honest price, claims to be instant, and does `behave(channel, task, attempt)` with
    each job."""

    honest_price = {"input": 200_000, "cached_input": 20_000, "output": 2_000_000}

    def __init__(self, buyer, behave, model, discount):
        self.buyer, self.seed, self.behave, self.model = buyer, os.urandom(32), behave, model
        self.price = {component: rate // discount for component, rate in self.honest_price.items()}
        self.won, self.paid, self.retired = 0, {}, threading.Event()
        self.session = Session(self.seed, buyer)
        self.offer()
        threading.Thread(target=self.serve, daemon=True).start()

    def offer(self):
        now, port = int(time.time() * 1000), self.session.socket.getsockname()[1]
        offer = MESSAGES["Offer"](
            public_key=self.session.key, model=self.model, context=32_768, features=67, price=self.price, slots=64,
            speed={"first_token_ms": 1, "millitokens_per_s": 10**6}, endpoints=[{"address": bytes([127, 0, 0, 1]), "port": port}],
            reachability=1, name="evil", sequence=now, issued_at_ms=now, not_after_ms=now + 600_000)
        self.session.send(request=1, offer_mail={"offers": [signed(self.seed, b"starling offer", offer)]})

    def serve(self):
        while not stopped.is_set() and not self.retired.is_set():
            asked = self.session.receive(0.5)
            kind = asked and asked.WhichOneof("body")
            if kind == "call_for_bids":
                question = asked.call_for_bids
                bid = MESSAGES["Bid"](
                    task=question.task, attempt=question.attempt, bidder=self.session.key, buyer=self.buyer.key,
                    price=self.price, first_token_ms=1, millitokens_per_s=10**6, worker_dials=True, context=32_768)
                self.session.send(reply=asked.request, bid=signed(self.seed, b"starling bid", bid))
            elif kind == "award":
                self.won += 1
                task, attempt = asked.award.task, asked.award.attempt
                self.session.send(reply=asked.request, award_reply={"task": task, "attempt": attempt, "status": 1})
                threading.Thread(target=self.work, args=(task, attempt), daemon=True).start()
            elif kind == "ping":
                self.session.send(reply=asked.request, pong={})

    def work(self, task, attempt):
        with contextlib.suppress(Exception):
            channel = Channel(self.seed, self.buyer)
            channel.frame(task, attempt, hello={})
            size, got = None, 0
            while not stopped.is_set():
                frame = channel.read(30)
                kind = frame.WhichOneof("body")
                if kind == "open":
                    size = frame.open.body_bytes + frame.open.delivered_bytes
                elif kind == "body_part":
                    got += len(frame.body_part.bytes)
                elif kind == "receipt":
                    receipt = MESSAGES["Receipt"].FromString(frame.receipt.body)
                    self.paid[task] = max(self.paid.get(task, 0), receipt.cost_ucr)
                if kind in ("open", "body_part") and got == size:
                    self.behave(channel, task, attempt)


def selling(behave, model="bench", discount=2, keys=1, rotates_every=None):
    """The attack of `keys` sellers at once. With `rotates_every` (seconds) the latest is replaced by a new key so often: it
    answers no more, and what it has begun goes on."""

    def attack(_, buyer):
        sellers = [Seller(buyer, behave, model, discount) for _ in range(keys)]
        time.sleep(0.5)
        yield
        while not stopped.wait(rotates_every):
            sellers[-1].retired.set()
            with contextlib.suppress(OSError):
                sellers.append(Seller(buyer, behave, model, discount))
        yield {
            "keys": len(sellers), "won": sum(seller.won for seller in sellers),
            "paid_most": max((cost for seller in sellers for cost in list(seller.paid.values())), default=0)}

    attack.__doc__ = behave.__doc__
    return attack


def empty_finish(channel, task, attempt):
    """Finishes at once without a byte, and counts a hundred million tokens."""
    channel.frame(task, attempt, finish={"reason": "stop", "prompt_tokens": 10**8, "completion_tokens": 10**8})


def greedy_tokens(channel, task, attempt):
    """Sends far more than was asked for, and counts a token a byte."""
    for index in range(20):
        channel.frame(task, attempt, delta={"offset": 900 * index, "text": b"la la la " * 100, "tokens": 900})
    channel.frame(task, attempt, finish={"reason": "stop"})


def stalling(channel, task, attempt):
    """An empty delta, then progress with growing counts, and never a byte."""
    channel.frame(task, attempt, delta={"offset": 0})
    for index in range(1, 200):
        channel.frame(task, attempt, progress={"phase": 4, "tokens": index})
        if stopped.wait(0.3):
            return


def piecemeal(channel, task, attempt):
    """A tool call for every few bytes, under as many indices as a buyer takes: work for a reader that searches."""
    offset = 0
    for index in range(0, 24_000, 300):
        calls = ",".join(f'{{"index":{n % 128},"function":{{"name":"f"}}}}' for n in range(index, index + 300))
        extra = f'[{{"index":0,"delta":{{"tool_calls":[{calls}]}}}}]'.encode()
        channel.frame(task, attempt, delta={"offset": offset, "tokens": 1, "extra": extra})
        offset += len(extra)
    channel.frame(task, attempt, finish={"reason": "stop", "prompt_tokens": 1, "completion_tokens": 80})


ATTACKS = {
    "phantom_leases": phantom_leases, "unread_jobs": unread_jobs, "junk_receipts": junk_receipts,
    "junk_channels": junk_channels, "empty_finish": selling(empty_finish), "greedy_tokens": selling(greedy_tokens),
    "stalling": selling(stalling),
    # Under a model of its own: what counts is what its answers cost those who ask for another.
    "piecemeal": selling(piecemeal, "bench2"),
    # At a tenth of the honest price no bid of an honest seller wins by its score.
    "cheap_stalling": selling(stalling, discount=10, keys=8),
    "cheap_empty": selling(empty_finish, discount=10, keys=8),
    "cheap_greedy": selling(greedy_tokens, discount=10, keys=8),
    "rotating_keys": selling(stalling, discount=10, rotates_every=2),
}


def main():
    name, mesh, seller, buyer = sys.argv[1:]
    attack = ATTACKS[name](Target(seller, mesh), Target(buyer, mesh))
    next(attack)
    print(json.dumps({"ready": True}), flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    print(json.dumps(next(attack)), flush=True)


main()
