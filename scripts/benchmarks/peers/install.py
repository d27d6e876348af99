"""Fetches the systems that we compare ourselves with into .cache/peers: OpenDHT from Debian, libtorrent and LiteLLM from PyPI.

Nothing is installed into the system: Debian's packages are unpacked in the folder, together with missing dependencies,
and Python's go to their own target folder.
"""
import os
import pathlib
import subprocess
import sys

import harness

FOLDER = harness.ROOT / ".cache" / "peers"
SOURCES = pathlib.Path(__file__).resolve().parent
LIBTORRENT = ["libtorrent==2.1.1", "cryptography"]
LITELLM = "litellm[proxy]==1.106.2"


def call(*words, **options):
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise harness.CannotMeasure(f"{words[0]} failed:\n" + "\n".join(done.stdout.splitlines()[-20:]))
    return done.stdout


def newer(target, *sources):
    return target.exists() and all(target.stat().st_mtime >= source.stat().st_mtime for source in sources)


def opendht():
    """The path of our worker on Debian's libopendht."""
    root, worker, source = FOLDER / "root", FOLDER / "opendht_node", SOURCES / "opendht_node.cpp"
    if not (root / "usr/include/opendht.h").exists():
        harness.remark("fetching OpenDHT from Debian …")
        packages = FOLDER / "debs"
        packages.mkdir(parents=True, exist_ok=True)
        plan = call("apt-get", "-s", "install", "--no-install-recommends", "libopendht-dev")
        names = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")} | {"libopendht-dev", "libopendht2"}
        call("apt-get", "download", *sorted(names), cwd=packages)
        for package in packages.glob("*.deb"):
            call("dpkg", "-x", package, root)
    if not newer(worker, source):
        libraries = next((root / "usr/lib").glob("*/libopendht.so")).parent
        call(
            "g++", "-O2", "-std=c++17", "-isystem", root / "usr/include", source, "-o", worker, f"-L{libraries}",
            # Old tags, so that the path also applies to dependencies of the libraries.
            f"-Wl,--disable-new-dtags,-rpath,{libraries}", "-lopendht", "-pthread")
    return str(worker)


def libtorrent():
    """The argument list of the libtorrent worker. Also sets PYTHONPATH in its environment."""
    target = FOLDER / "python"
    if not (target / "libtorrent").exists():
        harness.remark("fetching libtorrent from PyPI …")
        call(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", target, *LIBTORRENT)
    sys.path.insert(0, str(target))
    return ["env", f"PYTHONPATH={target}", sys.executable, "-S", str(SOURCES / "libtorrent_node.py")]


def litellm():
    """The path of LiteLLM's proxy, in an environment of its own."""
    folder = FOLDER / "litellm"
    program = folder / "bin" / "litellm"
    done = folder / LITELLM.rpartition("==")[2]
    if not done.exists():
        harness.remark("fetching LiteLLM from PyPI …")
        call(sys.executable, "-m", "venv", folder)
        call(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", LITELLM)
        done.touch()
    return str(program)


def versions():
    listed = sorted((FOLDER / "debs").glob("libopendht2*.deb")) or sorted((FOLDER / "debs").glob("libopendht*.deb"))
    name = listed[0].name.split("_")[1] if listed else "?"
    return f"OpenDHT {name} (Debian), {LIBTORRENT[0].replace('==', ' ')} (PyPI)"


def echo():
    """The path of the bare libuv echo."""
    return compiled("echo", "-luv")


def burst():
    """The path of the node that only exchanges datagrams."""
    return compiled("burst")


def compiled(name, *libraries):
    program, source = FOLDER / name, SOURCES / f"{name}.c"
    if not newer(program, source):
        FOLDER.mkdir(parents=True, exist_ok=True)
        call(os.environ.get("CC", "cc"), "-O2", source, "-o", program, *libraries)
    return str(program)
