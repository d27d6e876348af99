"""What a client gets, and how soon, when the model server behind its answer fails: faults × backends × streamed or not.

Two sellers of one model and a buyer on loopback. The cheaper seller's model server (Tests/ProcessTests/scripted_backend.py)
meets one fault, the other's is healthy. The client states a temperature of 0, and both models say the same. `continuing`: servers that can be made to go on with a text; `plain`: any other
(`backend: openai`). An answer is *whole* if its text and its end are those of a healthy one, *an error* if the client can
tell that it is none. A fault is passed if its answer is whole and no request but one reached the faulty server, or ends as
the table says; it is *safe* if a client that streams, whose part can't be taken back, is told so. Recovery is the time beyond
that of a healthy answer, and of the part that was lost where the answer had to begin again.
"""
import contextlib
import json
import time
import urllib.error
import urllib.request

import harness

KINDS = {"continuing": "vllm", "plain": "openai"}
WORDS = 30
EVERY = 0.02
TEXT = "".join(f"w{index} " for index in range(WORDS))
HEALTHY = WORDS * EVERY
LIMIT = 60
MIDDLE = WORDS // 2

FILTER = {"message": "the prompt breaks the policy", "type": "invalid_request_error", "code": "content_policy_violation"}
TOO_LONG = {
    "message": "This model's maximum context length is 8 tokens", "type": "invalid_request_error",
    "code": "context_length_exceeded"}


def status(code, **more):
    return {"mode": "status", "status": code, **more}


class Fault:
    """One fault. `ends`: what the client must get, with this `code` if it is an error. `both`: both servers have it.
    `stops`: the faulty server is stopped. `silent`: only the lack of anything shows it. `asks`: how often the client asks;
    the worst answer counts."""

    def __init__(self, script, ends="whole", both=False, silent=False, stops=False, code=None, asks=1):
        self.script, self.ends, self.both = script, ends, both
        self.silent, self.stops, self.code, self.asks = silent, stops, code, asks

    def lost(self, kind):
        """Seconds that the answer had taken when it broke off, if nobody can go on with it."""
        return self.script.get("after", 0) * EVERY if kind == "plain" else 0


# The names are those of Failover Bench (failoverbench.com), where it has the fault.
FAULTS = {
    "429 with Retry-After (S01)": Fault(status(429, retry_after=2, times=1)),
    "429 for ever (S02)": Fault(status(429)),
    "500 once (S03)": Fault({"mode": "error", "times": 1}),
    "500 for ever": Fault({"mode": "error"}),
    "503 for ever (S04)": Fault(status(503)),
    "connection refused": Fault({}, stops=True),
    "reset before headers (S05)": Fault({"mode": "reset"}),
    "silence before headers (S06)": Fault({"mode": "hang"}, silent=True),
    "silence after headers (S07)": Fault({"mode": "quiet"}, silent=True),
    "stream cut (S08)": Fault({"mode": "cut", "after": MIDDLE}),
    "stream stalls (S09)": Fault({"mode": "hang", "after": MIDDLE}, silent=True),
    "malformed event (S10)": Fault({"mode": "garbage", "after": MIDDLE}),
    "no [DONE] (S11)": Fault({"mode": "no_done"}),
    "stream ends without a reason": Fault({"mode": "close", "after": MIDDLE}),
    "[DONE] without a reason": Fault({"mode": "done", "after": MIDDLE}),
    "context exceeded at one (S12)": Fault(status(400, error=TOO_LONG)),
    "context exceeded at both (S12)": Fault(
        status(400, error=TOO_LONG), ends="error", both=True, code="context_length_exceeded"),
    "content filter at both (S13)": Fault(status(400, error=FILTER), ends="error", both=True, code="content_filter"),
    "error in the stream (S14)": Fault({"mode": "inline_error", "after": MIDDLE}),
    "500 every other time (S15)": Fault({"mode": "error", "flaps": True}, asks=6),
    "200 with an empty body": Fault({"mode": "empty"}),
    "200 with an error as JSON": Fault({"mode": "json_error"}),
    "200 with a page": Fault({"mode": "html"}),
    "an answer without a word": Fault({"mode": "nothing"}),
    "model missing": Fault(status(404, error={"message": "no such model", "code": "model_not_found"})),
    "401": Fault(status(401, error={"message": "bad key"})),
    "403": Fault(status(403, error={"message": "forbidden"})),
}


class Answer:
    """What a client got."""

    def __init__(self):
        self.status, self.text, self.reason, self.error, self.model = 0, "", None, None, None
        self.headers, self.usage, self.seconds, self.gap = {}, None, 0.0, 0.0

    @property
    def outcome(self):
        if self.status == 0:
            return "hang"
        if self.error is not None:
            return "error"
        if self.text == TEXT and self.reason == "stop":
            return "whole"
        return "truncated"


def ask(url, streamed, **more):
    body = {"model": "parrot", "stream": streamed, "temperature": 0, "messages": [{"role": "user", "content": "go"}], **more}
    if streamed:
        body["stream_options"] = {"include_usage": True}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    answer, started = Answer(), time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            answer.status, answer.headers = response.status, dict(response.headers)
            if streamed:
                read(response, answer)
            else:
                document = json.load(response)
                choice = document["choices"][0]
                answer.text, answer.reason = choice["message"]["content"] or "", choice["finish_reason"]
                answer.model, answer.usage = document["model"], document.get("usage")
    except urllib.error.HTTPError as problem:
        answer.status, answer.headers = problem.code, dict(problem.headers)
        with contextlib.suppress(ValueError):
            answer.error = json.load(problem)["error"]
    except OSError as problem:
        answer.error = {"code": str(problem)} if answer.status else None
    answer.seconds = time.monotonic() - started
    return answer


