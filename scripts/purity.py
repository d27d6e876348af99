#!/usr/bin/env python3
"""Checks that the pure targets are pure: no I/O, clock or global randomness, and no import that Package.swift doesn't grant.

SwiftPM lets transitive imports pass, so imports are compared with the target's declared dependencies here. Each banned
word is listed with its replacement.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PURE = ["Primitives", "Cryptography", "OpenAIFormat", "Wire", "Sessions", "Discovery", "Gossip", "Market", "Credit", "PeerCore"]
ALWAYS = {"Swift", "Synchronization"} - {"Synchronization"}

BANNED = [
    (r"\basync\b|\bawait\b|\bTask\s*[.{(]", "synchronous code: events in, effects out"),
    (r"\bContinuousClock\b|\bSuspendingClock\b|\bDate\(|\bclock_gettime\b", "the `now` argument"),
    (r"\bSystemRandomNumberGenerator\b|\.random\((?:in:|using:|\))|\brandomElement\(|\.shuffled\(|\.shuffle\(\)", "the SeededRandom argument"),
    (r"\brandombytes_|\bSecureRandom\b", "entropy handed in by the shell"),
    (r"\btry!|\bfatalError\(|\bas!", "a typed throw, or precondition with state in its message"),
    (r"@unchecked\s+Sendable", "a value type"),
    (r"\bprint\(", "an effect"),
]
# The only source of entropy, for the shell.
EXEMPT = {("Cryptography", "SecureRandom.swift")}


def declared():
    dump = subprocess.run(["swift", "package", "dump-package"], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**__import__("os").environ, "STARLING_CORE_ONLY": "1"})
    targets = {}
    for target in json.loads(dump.stdout)["targets"]:
        names = set()
        for dependency in target["dependencies"]:
            for kind in ("byName", "target", "product"):
                if kind in dependency:
                    names.add(dependency[kind][0])
        targets[target["name"]] = names
    return targets


def reachable(targets, name):
    seen, todo = set(), [name]
    while todo:
        for dependency in targets.get(todo.pop(), ()):
            if dependency not in seen:
                seen.add(dependency)
                todo.append(dependency)
    return seen


def code(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]


def main():
    targets = declared()
    problems = []
    for name in PURE:
        allowed = reachable(targets, name) | ALWAYS
        for path in sorted((ROOT / "Sources" / name).rglob("*.swift")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                text = code(line)
                where = f"{path.relative_to(ROOT)}:{number}"
                found = re.match(r"\s*(?:@\w+\s+|public\s+|internal\s+)*import\s+(?:struct\s+|enum\s+|func\s+|class\s+)?(\w+)", text)
                if found and found.group(1) not in allowed:
                    problems.append(f"{where}: imports {found.group(1)}, which Package.swift does not grant to {name}")
                if (name, path.name) in EXEMPT:
                    continue
                for pattern, instead in BANNED:
                    if re.search(pattern, text):
                        problems.append(f"{where}: {text.strip()[:60]}\n    use {instead}")
    # Features for the simulator alone, such as packets without cryptography.
    for path in sorted((ROOT / "Sources").rglob("*.swift")):
        text = path.read_text()
        if "Simulation" not in path.parts and "@_spi(Simulation) import" in text:
            problems.append(f"{path.relative_to(ROOT)}: imports an interface for the simulator alone")
        # A node would load all of Foundation and its tables of languages, 9 MB in each process.
        if re.search(r"^\s*(@\w+\s+|internal\s+|public\s+)*import Foundation$", text, re.MULTILINE):
            problems.append(f"{path.relative_to(ROOT)}: imports Foundation\n    use FoundationEssentials, Primitives/Texts")
    for problem in problems:
        print(problem)
    print(f"{len(PURE)} pure targets, {len(problems)} impurities", file=sys.stderr)
    return 1 if problems else 0


sys.exit(main())
