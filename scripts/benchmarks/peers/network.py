"""Networks with one process a node, ours or another system's, controlled by lines on stdin.

    put ID KEY …     stores, or registers as a provider    {"put": ID, "ok", "ms"}
    get ID KEY       the first value or provider           {"first": ID, "ms"}, then {"got": ID, "ok", "ms"}
    stats ID                                               {"stats": ID, …}

A node prints {"ready": ADDRESS} at its start and {"connected": true} when it knows another node. It measures times
itself, from the command to the answer. It ends with its stdin.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import time

import harness

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def quiet():
    """A private loopback interface, whose counters count nothing else; without root, the machine's. Yields whether it is private."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as outside:
        if libc.unshare(CLONE_NEWNET) != 0:
            harness.remark("no private network namespace (that needs root): other traffic on the loopback interface counts too")
            yield False
            return
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
                fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
            yield True
        finally:
            libc.setns(outside.fileno(), CLONE_NEWNET)


def loopback():
    """(packets, bytes) that have crossed the loopback interface, including IP headers."""
    with open("/proc/thread-self/net/dev") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name.strip() == "lo":
                fields = rest.split()
                return int(fields[1]), int(fields[0])
    return 0, 0


class Node:
    def __init__(self, index, process):
        self.index, self.process, self.pid = index, process, process.pid
        self.started = time.monotonic()
        self.address = self.connected = None
        self.held = b""


class Network:
    """`command(index, port, joins)` is the argument list of a node; `joins` are addresses that earlier nodes printed."""

    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, command, port
        self.nodes, self.answers, self.firsts = {}, {}, {}
        self.selector = selectors.DefaultSelector()
        self.random = random.Random(1)
        self.last = 0

    # Life

    def spawn(self, joins, prepare=None):
        index = max(self.nodes, default=-1) + 1
        process = subprocess.Popen(
            self.command(index, self.port + index, joins), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            stderr=None if os.environ.get("STARLING_BENCH_STDERR") else subprocess.DEVNULL, preexec_fn=prepare)
        os.set_blocking(process.stdout.fileno(), False)
        node = Node(index, process)
        self.nodes[index] = node
        self.selector.register(process.stdout, selectors.EVENT_READ, node)
        return node

    def start(self, count, pause=0.03, prepare=None):
        """Starts nodes, each of which joins by the first and by a random earlier one; `prepare` runs in each new process."""
        for index in range(count):
            joins = [self.nodes[0].address] if index else []
            if index > 10:
                joins.append(self.nodes[self.random.randrange(1, index - 8)].address)
            self.spawn(joins, prepare)
            if index in (0, count - 1) or index % 8 == 7:
                self.until(lambda: all(node.address for node in self.nodes.values()), 60, f"{self.name}: a node did not start")
            self.pump(pause)
        self.until(lambda: all(node.connected for node in self.nodes.values()), 60, f"{self.name}: a node did not join")

    def kill(self, indices):
        for index in indices:
            node = self.nodes.pop(index)
            self.selector.unregister(node.process.stdout)
            node.process.send_signal(signal.SIGKILL)
            node.process.wait()

    def end(self):
        for node in self.nodes.values():
            node.process.kill()
        for node in self.nodes.values():
            node.process.wait()

    # Commands

    def pump(self, seconds):
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            for key, _ in self.selector.select(max(0, left)):
                self.read(key.data)
            if left <= 0:
                return

    def step(self, seconds):
        """Waits for the next lines, at most `seconds`."""
        for key, _ in self.selector.select(seconds):
            self.read(key.data)

    def read(self, node):
        try:
            chunk = os.read(node.process.stdout.fileno(), 65_536)
        except BlockingIOError:
            return
        if not chunk:
            self.selector.unregister(node.process.stdout)
            raise harness.CannotMeasure(f"{self.name}: node {node.index} has ended")
        *lines, node.held = (node.held + chunk).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "ready" in said:
                node.address = said["ready"]
            elif "connected" in said:
                node.connected = time.monotonic()
            elif "first" in said:
                self.firsts[said["first"]] = said["ms"]
            else:
                self.answers[said.get("put") or said.get("got") or said.get("stats")] = said

    def until(self, condition, seconds, otherwise):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise harness.CannotMeasure(otherwise)
            self.step(0.1)

    def order(self, index, kind, *words):
        self.last += 1
        self.nodes[index].process.stdin.write(" ".join([kind, str(self.last), *map(str, words)]).encode() + b"\n")
        return self.last

    def stats(self, index):
        number = self.order(index, "stats")
        self.until(lambda: number in self.answers, 10, f"{self.name}: no statistics")
        return self.answers.pop(number)

    # Measuring

    @property
    def pids(self):
        return [node.pid for node in self.nodes.values()]

    def cpu(self):
        return sum(map(harness.cpu_seconds, self.pids))

    def run(self, jobs, result, at_once=1, patience=20, until_first=False):
        """Runs `jobs` (node, command, words …), `at_once` at a time, and adds to `result`."""
        jobs, running = list(reversed(jobs)), {}
        while jobs or running:
            while jobs and len(running) < at_once:
                index, kind, *words = jobs.pop()
                running[self.order(index, kind, *words)] = time.monotonic()
            self.step(0.05)
            for number, started in list(running.items()):
                first, answer = self.firsts.get(number), self.answers.pop(number, None)
                if answer is None and not (until_first and first is not None) and time.monotonic() - started < patience:
                    continue
                del running[number]
                result.count += 1
                if first is not None:
                    result.first.append(first)
                if answer is not None:
                    result.done.append(answer["ms"])
                    result.asked.append(answer.get("asked", answer.get("holders", 0)))
                if first is not None or answer is not None and answer["ok"]:
                    result.ok += 1

    def measure(self, jobs, result, idle_rate=0.0, **options):
        """`run`, with the CPU time of all nodes above their idle use."""
        started, cpu, packets = time.monotonic(), self.cpu(), loopback()
        self.run(jobs, result, **options)
        # Count packets that are still in flight.
        self.pump(0.02)
        result.cpu += self.cpu() - cpu - idle_rate * (time.monotonic() - started)
        after = loopback()
        result.packets += after[0] - packets[0]
        result.bytes += after[1] - packets[1]


class Result:
    def __init__(self):
        self.count = self.ok = self.packets = self.bytes = 0
        self.cpu = 0.0
        self.first, self.done, self.asked = [], [], []

    @property
    def cpu_each(self):
        """Milliseconds."""
        return self.cpu * 1e3 / max(1, self.count)


def ours(bench, **options):
    """The command of `starling-bench dht-node`."""
    program = bench.program("starling-bench")
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]

    def command(index, port, joins):
        joining = [word for join in joins for word in ("--join", join)]
        return [program, "dht-node", "--listen", f"127.0.0.1:{port}", "--seed", f"node{index}", *joining, *words]

    return command
