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
