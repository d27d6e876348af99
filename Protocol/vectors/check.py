"""Reads encodings that our tests wrote (STARLING_WIRE_OUT=FILE) and compares Google's reading with ours: it must have
the same fields, and give the same bytes when written again. Run it with `scripts/vectors check`."""

import json
import sys

from schema import describe, load

M = load()
failures = 0
entries = json.load(open(sys.argv[1]))
for entry in entries:
    encoded = bytes.fromhex(entry["hex"])
    message = M[entry["type"]].FromString(encoded)
    if describe(message) != entry["fields"] or message.SerializeToString(deterministic=True) != encoded:
        failures += 1
        print(f"{entry['type']} {entry['hex']}\n  theirs {describe(message)}\n  ours   {entry['fields']}", file=sys.stderr)
print(f"{len(entries)} encodings, {failures} read differently")
sys.exit(1 if failures or not entries else 0)
