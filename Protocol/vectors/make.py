"""Makes the test vectors in this folder with Google's protobuf and PyNaCl, never with our code.

Run it with scripts/vectors. Its output is the same on every run: keys come from fixed seeds.
"""

import hashlib
import json
import os
import sys

from nacl.signing import SigningKey

from schema import describe, load

M = load()
HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = {name: SigningKey(hashlib.blake2b(name.encode(), digest_size=32).digest()) for name in ("ada", "ben", "cyd")}
DATE = 1_790_000_000_000
TASK = bytes(range(16))
HASH = bytes.fromhex("1f" * 32)


def public(name):
    return KEYS[name].verify_key.encode()


def blake(domain, *parts):
    return hashlib.blake2b(domain.encode() + b"\0" + b"".join(parts), digest_size=32).digest()


def sign(name, domain, body):
    return KEYS[name].sign(domain.encode() + b"\0" + body).signature


def signed(name, domain, message):
    body = message.SerializeToString(deterministic=True)
    return M["SignedRecord"](body=body, signature=sign(name, domain, body))


def v4(text, port):
    return M["Endpoint"](address=bytes(int(x) for x in text.split(".")), port=port)


def v6(text, port):
    return M["Endpoint"](address=bytes.fromhex(text), port=port)


V6 = "20010db8000000000000000000000001"

# ── Records ──

contacts = {
    "least contact": ("ada", M["Contact"](public_key=public("ada"))),
    "contact": ("ada", M["Contact"](public_key=public("ada"), endpoints=[v4("127.0.0.1", 7827)], reachability=1,
                                    sequence=DATE, issued_at_ms=DATE, name="ada", versions=[1])),
    "full contact": ("ben", M["Contact"](
        public_key=public("ben"), endpoints=[v4("203.0.113.7", 65535), v6(V6, 1), v4("10.0.0.1", 7827), v6("fe80" + "00" * 13 + "09", 9)],
        reachability=2, sequence=2**61, issued_at_ms=253402300799999, name="Grüße 🦩, ben" + "!" * 15, versions=[1, 2, 300, 2**32 - 1])),
}
offers = {
    "least offer": ("ada", M["Offer"](public_key=public("ada"), model="m")),
    "offer": ("ada", M["Offer"](
        public_key=public("ada"), model="llama-3.1-8b-instruct", digest=HASH, digest_source=1, quantization="q4_k_m",
        context=131072, features=1 | 2 | 8 | 32, continues=True,
        price=M["Price"](input=1_000_000, cached_input=100_000, output=2_000_000), slots=4,
        speed=M["Speed"](first_token_ms=180, millitokens_per_s=61_500, cold_first_token_ms=9_000, prompt_tokens_per_s=1_200),
        endpoints=[v4("127.0.0.1", 7827)], reachability=1, name="ada", sequence=DATE, issued_at_ms=DATE,
        not_after_ms=DATE + 180_000)),
    "dearest offer": ("cyd", M["Offer"](
        public_key=public("cyd"), model="x" * 64, digest=bytes(32), digest_source=2, quantization="q" * 16,
        context=100_000_000, features=2**32 - 1, continues=True, price=M["Price"](input=10**15, cached_input=10**15, output=10**15),
        slots=4096, speed=M["Speed"](first_token_ms=86_400_000, millitokens_per_s=10**9, cold_first_token_ms=86_400_000, prompt_tokens_per_s=10**8),
        endpoints=[v6(V6, 65535), v4("255.255.255.255", 1)], reachability=2, name="n" * 32, sequence=2**61,
        issued_at_ms=253402300799999, not_after_ms=253402300799999, withdrawn=True)),
    "withdrawn offer": ("ben", M["Offer"](public_key=public("ben"), model="wren-m", sequence=DATE + 1, issued_at_ms=DATE,
                                          not_after_ms=DATE + 600_000, withdrawn=True)),
    "free offer": ("ben", M["Offer"](public_key=public("ben"), model="wren-m", slots=1, price=M["Price"](output=1))),
}
bids = {
    "least bid": ("ben", M["Bid"](task=bytes(16), bidder=public("ben"), buyer=public("ada"))),
    "bid": ("ben", M["Bid"](
        task=TASK, attempt=1, bidder=public("ben"), buyer=public("ada"), price=M["Price"](input=900_000, output=1_800_000),
        queue_ms=20, first_token_ms=150, millitokens_per_s=70_000, cached_tokens=512, worker_dials=True, digest=HASH,
        quantization="bf16", continues=True, context=8192, prompt_tokens_per_s=900)),
}
receipts = {
    "least receipt": ("ada", M["Receipt"](task=bytes(16), buyer=public("ada"), worker=public("ben"))),
    "receipt": ("ada", M["Receipt"](
        task=TASK, attempt=65_535, buyer=public("ada"), worker=public("ben"), sequence=3, prompt_tokens=1200, cached_tokens=512,
        completion_tokens=340, cost_ucr=1_234_567, final=True, issued_at_ms=DATE)),
    "largest receipt": ("cyd", M["Receipt"](
        task=b"\xff" * 16, attempt=1, buyer=public("cyd"), worker=public("ada"), sequence=2**61, prompt_tokens=10**12,
        cached_tokens=10**12, completion_tokens=10**12, cost_ucr=10**15, issued_at_ms=1)),
}
registrations = {
    "least registration": ("ada", M["Registration"](public_key=public("ada"), topic=bytes(32))),
    "registration": ("ada", M["Registration"](public_key=public("ada"), topic=HASH, endpoints=[v4("127.0.0.1", 7827)], issued_at_ms=DATE)),
    "full registration": ("ben", M["Registration"](
        public_key=public("ben"), topic=b"\xff" * 32, endpoints=[v6(V6, 65535), v4("203.0.113.7", 1)], issued_at_ms=253402300799999)),
}
DOMAINS = {"Registration": "starling registration", "Contact": "starling contact", "Offer": "starling offer", "Bid": "starling bid", "Receipt": "starling receipt"}
RECORDS = [("Contact", contacts), ("Offer", offers), ("Bid", bids), ("Receipt", receipts), ("Registration", registrations)]


