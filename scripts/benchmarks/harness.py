"""Shared by the benchmarks: building, private testnets, scripted model servers, load, /proc, figures.

A benchmark is a file with a docstring (its first line is what `scripts/bench list` prints) and `run(bench)`, which
measures, calls `bench.figure(…)` for each result and raises CannotMeasure when it can't.
"""
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class CannotMeasure(Exception):
    pass


def remark(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run of one benchmark: its options, its programs, its figures."""

    def __init__(self, name, full, builds):
        self.name, self.full, self.builds = name, full, builds
        self.figures, self.unmeasured = [], False
        busy = busy_share(0.5)
        if busy > 0.1:
            remark(f"the machine is {busy:.0%} busy with other work: latencies and rates will look worse than they are")

    # Figures

    def figure(self, name, value, unit="", goal=None):
        """Records a result. `goal` is text such as "<= 2" or ">= 0.98"; with None there is no goal and `holds` is null."""
        holds = None
        if goal is not None and value is not None:
            relation, bound = goal.split()
            holds = value <= float(bound) if relation == "<=" else value >= float(bound)
        value = None if value is None else float(f"{value:.4g}")
        self.figures.append({"name": name, "value": value, "unit": unit, "goal": goal, "holds": holds})
        shown = "-" if value is None else f"{value:,.10g}"
        verdict = "" if holds is None else f"   goal {goal} {unit}: {'holds' if holds else 'MISSED'}"
        print(f"  {name:<44} {shown:>12} {unit:<6}{verdict}".rstrip(), flush=True)

    def cannot_measure(self, problem, **goals):
        """Records figures (name=goal) without a value, where the others can be measured."""
        self.unmeasured = True
        for name, goal in goals.items():
            self.figure(name, None, "", goal)
        remark(f"scripts/bench {self.name}: {problem}")

    def finish(self):
        print(json.dumps({"bench": self.name, "figures": self.figures}), flush=True)

    # Programs

    def program(self, name, configuration="release"):
        """The path of a product of this package, built first."""
        if self.builds:
            remark(f"building {name} ({configuration}) …")
            build = ["swift", "build", "-c", configuration, "--product", name]
            done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                raise CannotMeasure("the build failed:\n" + "\n".join(done.stdout.splitlines()[-30:]))
        path = ROOT / ".build" / configuration / name
        if not path.exists():
            raise CannotMeasure(f"{path} is not built")
        return str(path)

    def study(self, name, *words):
        """The JSON line of one of starling-bench's studies, which run without other processes."""
        command = [str(self.program("starling-bench")), name, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotMeasure(f"{' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout.splitlines()[-1])

    def chart(self, name, document):
        """Draws curves (`starling-bench chart` says which document) and returns the SVG file's path: in the folder of the
        environment's STARLING_BENCH_OUT, else .build/bench."""
        folder = pathlib.Path(os.environ.get("STARLING_BENCH_OUT") or ROOT / ".build" / "bench")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [self.program("starling-bench"), "chart"], input=json.dumps(document), capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotMeasure(f"chart: {done.stderr.strip()}")
        path = folder / f"{name}.svg"
        path.write_text(done.stdout)
        return path

    @contextlib.contextmanager
    def backend(self, **options):
        """A scripted model server: {"url", "pid"}. Options are those of `starling-bench backend`."""
        process = subprocess.Popen(
            [self.program("starling-bench"), "backend", *arguments(options)], stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            if not line:
                raise CannotMeasure("the scripted model server did not start")
            yield json.loads(line)
        finally:
            process.kill()
            process.wait()

    def load(self, targets, **options):
        """Runs `starling-bench load` against `targets` (base URLs, asked in turn) and returns its document."""
        words = [word for url in targets for word in ("--to", url)] + arguments(options)
        done = subprocess.run([self.program("starling-bench"), "load", *words], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise CannotMeasure(f"load: {done.stderr.strip()}")
        document = json.loads(done.stdout.splitlines()[-1])
        for target in document["targets"]:
            if target["errors"]:
                remark(f"  {target['url']}: {target['errors']} errors, the first: {target['first_error']}")
            if not target["total_us"]:
                raise CannotMeasure(f"{target['url']} answered nothing: {target['first_error']}")
        return document

    @contextlib.contextmanager
    def loading(self, target, **options):
        """The same load on one server, as long as the context lasts; nothing is measured."""
        words = ["--to", target, "--seconds", "3600", *arguments(options)]
        process = subprocess.Popen([self.program("starling-bench"), "load", *words], stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def testnet(self, nodes, mesh="testnet-bench", timeout=120):
        """A testnet of `nodes` ({name: {…}}, as in testnet/*.yaml) in its own folder."""
        with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
            file = pathlib.Path(folder, "bench.yaml")
            # YAML is a superset of JSON.
            file.write_text(json.dumps({"mesh": mesh, "seed": 1, "ports": "auto", "nodes": nodes}))
            testnet = Testnet(self.program("starling"), file, {**os.environ, "STARLING_TESTNET": folder})
            try:
                testnet.up(timeout)
                yield testnet
            finally:
                testnet.down()


class Testnet:
    def __init__(self, program, file, environment):
        self.program_path, self.file, self.environment = program, file, environment
        self.nodes, self.seconds, self.milestones = [], None, {}

    def command(self, *words, timeout=60):
        return subprocess.run(
            [self.program_path, "testnet", *words], env=self.environment, capture_output=True, text=True, timeout=timeout)

    def up(self, timeout):
        started = time.monotonic()
        done = self.command("up", str(self.file), "--timeout", str(timeout), "--json", timeout=timeout + 60)
        self.seconds = time.monotonic() - started
        if done.returncode != 0:
            raise CannotMeasure(f"testnet up: {done.stderr.strip()}")
        self.nodes = json.loads(done.stdout)
        # "✓ 8 nodes up, 0.4 s" and "✓ every node knows all 5 offers, 0.9 s"
        for line in done.stderr.splitlines():
            words = line.split()
            if len(words) > 2 and words[-1] == "s":
                self.milestones["up" if "up," in words else "known"] = float(words[-2])

    def down(self):
        self.command("down", "--purge")

    def http(self, name):
        return next(node["http"] for node in self.nodes if node["name"] == name)

    def pid(self, name):
        return next(node["pid"] for node in self.nodes if node["name"] == name)


# Model servers that a benchmark controls


class ScriptedServer:
    """Tests/ProcessTests/scripted_backend.py: a model server that does what it is told, and logs what it was asked."""

    def __init__(self, model):
        script = ROOT / "Tests" / "ProcessTests" / "scripted_backend.py"
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(script), model], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise CannotMeasure("the scripted model server did not start")
        self.url = json.loads(line)["url"]

    def play(self, **script):
        request = urllib.request.Request(self.url + "/script", json.dumps(script).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()

    def requests(self):
        """Requests of clients that reached it, without the nodes' own trials."""
        with urllib.request.urlopen(self.url + "/log", timeout=10) as response:
            return [entry for entry in json.load(response)["requests"] if not entry["trial"]]

    def asked(self):
        return len(self.requests())

    def stop(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def scripted_servers(*models):
    running = []
    try:
        for model in models:
            running.append(ScriptedServer(model))
        yield running
    finally:
        for server in running:
            server.stop()


def arguments(options):
    """Command line options; True is a flag."""
    words = []
    for key, value in options.items():
        words.append(f"--{key.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return words


# HTTP


class Door:
    """A persistent connection for JSON documents."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)

    def get(self, path):
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise CannotMeasure(f"GET {path}: {response.status} {body[:300]!r}")
        return json.loads(body)


# Numbers


def percentile(values, share):
    """The value that `share` percent do not exceed; None if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] if ordered else None


def median(values):
    return percentile(values, 50)


def histogram(title, values, unit, columns=40):
    """Prints a distribution in powers of two."""
    print(f"  {title} ({len(values)}):")
    edge, rows = None, []
    for value in sorted(values):
        if edge is None or value > edge:
            edge = edge or 2 ** -6
            while edge < value:
                edge *= 2
            rows.append([edge, 0])
        rows[-1][1] += 1
    most = max((count for _, count in rows), default=1)
    for edge, count in rows:
        print(f"    <= {edge:>10.4g} {unit}  {count:>6}  {'#' * max(1, count * columns // most)}")


# Processes


def busy_share(seconds):
    """The share of all cores in use, measured over `seconds`."""

    def read():
        with open("/proc/stat") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    all_before, idle_before = read()
    time.sleep(seconds)
    all_after, idle_after = read()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def memory(pid):
    """MB: {"rss", "private", "dirty"}. Private is what ending the process would free."""
    fields = {}
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            key, _, rest = line.partition(":")
            if rest.strip().endswith("kB"):
                fields[key] = int(rest.split()[0]) / 1024
    return {"rss": fields["Rss"], "private": fields["Private_Clean"] + fields["Private_Dirty"], "dirty": fields["Private_Dirty"]}


def thread_seconds(pid):
    """CPU of a live process by its threads' names."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = (task / "comm").read_text().strip()
            seconds[name] = seconds.get(name, 0) + int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def cpu_seconds(pid):
    """User and system CPU of a live process, all threads: its CPU clock, in nanoseconds (see clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)
