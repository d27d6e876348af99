"""Hosts joined by links of a given delay, rate and loss: network namespaces, and a router in user space between them.

    with shaped.Network(["asker", "seller"], delay=0.025) as network:
        with network.inside("asker"):
            ...    # sockets that this thread opens, and processes that it starts, belong to that host

Each host has one address, on a TUN device that leads to the router, and its own loopback interface. The router (this file,
run as a program) delays every packet by its sender's link, at the `rate` at which that link carries bytes; `loss` is the share of
packets that vanish. It needs root, and no netem, which many kernels of containers and virtual machines lack.
"""
import contextlib
import ctypes
import fcntl
import heapq
import http.client
import json
import os
import pathlib
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
# <linux/if_tun.h> and <linux/sockios.h>
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP, IFF_RUNNING = 0x1, 0x40
DEVICE = "mesh0"
# Packets wait for a link with a rate for this long at most; what comes then is lost.
QUEUE = 0.25


class Network:
    """`delay` is one way, in seconds; `rate` in bits/s, None for any; `loss` a share. All of what a host sends."""

    def __init__(self, names, delay=0.0, rate=None, loss=0.0, seed=1):
        self.names, self.seed = list(names), seed
        self.links = {name: {"delay": delay, "rate": rate, "loss": loss} for name in self.names}
        self.spaces, self.devices, self.router = {}, {}, None

    def address(self, name):
        return f"10.78.0.{self.names.index(name) + 1}"

    def __enter__(self):
        import harness

        libc = ctypes.CDLL(None, use_errno=True)
        try:
            with open("/proc/thread-self/ns/net") as outside:
                try:
                    for name in self.names:
                        if libc.unshare(CLONE_NEWNET) != 0:
                            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                        self.spaces[name] = open("/proc/thread-self/ns/net")
                        self.devices[name] = device(self.address(name))
                finally:
                    libc.setns(outside.fileno(), CLONE_NEWNET)
        except OSError as problem:
            self.close()
            raise harness.CannotMeasure(f"hosts with slow links need root, network namespaces and /dev/net/tun: {problem}")
        hosts = {self.address(name): self.devices[name].fileno() for name in self.names}
        self.router = subprocess.Popen(
            [sys.executable, "-B", __file__, json.dumps({"hosts": hosts, "seed": self.seed})], stdin=subprocess.PIPE,
            pass_fds=list(hosts.values()), text=True)
        for name in self.names:
            self.shape(name)
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.router:
            self.router.kill()
            self.router.wait()
        for file in [*self.spaces.values(), *self.devices.values()]:
            file.close()

    def shape(self, name, **changes):
        """Changes the link of a host: `delay`, `rate`, `loss`."""
        self.links[name].update(changes)
        self.router.stdin.write(json.dumps({"host": self.address(name), **self.links[name]}) + "\n")
        self.router.stdin.flush()

    @contextlib.contextmanager
    def inside(self, name):
        """This thread is on that host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as outside:
            libc.setns(self.spaces[name].fileno(), CLONE_NEWNET)
            try:
                yield
            finally:
                libc.setns(outside.fileno(), CLONE_NEWNET)

    def round_trips(self, one, other, count=100):
        """Measured milliseconds of `count` empty datagrams from host to host and back, one after another."""
        with self.inside(other):
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            far.bind((self.address(other), 0))
        with self.inside(one):
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.settimeout(5)
        times = []
        with far, near:
            for _ in range(count):
                started = time.monotonic()
                near.sendto(b"", far.getsockname())
                far.sendto(b"", far.recvfrom(1)[1])
                near.recv(1)
                times.append((time.monotonic() - started) * 1e3)
        return times


def device(address):
    """A TUN device in this thread's namespace, up with that address; and the namespace's loopback interface."""
    tun = open("/dev/net/tun", "r+b", buffering=0)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        def place(request, text):
            packed = struct.pack("16sHH4s16x", DEVICE.encode(), socket.AF_INET, 0, socket.inet_aton(text))
            fcntl.ioctl(any_socket, request, packed)

        place(SIOCSIFADDR, address)
        place(SIOCSIFNETMASK, "255.255.255.0")
        for name in ("lo", DEVICE):
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), IFF_UP | IFF_RUNNING))
    os.set_blocking(tun.fileno(), False)
    return tun


# Nodes


class Mesh:
    """A node on each host of a network, which all join by the first; `nodes` as in harness.Bench.testnet."""

    def __init__(self, program, network, nodes, name="testnet-bench"):
        self.program, self.network, self.nodes, self.name = program, network, nodes, name
        self.processes, self.logs = {}, []

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="starling-bench-")
        try:
            join = None
            for name in self.network.names:
                self.start(name, join)
                join = join or f"starling://{self.get(name, '/mesh/status')['public_key']}@{self.network.address(name)}:7827"
            sellers = sum("serves" in node for node in self.nodes.values())
            for name in self.network.names:
                self.wait(f"{name} knows every offer", lambda: len(self.get(name, "/mesh/offers")["offers"]) >= sellers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for log in self.logs:
            log.close()
        self.folder.cleanup()

    def start(self, name, join):
        folder = pathlib.Path(self.folder.name)
        mesh = {"name": self.name, "address": self.network.address(name), "seed": f"{self.name}/{name}"}
        document = {
            "name": name, "data": str(folder / name), "mesh": {**mesh, "join": [join] if join else []},
            "http": {"listen": "127.0.0.1:7828"}}
        node = self.nodes[name]
        if "serves" in node:
            sale = {key: value for key, value in node.items() if key != "serves"}
            document["serve"] = [{"model": node["serves"], "sell_as": node["serves"], "backend": "openai", **sale}]
        # YAML is a superset of JSON.
        file = folder / f"{name}.yaml"
        file.write_text(json.dumps(document))
        log = open(folder / f"{name}.log", "w+")
        self.logs.append(log)
        with self.network.inside(name):
            self.processes[name] = subprocess.Popen(
                [self.program, "node", "--config", str(file), "--quiet"], stdout=log, stderr=log)

        def answers():
            if self.processes[name].poll() is not None:
                import harness

                log.seek(0)
                raise harness.CannotMeasure(f"{name} ended: {log.read()[-1_000:]}")
            with contextlib.suppress(OSError):
                return self.get(name, "/mesh/status")

        self.wait(f"{name} answers", answers)

    @property
    def url(self):
        """Of each node, on its own host."""
        return "http://127.0.0.1:7828"

    def get(self, name, path):
        with self.network.inside(name):
            connection = http.client.HTTPConnection("127.0.0.1", 7828, timeout=10)
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def wait(self, what, condition, limit=60):
        import harness

        until = time.monotonic() + limit
        while not condition():
            if time.monotonic() > until:
                raise harness.CannotMeasure(f"{what}: not within {limit} s")
            time.sleep(0.05)


# The router


class Router:
    def __init__(self, hosts, seed):
        self.hosts = {socket.inet_aton(address): fd for address, fd in hosts.items()}
        self.links = {fd: {"delay": 0.0, "rate": None, "loss": 0.0} for fd in self.hosts.values()}
        # When each link is free, and packets on their way: (due, number, to, packet).
        self.free = {fd: 0.0 for fd in self.links}
        self.under_way, self.number = [], 0
        self.random = random.Random(seed)

    def sent(self, fd, packet, now):
        """A host has sent a packet (IPv4: its destination is in bytes 16 to 19)."""
        to = self.hosts.get(packet[16:20])
        link = self.links[fd]
        if to is None or packet[0] >> 4 != 4 or self.random.random() < link["loss"]:
            return
        at = now
        if link["rate"]:
            at = max(now, self.free[fd])
            if at - now > QUEUE:
                return
            at += len(packet) * 8 / link["rate"]
            self.free[fd] = at
        self.number += 1
        heapq.heappush(self.under_way, (at + link["delay"], self.number, to, packet))

    def run(self, control):
        """Ends with `control`, whose lines shape links."""
        while True:
            left = max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None
            readable, _, _ = select.select([control, *self.links], [], [], left)
            now = time.monotonic()
            for fd in readable:
                if fd is control:
                    line = control.readline()
                    if not line:
                        return
                    shape = json.loads(line)
                    self.links[self.hosts[socket.inet_aton(shape.pop("host"))]] = shape
                    continue
                with contextlib.suppress(BlockingIOError):
                    while True:
                        self.sent(fd, os.read(fd, 65_536), now)
            while self.under_way and self.under_way[0][0] <= now:
                _, _, to, packet = heapq.heappop(self.under_way)
                # A full device drops the packet, as a link would.
                with contextlib.suppress(BlockingIOError):
                    os.write(to, packet)


if __name__ == "__main__":
    # Unbuffered: select must see every line.
    Router(**json.loads(sys.argv[1])).run(os.fdopen(0, "rb", buffering=0))