def record_vectors():
    for kind, group in RECORDS:
        for name, (author, message) in group.items():
            record = signed(author, DOMAINS[kind], message)
            yield {"name": name, "type": kind, "domain": DOMAINS[kind], "seed": KEYS[author].encode().hex(),
                   "author": public(author).hex(), "body": record.body.hex(), "signature": record.signature.hex(),
                   "fields": describe(message)}


def unverified_vectors():
    def entry(name, body, signature):
        return {"name": name, "type": "Contact", "body": body.hex(), "signature": signature.hex()}

    order = 2**252 + 27742317777372353535851937790883648493
    body = contacts["contact"][1].SerializeToString(deterministic=True)
    good = sign("ada", "starling contact", body)
    yield entry("signed by another", body, sign("ben", "starling contact", body))
    yield entry("signed in another domain", body, sign("ada", "starling offer", body))
    yield entry("signed without the zero byte", body, KEYS["ada"].sign(b"starling contact" + body).signature)
    yield entry("one bit of the signature flipped", body, bytes([good[0] ^ 1]) + good[1:])
    yield entry("one bit of the body flipped", body[:-1] + bytes([body[-1] ^ 1]), good)
    s = int.from_bytes(good[32:], "little") + order
    yield entry("S not reduced", body, good[:32] + s.to_bytes(32, "little"))
    for name, key in (("the key of order 1", b"\1" + bytes(31)), ("the key of order 2", b"\xec" + b"\xff" * 30 + b"\x7f"),
                      ("the key 0, of order 4", bytes(32)), ("a key not reduced", b"\xee" + b"\xff" * 30 + b"\x7f")):
        yield entry(name, M["Contact"](public_key=key).SerializeToString(), b"\1" + bytes(63))


# ── Envelopes ──

contact = signed("ada", DOMAINS["Contact"], contacts["contact"][1])
offer = signed("ada", DOMAINS["Offer"], offers["offer"][1])
registration = signed("ada", DOMAINS["Registration"], registrations["registration"][1])
gone = signed("ben", DOMAINS["Offer"], offers["withdrawn offer"][1])
versions = [M["OfferVersion"](id=int.from_bytes(blake("n", bytes([i]))[:8], "big"), sequence=DATE + i) for i in range(56)]
versions.sort(key=lambda v: v.id)

