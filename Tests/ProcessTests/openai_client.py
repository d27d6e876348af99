"""Calls nodes through the real `openai` package and prints what a user's program would see.

    python openai_client.py CALLS.json

CALLS is a list of {"do": "models" | "chat" | "stream" | "embed", "base": "http://…/v1", "args": {…}}. Each call prints
one JSON line with its outcome; a stream prints a line for each chunk before that. The package's defaults are left as
they are: what it retries by itself is part of what is tested.
"""
import json
import sys
import time

import openai


def say(**what):
    print(json.dumps(what, default=str), flush=True)


def failure(error):
    told = {"class": type(error).__name__, "message": str(error), "code": getattr(error, "code", None)}
    told["status"] = getattr(error, "status_code", None)
    told["request_id"] = getattr(error, "request_id", None)
    told["body"] = getattr(error, "body", None)
    told["param"] = getattr(error, "param", None)
    response = getattr(error, "response", None)
    told["headers"] = dict(response.headers) if response is not None else {}
    return told


def models(client, args):
    return {"ids": [model.id for model in client.models.list()]}


def chat(client, args):
    raw = client.chat.completions.with_raw_response.create(**args)
    answer = raw.parse()
    return {
        "text": answer.choices[0].message.content,
        "finish_reason": answer.choices[0].finish_reason,
        "usage": answer.usage.model_dump() if answer.usage else None,
        "request_id": client.chat.completions.create(**args)._request_id if args.get("twice") else answer._request_id,
        "model": answer.model,
        "id": answer.id,
        "headers": dict(raw.headers),
    }


def stream(client, args):
    text, usages, reasons = "", [], []
    chunks = client.chat.completions.create(stream=True, **args)
    say(event="begun", headers=dict(chunks.response.headers), at=time.time())
    for chunk in chunks:
        if chunk.usage is not None:
            usages.append(chunk.usage.model_dump())
        for choice in chunk.choices:
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
            if choice.delta.content:
                text += choice.delta.content
                say(event="chunk", text=choice.delta.content, at=time.time())
    headers = dict(chunks.response.headers)
    return {
        "text": text, "usages": usages, "finish_reasons": reasons, "headers": headers,
        "request_id": headers.get("x-request-id"),
    }


def embed(client, args):
    answer = client.embeddings.create(**args)
    return {"length": len(answer.data[0].embedding)}


def main():
    with open(sys.argv[1]) as file:
        calls = json.load(file)
    for call in calls:
        client = openai.OpenAI(base_url=call["base"], api_key="any")
        try:
            outcome = globals()[call["do"]](client, call.get("args", {}))
            say(event="done", **outcome)
        except openai.OpenAIError as error:
            say(event="done", error=failure(error))


main()