def read(response, answer):
    done, last = False, time.monotonic()
    for line in response:
        if not line.startswith(b"data: "):
            continue
        answer.gap, last = max(answer.gap, time.monotonic() - last), time.monotonic()
        data = line[6:].strip()
        if data == b"[DONE]":
            done = True
            continue
        event = json.loads(data)
        if "error" in event:
            answer.error = event["error"]
            return
        answer.model, answer.usage = event.get("model"), event.get("usage") or answer.usage
        for choice in event["choices"]:
            answer.text += choice["delta"].get("content") or ""
            answer.reason = choice["finish_reason"] or answer.reason
    if not done:
        answer.error = {"code": "no [DONE]"}


@contextlib.contextmanager
def servers(*models):
    with harness.scripted_servers(*models) as running:
        for server in running:
            server.play(tokens=WORDS, every=EVERY)
        yield running


def nodes(ada, bob, kind, model="parrot"):
    def seller(server, serves, price):
        return {
            "serves": serves, "url": server.url, "backend": KINDS[kind], "slots": 4,
            "price": {"input": 0.1, "cached_input": 0.01, "output": price}}

    return {"ada": seller(ada, "parrot", 1.0), "bob": seller(bob, model, 2.0), "fay": {}}


def meet(bench, url, *names):
    """Both sellers have answered before."""
    for name in names:
        if ask(url, False, provider={"only": [name], "allow_fallbacks": False}).outcome == "hang":
            raise harness.CannotMeasure(f"{name} does not answer at all")


class Table:
    def __init__(self):
        self.rows, self.silences, self.others, self.passed, self.truncated = [], [], [], 0, 0

    def add(self, name, kind, streamed, fault, answer, asked):
        beyond = max(0.0, answer.seconds - HEALTHY - fault.lost(kind))
        is_right = answer.outcome == fault.ends
        code = (answer.error or {}).get("code") or ""
        if fault.code is not None and fault.code != code:
            is_right = False
        # What a client has got of a text that nobody can go on with can't be taken back.
        is_safe = answer.outcome == "error" and streamed and kind == "plain" and bool(answer.text)
        self.passed += is_right
        self.truncated += answer.outcome == "truncated"
        if is_right or is_safe:
            (self.silences if fault.silent else self.others).append(beyond)
        self.rows.append((
            name, kind, "streamed" if streamed else "whole", answer.outcome, code, f"{beyond:.2f}",
            asked, "passed" if is_right else "safe" if is_safe else "FAILED"))

    def show(self):
        titles = ("fault", "backend", "asked for", "outcome", "code", "recovery s", "requests", "verdict")
        rows = [titles] + [tuple(map(str, row)) for row in self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
        for row in rows:
            print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip(), flush=True)


def run(bench):
    harness.remark(f"{len(FAULTS)} faults × {len(KINDS)} backends × streamed or not …")
    table = Table()
    for name, fault in FAULTS.items():
        for kind in KINDS:
            for streamed in (False, True):
                with servers("parrot", "parrot") as (ada, bob):
                    with bench.testnet(nodes(ada, bob, kind)) as testnet:
                        bench.builds = False
                        url = testnet.http("fay")
                        meet(bench, url, "ada", "bob")
                        before = ada.asked()
                        if fault.stops:
                            ada.stop()
                        else:
                            ada.play(**fault.script)
                        if fault.both:
                            bob.play(**fault.script)
                        answers = [ask(url, streamed) for _ in range(fault.asks)]
                        answer = max(answers, key=lambda one: (one.outcome != fault.ends, one.seconds))
                        asked = "-" if fault.stops else ada.asked() - before
                        table.add(name, kind, streamed, fault, answer, asked)
    table.show()
    bench.figure("faults_passed", table.passed / len(table.rows), "", ">= 1")
    bench.figure("faults_total", len(table.rows), "")
    bench.figure("truncated_passed_as_whole", table.truncated, "", "<= 0")
    bench.figure("silence_p99", harness.percentile(table.silences, 99), "s", "<= 3")
    bench.figure("others_p99", harness.percentile(table.others, 99), "s", "<= 0.5")
    alone(bench)
    fallback(bench)


def alone(bench):
    """With one seller, what passes is told as such: with a status that SDKs retry."""
    told = []
    for code in (429, 503):
        with servers("parrot") as (ada,):
            all_nodes = {name: node for name, node in nodes(ada, ada, "plain").items() if name != "bob"}
            with bench.testnet(all_nodes) as testnet:
                url = testnet.http("fay")
                meet(bench, url, "ada")
                ada.play(**status(code, retry_after=20))
                answer = ask(url, False)
                headers = {key.lower(): value for key, value in answer.headers.items()}
                told.append(
                    answer.status in (429, 503) and "retry-after" in headers and headers.get("x-should-retry") == "true")
                harness.remark(f"  one seller, {code}: {answer.status} after {answer.seconds:.1f} s, {answer.error}")
    bench.figure("transient_told_as_such", sum(told) / len(told), "", ">= 1")


def fallback(bench):
    """`models`: the second one answers for the first, and is named (S16)."""
    named = []
    for streamed in (False, True):
        with servers("parrot", "macaw") as (ada, bob):
            with bench.testnet(nodes(ada, bob, "plain", model="macaw")) as testnet:
                url = testnet.http("fay")
                meet(bench, url, "ada")
                ada.play(**status(503))
                answer = ask(url, streamed, models=["parrot", "macaw"])
                named.append(answer.outcome == "whole" and answer.model == "macaw" and bool(answer.usage))
                harness.remark(f"  models, streamed {streamed}: {answer.model} after {answer.seconds:.1f} s, {answer.error}")
    bench.figure("fallback_model_named", sum(named) / len(named), "", ">= 1")
