"""Uses a gateway as a developer would, with the official package, and prints the results as one JSON object."""

import json
import sys

import openai

base_url = sys.argv[1]
client = openai.OpenAI(base_url=base_url, api_key="any")
messages = [{"role": "user", "content": "What can you do?"}]
seen = {"version": openai.__version__}

seen["models"] = [(m.id, m.starling["providers"]) for m in client.models.list()]
seen["model"] = client.models.retrieve("wren-m").id

whole = client.chat.completions.create(model="wren-m", messages=messages)
seen["whole"] = {
    "text": whole.choices[0].message.content, "role": whole.choices[0].message.role,
    "reason": whole.choices[0].finish_reason, "cost": whole.usage.cost, "total": whole.usage.total_tokens,
    "cached": whole.usage.prompt_tokens_details.cached_tokens, "request": whole._request_id, "id": whole.id,
}

stream = client.chat.completions.create(
    model="wren-m", messages=messages, stream=True, stream_options={"include_usage": True},
    extra_body={"provider": {"sort": "price", "max_price": {"completion": 2.5}}})
chunks = list(stream)
seen["stream"] = {
    "text": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
    "reasons": [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason],
    "cost": chunks[-1].usage.cost, "created": len({c.created for c in chunks}), "ids": len({c.id for c in chunks}),
    "request": stream.response.headers["x-request-id"],
}

vectors = client.embeddings.create(model="wren-m", input="a")
seen["embedding"] = vectors.data[0].embedding

completion = client.completions.create(model="wren-m", prompt="The capital")
seen["completion"] = completion.choices[0].text

raw = client.chat.completions.with_raw_response.create(model="wren-m", messages=messages)
seen["raw_headers"] = {k: v for k, v in raw.headers.items() if k.startswith("starling-")}


# The same request again: the package sends no key of its own.
again = [client.chat.completions.with_raw_response.create(
    model="wren-m", messages=messages, extra_headers={"Idempotency-Key": "again"}) for _ in range(2)]
seen["again"] = {
    "ids": len({raw.parse().id for raw in again}), "replayed": [raw.headers.get("idempotent-replayed") for raw in again]}
slow = client.with_options(timeout=0.3, max_retries=8).chat.completions.with_raw_response.create(
    model="slow", messages=messages, extra_headers={"Idempotency-Key": "slow"})
seen["slow"] = {"text": slow.parse().choices[0].message.content, "tries": slow.retries_taken + 1}
sent = client.chat.completions.with_raw_response.create(model="wren-m", messages=messages).http_request.headers
seen["own_key"] = sent.get("idempotency-key")


def failing(model, **more):
    try:
        for _ in client.chat.completions.create(model=model, messages=more.pop("messages", messages), **more):
            pass
    except openai.APIStatusError as e:
        return {"class": type(e).__name__, "status": e.status_code, "code": e.code, "type": e.type, "param": e.param,
                "message": e.body["message"], "metadata": e.body.get("metadata"), "request": e.request_id}
    except openai.APIError as e:
        return {"class": type(e).__name__, "code": e.code, "message": e.message}
    return None


seen["errors"] = {
    "unknown": failing("fail-model_not_found"),
    "price": failing("fail-over_max_price"),
    "deadline": failing("fail-deadline_exceeded"),
    "lost": failing("fail-worker_lost"),
    "context": failing("fail-context_length_exceeded"),
    "malformed": failing("wren-m", messages="hello"),
    "preference": failing("wren-m", extra_body={"provider": {"max_prize": 1}}),
    "mid_stream": failing("fail-in-mid-stream", stream=True),
    "stream_refused": failing("fail-no_bid", stream=True),
}

print(json.dumps(seen))
