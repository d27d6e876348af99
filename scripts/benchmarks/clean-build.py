"""CPU minutes of the build that `scripts/demo` makes on a fresh clone, by module; --full: also a clean debug build with tests.

The sources that git tracks are copied to a folder of their own, so nothing built before is used; packages are fetched
anew, unless SwiftPM has them in its cache. Each call of the Swift compiler is measured by its own processes; `other` is
C sources, linking, manifests and fetching. CPU time hardly depends on what else runs; `elapsed` does.
"""
import collections
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import harness

# Calls the compiler, and notes the CPU time of all its processes with the module's name.
WRAPPER = """#!{python}
import os, resource, subprocess, sys
status = subprocess.call([{compiler!r}] + sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
module = sys.argv[sys.argv.index("-module-name") + 1] if "-module-name" in sys.argv else "other"
with open({log!r}, "a") as log:
    log.write(f"{{module}} {{used.ru_utime + used.ru_stime}}\\n")
sys.exit(status)
"""


def measure(words):
    """Builds a copy of the sources with `words`: (CPU seconds in all, {module: CPU seconds}, seconds)."""
    compiler = shutil.which("swiftc")
    if compiler is None:
        raise harness.CannotMeasure("there is no swiftc on the PATH")
    with tempfile.TemporaryDirectory(prefix="starling-build-") as folder:
        sources = pathlib.Path(folder, "starling")
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=harness.ROOT, check=True, stdout=subprocess.PIPE).stdout
        for name in filter(None, tracked.decode().split("\0")):
            if (harness.ROOT / name).is_file():
                (sources / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(harness.ROOT / name, sources / name)
        log, wrapper = pathlib.Path(folder, "log"), pathlib.Path(folder, "swiftc")
        log.touch()
        wrapper.write_text(WRAPPER.format(python=sys.executable, compiler=compiler, log=str(log)))
        wrapper.chmod(0o755)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            words, cwd=sources, env={**os.environ, "SWIFT_EXEC": str(wrapper)}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
        if done.returncode != 0:
            raise harness.CannotMeasure("the build failed:\n" + done.stdout[-2000:])
        modules = collections.Counter()
        for line in log.read_text().splitlines():
            module, used = line.split()
            modules[module] += float(used)
    total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    modules["other"] += total - sum(modules.values())
    return total, modules, seconds


def run(bench):
    total, modules, seconds = measure(["scripts/build"])
    bench.figure("cpu_minutes", total / 60, "min", "<= 10")
    bench.figure("elapsed", seconds, "s")
    own = {path.name for path in (harness.ROOT / "Sources").iterdir()}
    bench.figure("own_modules", sum(used for name, used in modules.items() if name in own), "CPU s")
    for name, used in modules.most_common(None if bench.full else 20):
        bench.figure(f"module_{name}", used, "CPU s")
    if bench.full:
        total, _, seconds = measure(["swift", "build", "--build-tests"])
        bench.figure("cpu_minutes_debug_with_tests", total / 60, "min")
        bench.figure("elapsed_debug_with_tests", seconds, "s")
