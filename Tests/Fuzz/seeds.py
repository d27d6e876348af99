#!/usr/bin/env python3
"""Makes the first corpora of the decoders from Protocol/vectors: one file an input, named by its content's hash.

Run it when vectors were added; corpora that fuzzing has grown are merged by `scripts/fuzz --keep`.
"""
import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent.parent / "Protocol/vectors"
RECORDS = {"Contact": 0, "Offer": 1, "Bid": 2, "Receipt": 3, "Registration": 4}
# Longer ones teach a fuzzer nothing new.
SIZE_MAX = 1_300


def keep(target, content):
    if 0 < len(content) <= SIZE_MAX:
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(content).hexdigest()[:16]).write_bytes(content)


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())["vectors"]


for name in ("envelopes", "frames", "tolerated", "refused"):
    for vector in vectors(name):
        content = bytes.fromhex(vector.get("hex", ""))
        kind = vector["type"]
        if kind in RECORDS:
            keep("record", bytes([RECORDS[kind]]) + content)
        else:
            keep(kind.lower(), content)
for name in ("records", "unverified"):
    for vector in vectors(name):
        if vector["type"] in RECORDS:
            keep("record", bytes([RECORDS[vector["type"]]]) + bytes.fromhex(vector["body"]))

CHUNKS = [
    b'{"choices":[{"index":0,"delta":{"content":"h\\u00e9\\ud83d"},"finish_reason":null}],"usage":null}',
    b'{"choices":[{"delta":{"tool_calls":[{"index":0}]},"logprobs":{"content":[]}}]}',
    b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}',
    b'{"error":{"message":"no","type":"server_error","code":500}}',
    b'{"choices":[{"text":"plain","index":0,"finish_reason":"stop"}]}',
]
for size in (0, 6, 255):
    for kind in (0, 1):
        lines = b"".join(b"data: " + chunk + b"\n\n" for chunk in CHUNKS) + b": ping\r\n\r\ndata: [DONE]\n\n"
        keep("openai", bytes([kind, size]) + lines)
keep("openai", bytes([0, 3]) + b"\xef\xbb\xbfevent: error\rdata: a\rdata: b\r\rerror: {}\n\n")
keep("openai", bytes([2]) + CHUNKS[3])
keep("openai", bytes([6 | 1 << 3]) + b'{"data":[{"index":0,"embedding":[0.5,-2e-3, 0]}],"usage":{"prompt_tokens":7}}')
keep("openai", bytes([6 | 2 << 3])
     + b'{"data":[{"embedding":[1.0,-0.5],"index":1},{"index":0,"embedding":"AACAPwAAAL8="}],"x":[{}]}')
BODIES = [
    b'{"model":"x","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"temperature":0.5,"user":"u","n":2}',
    b'{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":'
    b'{"url":"data:image/png;base64,AA=="}},{"type":"image_url","image_url":{"url":"http://a/b"}}]}],'
    b'"chat_template":"x","grammar":"y","keep_alive":1,"stop":["a"],"tools":[],"response_format":{"type":"text"}}',
    b'{"prompt":"once","max_tokens":1e3,"logprobs":1,"suffix":"s"}',
    b'{"input":["a","b"],"dimensions":8,"encoding_format":"base64"}',
]
for dialect in range(5):
    for kind, body in ((0, BODIES[0]), (0, BODIES[1]), (1, BODIES[2]), (2, BODIES[3])):
        keep("openai", bytes([3 | kind << 2 | dialect << 4, 0, 0, 0]) + body)
keep("openai", bytes([3, 1, 1, 5]) + b"hello" + bytes([0]) + BODIES[0])

# Programs: any bytes are one. Long ones to begin with, since a fuzzer lengthens only slowly.
for target in ("session", "channel", "peer"):
    for number in range(20):
        seed = f"{target} {number}".encode()
        keep(target, hashlib.shake_128(seed).digest(300))

# Three programs for the whole node, so that a fuzzer begins where money changes hands and contacts are admitted. FuzzEntries/PeerEntry reads them;
# ReachTests fails when they don't get there any more.
SESSION = "0b04" "0b0500"  # an initiation without a request; an empty packet that proves its sender
WORKER = "00" + SESSION + (
    "0b07 010a05 09 0000 00000000 0a05 0a05 0a05 00 080100 0901 0a01 0a01 00"  # a call for bids
    "0b07 010a06 12 0000 00"  # the award
    "04 050000 07000000"  # a channel, its handshake, the empty record
    "0600 0000 00 01 0a02 0a05 00 08ffff 0901 00"  # OPEN
    "0600 0000 02 027b7d 00"  # the body: {}
    "0900 03 03616263 0a01" "0900 01 0a01"  # the job says abc, and ends
)
BUYER = "00" + SESSION + (
    "0b07 010a07 05 01 01 00 081000 0a01 01 0a010a010a01 0a02 0a05 0901 00 01 00 01 01 01 01 00 00"  # an offer
    "02 01 00 027b7d 0a01 0a05 00 01 40 01"  # a client's task
    "0b0900 0b 0000 00 0a010a010a01 00 0a05 0901 00 00 01 081000 00"  # the bid
    "0b0900 13 0000 01"  # the award's answer
    "0500"  # the channel that it dials is connected
    "0600 0000 03 00 03616263 0a01 00 00"  # abc
    "0600 0000 05 0a01 00 0a01 00 00"  # the end
)
CONTACT = "01 01 00 01 0a01 01 0a01 00"
JOIN = "00" + SESSION + (
    "0b07 010a05 00" + CONTACT +  # a PING that states its sender's contact
    "00 40 02 00"  # a quarter of a second
    "0b0900 01" + CONTACT + "00"  # the PONG to the victim's own probe
)
for name, program in (("path-worker", WORKER), ("path-buyer", BUYER), ("path-join", JOIN)):
    (HERE / "corpus/peer" / name).write_bytes(bytes.fromhex(program))