envelopes = {
    "ping": dict(request=1, ping=M["Ping"]()),
    "ping with contact": dict(request=2**32 - 1, ping=M["Ping"](contact=contact)),
    "ping of one who knows": dict(request=2, ping=M["Ping"](known=DATE)),
    "pong": dict(reply=1, pong=M["Pong"]()),
    "pong with everything": dict(reply=300, pong=M["Pong"](contact=contact, observed=v4("198.51.100.3", 40000))),
    "pong to IPv6": dict(reply=300, pong=M["Pong"](observed=v6(V6, 40000))),
    "find": dict(request=2, find=M["Find"](target=HASH)),
    "find zero": dict(request=2, find=M["Find"](target=bytes(32))),
    "found nobody": dict(reply=2, found=M["Found"]()),
    "found five": dict(reply=2, found=M["Found"](contacts=[contact] * 5)),
    "unsupported": dict(reply=9, unsupported=M["Unsupported"](kind=77)),
    "offer mail": dict(request=3, offer_mail=M["OfferMail"](offers=[offer, gone])),
    "offer received": dict(reply=3, offer_received=M["OfferReceived"]()),
    "empty digest": dict(request=4, offer_digest=M["OfferDigest"](first=0, last=2**64 - 1)),
    "full digest": dict(request=4, offer_digest=M["OfferDigest"](first=versions[0].id, last=versions[-1].id, offers=versions)),
    "no difference": dict(reply=4, offer_difference=M["OfferDifference"]()),
    "difference": dict(reply=4, offer_difference=M["OfferDifference"](offers=[offer], wanted=[0, 1, 2**64 - 1], more=12, now_ms=DATE)),
    "largest difference": dict(reply=4, offer_difference=M["OfferDifference"](offers=[gone], wanted=range(2**63, 2**63 + 32), more=10**6, now_ms=253402300799999)),
    "least call": dict(request=5, call_for_bids=M["CallForBids"](task=bytes(16), model="m")),
    "call": dict(request=5, call_for_bids=M["CallForBids"](
        task=TASK, attempt=1, model="llama-3.1-8b-instruct", features=9, tokens_in=900, tokens_out=400, tokens_out_max=2048,
        max_price=M["Price"](input=2_000_000, output=4_000_000), close_ms=120, deadline_ms=60_000,
        weights=M["Weights"](time_ucr_per_s=40, trust_power=1))),
    "full call": dict(request=5, call_for_bids=M["CallForBids"](
        task=b"\xff" * 16, attempt=65_535, model="m" * 64, digest=HASH, quantizations=["q8_0", "", "bf16", "q4_k_m", "f16", "q2_k", "q3_k", "é" * 8],
        features=2**32 - 1, must_continue=True, tokens_in=10**8, tokens_out=10**8, tokens_out_max=10**8,
        max_price=M["Price"](input=10**15, cached_input=10**15, output=10**15), close_ms=250, deadline_ms=86_400_000,
        weights=M["Weights"](time_ucr_per_s=10**9, trust_power=8), cache_handle=b"h" * 32, buyer_unreachable=True, quote=True)),
    "call for a quote": dict(request=5, call_for_bids=M["CallForBids"](task=TASK, attempt=1, model="m", tokens_in=100, tokens_out=64, quote=True)),
    "call for free answers": dict(request=5, call_for_bids=M["CallForBids"](task=TASK, attempt=1, model="m", max_price=M["Price"]())),
    "bid": dict(reply=5, bid=signed("ben", DOMAINS["Bid"], bids["bid"][1])),
    "decline": dict(reply=5, decline=M["Decline"](task=TASK, attempt=1, reason=11, retry_after_ms=2_000)),
    "decline without reason": dict(reply=5, decline=M["Decline"](task=TASK)),
    "release": dict(release=M["Release"](task=TASK, attempt=1, winning_score=2**62)),
    "release without winner": dict(release=M["Release"](task=TASK, attempt=1)),
    "award": dict(request=6, award=M["Award"](task=TASK, attempt=1)),
    "award to a worker that dials": dict(request=6, award=M["Award"](task=TASK, attempt=2, worker_dials=True)),
    "award reply": dict(reply=6, award_reply=M["AwardReply"](task=TASK, attempt=1, status=1)),
    "register": dict(request=7, register=M["Register"](registration=registration, start=2**32 - 1)),
    "withdraw": dict(request=7, register=M["Register"](registration=registration, withdrawn=True)),
    "registered": dict(reply=7, registered=M["Registered"](held_ms=900_000, contacts=[contact] * 3)),
    "not registered": dict(reply=7, registered=M["Registered"]()),
    "get": dict(request=8, get=M["Get"](topic=HASH, start=77)),
    "get zero": dict(request=8, get=M["Get"](topic=bytes(32))),
    "providers": dict(reply=8, providers=M["Providers"](registrations=[registration] * 4, contacts=[contact] * 2)),
    "no providers": dict(reply=8, providers=M["Providers"]()),
    "call me back": dict(request=11, callback_request=M["CallbackRequest"](nonce=2**64 - 2, port=7827, channel=True)),
    "call that node": dict(request=12, callback_order=M["CallbackOrder"](
        public_key=public("cyd"), endpoint=v6(V6, 65_535), nonce=5, channel=True)),
    "somebody calls": dict(callback_answer=M["CallbackAnswer"](nonce=2**64 - 2, called=v4("203.0.113.7", 7827))),
    "nobody calls": dict(reply=12, callback_answer=M["CallbackAnswer"](nonce=5)),
    "the call": dict(callback=M["Callback"](nonce=5)),
    "padded get": dict(request=8, get=M["Get"](topic=HASH), padding=bytes(200)),
    "padded ping": dict(request=1, ping=M["Ping"](), padding=bytes(40)),
    "padded call": dict(request=1, call_for_bids=M["CallForBids"](task=TASK, attempt=1, model="m"), padding=bytes(200)),
}
for number in (*range(1, 11), 12):
    envelopes[f"decline {number}"] = dict(reply=5, decline=M["Decline"](task=TASK, attempt=1, reason=number))
for number in range(2, 4):
    envelopes[f"award reply {number}"] = dict(reply=6, award_reply=M["AwardReply"](task=TASK, attempt=1, status=number))

# ── Frames ──

receipt = signed("ada", DOMAINS["Receipt"], receipts["receipt"][1])
frames = {
    "open": dict(open=M["TaskOpen"](kind=1, body_bytes=4096, max_tokens=512, delivered_bytes=100, window_bytes=65536, deadline_ms=60_000)),
    "open completion": dict(open=M["TaskOpen"](kind=2, body_bytes=8 << 20, max_tokens=10**8, delivered_bytes=8 << 20, window_bytes=16 << 20, deadline_ms=86_400_000)),
    "open embedding": dict(open=M["TaskOpen"](kind=3)),
    "least open": dict(open=M["TaskOpen"]()),
    "body part": dict(body_part=M["TaskBody"](bytes=b'{"messages":[]}')),
    "large body part": dict(body_part=M["TaskBody"](bytes=bytes(i % 251 for i in range(15_000)))),
    "delta": dict(delta=M["Delta"](offset=10, text="Hallo Welt ✓".encode(), tokens=3)),
    "delta with extra": dict(delta=M["Delta"](offset=2**40, extra=b'[{"index":0,"delta":{"tool_calls":[]}}]', tokens=1)),
    "first delta": dict(delta=M["Delta"](text=b"a", tokens=1)),
    "progress": dict(progress=M["Progress"](phase=3, tokens=40)),
    "queued": dict(progress=M["Progress"](phase=1, tokens=4_200, place=3)),
    "finish": dict(finish=M["Finish"](reason="stop", prompt_tokens=12, cached_tokens=4, completion_tokens=30, cache_handle=b"\0\1\2",
                                      dropped_fields=["chat_template", "keep_alive"])),
    "finish of an embedding": dict(finish=M["Finish"](reason="stop", prompt_tokens=5, extra=b'{"data":[]}')),
    "fail": dict(fail=M["Fail"](code="backend_error", message="the model server answered 500", another_may_succeed=True)),
    "least fail": dict(fail=M["Fail"]()),
    "cancel": dict(cancel=M["Cancel"]()),
    "window": dict(window=M["Window"](consumed=70_000)),
    "empty window": dict(window=M["Window"]()),
    "receipt": dict(receipt=receipt),
    "hello": dict(hello=M["Hello"]()),
}
for number in range(1, 5):
    frames[f"progress {number}"] = dict(progress=M["Progress"](phase=number))


def whole(kind, parts):
    return M["Frame"](task=TASK, attempt=1, **parts) if kind == "Frame" else M["Envelope"](**parts)


def message_vectors(kind, group):
    for name, parts in group.items():
        message = whole(kind, parts)
        encoded = message.SerializeToString(deterministic=True)
        yield {"name": name, "type": kind, "hex": encoded.hex(), "fields": describe(message), "padding": len(parts.get("padding", b""))}


# ── By hand: encodings that stock libraries never write ──


def varint(value, digits=0):
    out = []
    while value > 0x7F or len(out) + 1 < digits:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + [value])


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def fixed64(field, value):
    return varint(field << 3 | 1) + value.to_bytes(8, "little")


PING = data(8, b"")
KEY = data(1, public("ada"))
UNKNOWN = number(100, 7) + fixed64(101, 7) + data(102, b"later") + varint(103 << 3 | 5) + bytes(4)
# An embedded message that today's readers don't know, and nesting into which no reader may recurse.
DEEP = b""
for _ in range(150):
    DEEP = data(104, DEEP)


def decline(*rest):
    return data(26, data(1, TASK) + b"".join(rest))


def tolerated_vectors():
    """Unusual encodings that every receiver accepts, each with the canonical encoding of its meaning."""

    def entry(name, kind, odd, message):
        canonical = message.SerializeToString(deterministic=True)
        return {"name": name, "type": kind, "hex": odd.hex(), "canonical": canonical.hex(), "fields": describe(message)}

    E, O, C = M["Envelope"], M["Offer"], M["Contact"]
    ping = E(request=1, ping=M["Ping"]())
    yield entry("fields in any order", "Envelope", PING + number(1, 1), ping)
    yield entry("unknown fields of every wire type", "Envelope", UNKNOWN + number(1, 1) + PING + UNKNOWN, ping)
    yield entry("an unknown field deeper than any stack", "Envelope", number(1, 1) + PING + DEEP, ping)
    yield entry("unknown fields inside a message", "Envelope", number(1, 1) + data(8, UNKNOWN), ping)
    yield entry("the last scalar wins", "Envelope", number(1, 9) + number(1, 1) + PING, ping)
    yield entry("the last kind wins", "Envelope", number(1, 1) + data(19, b"") + PING, ping)
    yield entry("a known kind before an unknown one", "Envelope", number(1, 1) + PING + data(999, b"x"), ping)
    yield entry("numbers with needless digits", "Envelope", b"\x88\x00" + varint(1, 10) + PING, ping)
    yield entry("a number of 64 bits in a field of 32", "Envelope", number(1, 2**32 + 1) + PING, ping)
    yield entry("a known field of another wire type is unknown", "Envelope", fixed64(1, 5) + number(1, 1) + number(8, 3) + PING, ping)
    yield entry("padding that is not zero", "Envelope", number(1, 1) + PING + data(15, b"\xff" * 9), ping)
    yield entry("explicit zeros", "Envelope", number(1, 1) + number(2, 0) + PING, ping)
    yield entry("an unknown enum value", "Envelope", decline(number(3, 99)), E(decline=M["Decline"](task=TASK)))
    yield entry("a duration over a day", "Envelope", decline(number(4, 2**32 - 1)), E(decline=M["Decline"](task=TASK, retry_after_ms=86_400_000)))
    yield entry("unpacked numbers", "Envelope", data(19, fixed64(2, 5) + fixed64(2, 6)), E(offer_difference=M["OfferDifference"](wanted=[5, 6])))
    yield entry("packed in two halves", "Envelope", data(19, data(2, (5).to_bytes(8, "little")) + data(2, (6).to_bytes(8, "little"))),
                E(offer_difference=M["OfferDifference"](wanted=[5, 6])))
    yield entry("a close over 250 ms, and too many tokens", "Envelope",
                data(24, data(1, TASK) + data(3, b"m") + number(8, 2**32 - 1) + number(12, 60_000)),
                E(call_for_bids=M["CallForBids"](task=TASK, model="m", tokens_in=10**8, close_ms=250)))
    yield entry("held for more than a day", "Envelope", data(33, number(1, 2**32 - 1)), E(registered=M["Registered"](held_ms=86_400_000)))
    yield entry("weights out of bounds", "Envelope",
                data(24, data(1, TASK) + data(3, b"m") + data(14, number(1, 2**32 - 1) + number(2, 2**32 - 1))),
                E(call_for_bids=M["CallForBids"](task=TASK, model="m", weights=M["Weights"](time_ucr_per_s=10**9, trust_power=8))))
    yield entry("a clock before 1970", "Envelope", data(19, number(4, 2 * 10**15 - 1)), E(offer_difference=M["OfferDifference"]()))
    yield entry("a clock after 9999", "Envelope", data(19, number(4, 2**64 - 2)), E(offer_difference=M["OfferDifference"](now_ms=253402300799999)))
    yield entry("a bool that is 2", "Contact", KEY + data(2, data(1, bytes([127, 0, 0, 1])) + number(2, 1)) + varint(7 << 3) + b"\1" + varint(7 << 3) + b"\2",
                C(public_key=public("ada"), endpoints=[v4("127.0.0.1", 1)], versions=[1, 2]))
    yield entry("dates outside 1970 to 9999", "Offer", KEY + data(2, b"m") + number(16, 1) + number(17, 2**64 - 2),
                O(public_key=public("ada"), model="m", not_after_ms=253402300799999))
    yield entry("a price in two halves is merged", "Offer", KEY + data(2, b"m") + data(9, number(1, 5) + number(3, 6)) + data(9, number(3, 7)),
                O(public_key=public("ada"), model="m", price=M["Price"](input=5, output=7)))
    yield entry("an empty price is none", "Offer", KEY + data(2, b"m") + data(9, b"") + data(11, b""), O(public_key=public("ada"), model="m"))
    yield entry("true is any number but zero", "Offer", KEY + data(2, b"m") + number(8, 2**63), O(public_key=public("ada"), model="m", continues=True))
    yield entry("joined emoji in a name", "Offer", KEY + data(2, b"m") + data(14, "👩‍🔬".encode()), O(public_key=public("ada"), model="m", name="👩‍🔬"))
    yield entry("more speed and slots than there is", "Offer", KEY + data(2, b"m") + number(10, 2**32 - 1) + data(11, number(2, 2**32 - 1)),
                O(public_key=public("ada"), model="m", slots=4096, speed=M["Speed"](millitokens_per_s=10**9)))
    frame = lambda kind, *rest: data(1, TASK) + data(kind, b"".join(rest))
    yield entry("control characters in a failure", "Frame", frame(13, data(1, b"busy\0"), data(2, "a\r\nb\u2028\u202ec".encode())),
                M["Frame"](task=TASK, fail=M["Fail"](code="busy ", message="a  b  c")))
    yield entry("control characters in a reason and a field's name", "Frame", frame(12, data(1, b"st\x1bop"), data(6, b"a\tb")),
                M["Frame"](task=TASK, finish=M["Finish"](reason="st op", dropped_fields=["a b"])))


BAD_MODELS = {
    "in upper case": "Wren-m", "with an underscore": "wren_m", "with a slash": "a/b", "with a space": "wren m", "with a line end": "wren-m\n",
    "with an escape": "\x1b[2Jm", "that begins with a hyphen": "-m", "that begins with a dot": ".m", "that ends with a hyphen": "m-",
    "that ends with a dot": "m.", "with two hyphens": "wren--m", "with a letter beyond ASCII": "wrén", "of one hyphen": "-",
}
CONTROLS = {
    "a zero": "\0", "a line end": "\n", "an escape": "\x1b", "a delete": "\x7f", "a next line": "\x85", "a control sequence introducer": "\x9b",
    "an Arabic letter mark": "\u061c", "a left-to-right mark": "\u200e", "a line separator": "\u2028", "a paragraph separator": "\u2029",
    "an embedding": "\u202a", "an override": "\u202e", "an isolate": "\u2066", "an isolate's end": "\u2069",
}


def refused_vectors():
    """Bytes that every receiver refuses, with our name for the error."""

    def entry(name, kind, odd, error):
        return {"name": name, "type": kind, "hex": odd.hex(), "error": error}

    endpoint = lambda address, port: KEY + data(2, data(1, address) + number(2, port))
    v4 = bytes([127, 0, 0, 1])
    offer = KEY + data(2, b"m")
    frame = lambda *rest: data(1, TASK) + b"".join(rest)
    yield entry("nothing", "Envelope", b"", "missingField")
    yield entry("no message", "Envelope", number(1, 1), "missingField")
    yield entry("only a message of a later version", "Envelope", number(1, 1) + data(999, b"x"), "unknownKind")
    yield entry("1,101 bytes", "Envelope", PING + data(15, bytes(1_096)), "tooLarge")
    yield entry("a number of 11 bytes", "Envelope", b"\x08" + b"\xff" * 10 + b"\1" + PING, "malformed")
    yield entry("a number over 64 bits", "Envelope", b"\x08" + b"\xff" * 9 + b"\2" + PING, "malformed")
    yield entry("a number without end", "Envelope", PING + b"\x08\xff", "truncated")
    yield entry("field 0", "Envelope", b"\0\0" + PING, "malformed")
    yield entry("a tag over 32 bits", "Envelope", varint(2**32 | 8) + b"\1" + PING, "malformed")
    yield entry("a group", "Envelope", varint(50 << 3 | 3) + varint(50 << 3 | 4) + PING, "malformed")
    yield entry("wire type 6", "Envelope", varint(50 << 3 | 6) + PING, "malformed")
    yield entry("wire type 7", "Envelope", varint(50 << 3 | 7) + PING, "malformed")
    yield entry("a length over the rest", "Envelope", b"\x42\x05abcd", "truncated")
    yield entry("a length of 2^63", "Envelope", b"\x42" + varint(2**63) + b"abcd", "truncated")
    yield entry("an inner length over its message", "Envelope", data(8, b"\x0a\x09") + data(15, bytes(9)), "truncated")
    yield entry("broken bytes in an empty message", "Envelope", data(17, b"\xff"), "truncated")
    yield entry("a task of 15 bytes", "Envelope", data(26, data(1, bytes(15))), "malformed")
    yield entry("no task", "Envelope", data(26, number(2, 1)), "missingField")
    yield entry("a target of 33 bytes", "Envelope", data(10, data(1, bytes(33))), "malformed")
    yield entry("no target", "Envelope", data(10, b""), "missingField")
    yield entry("an attempt over 65,535", "Envelope", decline(number(2, 65_536)), "outOfRange")
    yield entry("nine contacts", "Envelope", data(11, data(1, data(1, b"x") + data(2, bytes(64))) * 9), "outOfRange")
    yield entry("three offers by mail", "Envelope", data(16, data(1, data(1, b"x") + data(2, bytes(64))) * 3), "outOfRange")
    yield entry("57 versions", "Envelope", data(18, data(3, number(2, 1)) * 57), "outOfRange")
    yield entry("33 wanted", "Envelope", data(19, data(2, bytes(33 * 8))), "outOfRange")
    yield entry("33 wanted, unpacked", "Envelope", data(19, fixed64(2, 5) * 33), "outOfRange")
    yield entry("half a number, packed", "Envelope", data(19, data(2, bytes(12))), "truncated")
    yield entry("nine registrations", "Envelope", data(35, data(1, data(1, b"x") + data(2, bytes(64))) * 9), "outOfRange")
    yield entry("a topic of 31 bytes", "Envelope", data(34, data(1, bytes(31))), "malformed")
    yield entry("no topic", "Envelope", data(34, b""), "missingField")
    yield entry("no registration", "Envelope", data(32, number(2, 1)), "missingField")
    yield entry("a callback without nonce", "Envelope", data(43, b""), "missingField")
    yield entry("an answer without nonce", "Envelope", data(42, b""), "missingField")
    yield entry("a request for a callback without nonce", "Envelope", data(40, number(2, 7827)), "missingField")
    yield entry("a request for a callback to port 0", "Envelope", data(40, fixed64(1, 5)), "outOfRange")
    yield entry("a request for a callback to port 65,536", "Envelope", data(40, fixed64(1, 5) + number(2, 65_536)), "outOfRange")
    yield entry("an order without key", "Envelope", data(41, data(2, data(1, bytes([9, 9, 9, 9])) + number(2, 1)) + fixed64(3, 5)), "missingField")
    yield entry("an order without endpoint", "Envelope", data(41, data(1, bytes(32)) + fixed64(3, 5)), "missingField")
    yield entry("a registration without topic", "Registration", KEY, "missingField")
    yield entry("a registration of 201 bytes", "Registration", KEY + data(2, bytes(32)) + data(99, bytes(130)), "tooLarge")
    yield entry("nine quantisations", "Envelope", data(24, data(1, TASK) + data(3, b"m") + data(5, b"") * 9), "outOfRange")
    yield entry("a call for no model", "Envelope", data(24, data(1, TASK)), "missingField")
    yield entry("a negative highest price", "Envelope", data(24, data(1, TASK) + data(3, b"m") + data(11, number(1, 2**64 - 1))), "outOfRange")
    yield entry("a cache handle of 33 bytes", "Envelope", data(24, data(1, TASK) + data(3, b"m") + data(15, bytes(33))), "outOfRange")
    yield entry("a record without signature", "Envelope", data(25, data(1, b"x")), "missingField")
    yield entry("a record without body", "Envelope", data(25, data(2, bytes(64))), "missingField")
    yield entry("a signature of 63 bytes", "Envelope", data(25, data(1, b"x") + data(2, bytes(63))), "malformed")
    yield entry("a record of 513 bytes", "Envelope", data(25, data(1, bytes(513)) + data(2, bytes(64))), "outOfRange")
    yield entry("a sequence over 2^61 in a digest", "Envelope", data(18, data(3, number(2, 2**61 + 1))), "outOfRange")
    yield entry("port 0", "Contact", endpoint(v4, 0), "outOfRange")
    yield entry("port 65,536", "Contact", endpoint(v4, 65_536), "outOfRange")
    yield entry("an address of 5 bytes", "Contact", endpoint(bytes(5), 1), "malformed")
    yield entry("an address of 17 bytes", "Contact", endpoint(bytes(17), 1), "outOfRange")
    yield entry("an IPv4-mapped address", "Contact", endpoint(bytes(10) + b"\xff\xff" + v4, 1), "malformed")
    yield entry("no address", "Contact", endpoint(b"", 1), "missingField")
    yield entry("five endpoints", "Contact", KEY + data(2, data(1, v4) + number(2, 1)) * 5, "outOfRange")
    yield entry("five versions", "Contact", KEY + data(7, b"\1" * 5), "outOfRange")
    yield entry("no key", "Contact", data(6, b"x"), "missingField")
    yield entry("a key of 31 bytes", "Contact", data(1, bytes(31)), "malformed")
    yield entry("a name of 33 bytes", "Contact", KEY + data(6, b"n" * 33), "outOfRange")
    yield entry("a name that is not UTF-8", "Contact", KEY + data(6, b"\xc3\x28"), "malformed")
    yield entry("a name with a surrogate", "Contact", KEY + data(6, b"\xed\xa0\x80"), "malformed")
    yield entry("a sequence over 2^61", "Contact", KEY + number(4, 2**64 - 1), "outOfRange")
    yield entry("301 bytes", "Contact", KEY + data(99, bytes(263)), "tooLarge")
    yield entry("an offer of no model", "Offer", KEY, "missingField")
    yield entry("a model of 65 bytes", "Offer", KEY + data(2, b"m" * 65), "outOfRange")
    for name, text in BAD_MODELS.items():
        yield entry("an offer of a model " + name, "Offer", KEY + data(2, text.encode()), "malformed")
        yield entry("a call for a model " + name, "Envelope", data(24, data(1, TASK) + data(3, text.encode())), "malformed")
    for name, text in CONTROLS.items():
        yield entry("an offer's label with " + name, "Offer", offer + data(14, f"a{text}b".encode()), "malformed")
        yield entry("a contact's label with " + name, "Contact", KEY + data(6, f"a{text}b".encode()), "malformed")
    yield entry("a quantization with a line end", "Offer", offer + data(5, b"q8_0\n"), "malformed")
    yield entry("a bid's quantization with a line end", "Bid", data(1, TASK) + data(3, public("ben")) + data(4, public("ada")) + data(12, b"q8_0\n"), "malformed")
    yield entry("a call's quantization with a line end", "Envelope", data(24, data(1, TASK) + data(3, b"m") + data(5, b"q8_0\n")), "malformed")
    yield entry("a negative price", "Offer", offer + data(9, number(3, 2**64 - 1)), "outOfRange")
    yield entry("a price over 10^15", "Offer", offer + data(9, number(3, 10**15 + 1)), "outOfRange")
    yield entry("a digest of 16 bytes", "Offer", offer + data(3, bytes(16)), "malformed")
    yield entry("three endpoints", "Offer", offer + data(12, data(1, v4) + number(2, 1)) * 3, "outOfRange")
    yield entry("a bid without buyer", "Bid", data(1, TASK) + data(3, public("ben")), "missingField")
    yield entry("a negative cost", "Receipt", data(1, TASK) + data(3, public("ada")) + data(4, public("ben")) + number(9, 2**64 - 1), "outOfRange")
    yield entry("more tokens than there are", "Receipt", data(1, TASK) + data(3, public("ada")) + data(4, public("ben")) + number(8, 2**64 - 1), "outOfRange")
    yield entry("a frame without task", "Frame", data(14, b""), "missingField")
    yield entry("a frame without body", "Frame", frame(), "missingField")
    yield entry("a frame of a later version", "Frame", frame(data(99, b"")), "unknownKind")
    yield entry("an offset over 2^40", "Frame", frame(data(10, number(1, 2**40 + 1))), "outOfRange")
    yield entry("a body over 8 MiB", "Frame", frame(data(8, number(2, (8 << 20) + 1))), "outOfRange")
    yield entry("a part over 15,000 bytes", "Frame", frame(data(9, data(1, bytes(15_001)))), "outOfRange")
    yield entry("16,001 bytes", "Frame", frame(data(14, b"")) + data(99, bytes(15_977)), "tooLarge")
    yield entry("17 dropped fields", "Frame", frame(data(12, data(6, b"f") * 17)), "outOfRange")
    yield entry("a message over 400 bytes", "Frame", frame(data(13, data(2, b"m" * 401))), "outOfRange")


def id_vectors():
    models = ["llama-3.1-8b-instruct", "qwen2.5-coder-7b-instruct", "wren-m", "m" * 64]
    yield {"kind": "node", "entries": [{"public_key": public(k).hex(), "id": blake("starling node id", public(k)).hex()} for k in KEYS]}
    yield {"kind": "topic", "entries": [{"model": m, "id": blake("starling topic", m.encode()).hex()} for m in models]}
    yield {"kind": "offer", "entries": [
        {"public_key": public(k).hex(), "model": m, "id": blake("starling offer id", public(k), m.encode())[:8].hex()} for k in KEYS for m in models]}


def write(name, what, vectors):
    vectors = list(vectors)
    with open(os.path.join(HERE, name), "w") as file:
        lines = ",\n".join("    " + json.dumps(v, ensure_ascii=False) for v in vectors)
        file.write('{\n  "what": %s,\n  "vectors": [\n%s\n  ]\n}\n' % (json.dumps(what, ensure_ascii=False), lines))
    print(f"{name}: {len(vectors)} vectors", file=sys.stderr)


if __name__ == "__main__":
    write("envelopes.json", "canonical datagram messages; padding: how many zeros field 15 holds", message_vectors("Envelope", envelopes))
    write("frames.json", "canonical channel frames", message_vectors("Frame", frames))
    write("records.json", "signed records: Ed25519 over domain, a zero byte and body", record_vectors())
    write("unverified.json", "records that decode but whose signature must be refused", unverified_vectors())
    write("tolerated.json", "odd encodings, what they mean to a receiver after clamping, and the canonical encoding of that", tolerated_vectors())
    write("refused.json", "bytes to refuse, and the name under which the reference implementation counts them", refused_vectors())
    write("ids.json", "node, topic and short offer ids: BLAKE2b-256 of domain, a zero byte and the parts", id_vectors())
