"""A model server that a test controls, and that records the requests it saw.

    python scripted_backend.py [MODEL]

Prints {"url": …} and serves OpenAI's API for one model (`parrot`) on a free port until it is killed. `POST /script`
changes how it answers (`script` below); `GET /log` lists requests as begun, finished or aborted, with wall-clock times.
The node's own trial question is answered in the same way, unless `spares_trials`, and is marked in the log.
"""
import asyncio
import json
import socket
import struct
import sys
import time

MODEL = sys.argv[1] if len(sys.argv) > 1 else "parrot"

TRIAL = "What can you do?"
log = []
script = {
    # answer; or a fault:
    #   before any token   status (`status`, `error`, `retry_after`), error (500), reset, hang (before the headers), quiet (after
    #                      them), empty, html, json_error
    #   after `after` ones hang, close (without a reason to end), done (the same, then [DONE]), cut (a reset), garbage,
    #                      inline_error, no_done (a whole answer without [DONE])
    #   after all          nothing (an answer without a token)
    "mode": "answer",
    "after": 0,
    # How many requests meet the fault; the later ones are answered. -1: all.
    "times": -1,
    # Only every other request meets it, the first one first.
    "flaps": False,
    "met": False,  # by the last request, where it flaps
    "spares_trials": False,
    "status": 500,
    "error": {"message": "out of memory", "type": "server_error"},
    "retry_after": None,
    "context": 2048,
    "tokens": 20,
    # Each answer has words of its own, as where the temperature is above 0.
    "varies": False,
    # Seconds before the first token, and between tokens.
    "first": 0.0,
    "every": 0.01,
}


def head(status, kind, extra=""):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Connection: close\r\n\r\n".encode()


def reply(writer, document, status="200 OK"):
    body = json.dumps(document).encode()
    writer.write(head(status, "application/json", f"Content-Length: {len(body)}\r\n") + body)


async def request(reader):
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    length = 0
    while (header := (await reader.readline()).decode().strip()):
        name, value = header.split(":", 1)
        if name.lower() == "content-length":
            length = int(value)
    body = await reader.readexactly(length)
    return method, path, json.loads(body) if body else {}


def chunk(delta, reason=None):
    data = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return f"data: {json.dumps(data)}\n\n".encode()


def words_of_last_answer(body):
    """If the last message is the assistant's, the answer continues it, as with vLLM."""
    last = (body.get("messages") or [{}])[-1]
    return last["content"].count(" ") if last.get("role") == "assistant" else 0


def reset(writer):
    """Ends the connection by a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def fault(is_trial):
    """The fault that this request meets."""
    if is_trial and script["spares_trials"] or script["times"] == 0:
        return "answer"
    if script["flaps"] and not is_trial:
        script["met"] = not script["met"]
        return script["mode"] if script["met"] else "answer"
    if script["times"] > 0 and script["mode"] != "answer" and not is_trial:
        script["times"] -= 1
    return script["mode"]


def refuse(writer, status, error):
    wait = script["retry_after"]
    extra = "" if wait is None else f"Retry-After: {wait}\r\n"
    body = json.dumps({"error": error}).encode()
    writer.write(head(f"{status} Scripted", "application/json", f"{extra}Content-Length: {len(body)}\r\n") + body)


async def answer(writer, body, mode):
    after = script["after"]
    if mode == "error":
        return reply(writer, {"error": {"message": "out of memory", "type": "server_error"}}, "500 Internal Server Error")
    if mode == "status":
        return refuse(writer, script["status"], script["error"])
    if mode == "reset":
        return reset(writer)
    if mode == "hang" and after == 0:
        await asyncio.sleep(3600)
    if mode == "json_error":
        return reply(writer, {"error": {"message": "CUDA out of memory", "type": "server_error"}})
    if mode == "html":
        return writer.write(head("200 OK", "text/html") + b"<html><body>Bad gateway</body></html>")
    writer.write(head("200 OK", "text/event-stream"))
    await writer.drain()
    if mode == "empty":
        return
    if mode == "quiet":
        await asyncio.sleep(3600)
    if mode == "garbage" and after == 0:
        writer.write(b"data: {this is no JSON\n\n")
        return await writer.drain()
    await asyncio.sleep(script["first"])
    if mode == "nothing":
        writer.write(chunk({}, "stop") + b"data: [DONE]\n\n")
        return await writer.drain()
    said = words_of_last_answer(body)
    word = f"w{len(log)}-" if script["varies"] else "w"
    count = min(script["tokens"] - said, body.get("max_tokens", 1 << 30))
    for index in range(said, said + count):
        if mode not in ("answer", "no_done") and index - said >= after:
            if mode == "close":
                return
            if mode == "done":
                writer.write(b"data: [DONE]\n\n")
                return await writer.drain()
            if mode == "cut":
                return reset(writer)
            if mode == "inline_error":
                writer.write(b'data: {"error":{"message":"the engine died","type":"server_error"}}\n\n')
                return await writer.drain()
            if mode == "garbage":
                writer.write(b"data: {this is no JSON\n\n")
                return await writer.drain()
            await asyncio.sleep(3600)
        writer.write(chunk({"content": f"{word}{index} "}))
        await writer.drain()
        await asyncio.sleep(script["every"])
    writer.write(chunk({}, "stop"))
    usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
    end = "" if mode == "no_done" else "data: [DONE]\n\n"
    writer.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n{end}".encode())
    await writer.drain()


async def generate(reader, writer, body):
    is_trial = TRIAL in json.dumps(body)
    entry = {"trial": is_trial, "body": body, "begun": time.time(), "ended": None, "how": None}
    log.append(entry)
    work = asyncio.create_task(answer(writer, body, fault(is_trial)))
    gone = asyncio.create_task(reader.read(1))
    await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
    entry["ended"] = time.time()
    entry["how"] = "finished" if work.done() and not work.cancelled() and work.exception() is None else "aborted"
    work.cancel()
    gone.cancel()


async def serve(reader, writer):
    try:
        asked = await request(reader)
        if asked is None:
            return
        method, path, body = asked
        if path == "/script":
            script.update(body)
            reply(writer, script)
        elif path == "/log":
            reply(writer, {"requests": log, "now": time.time()})
        elif path == "/health":
            reply(writer, {"status": "ok"})
        elif path == "/v1/models":
            context = script["context"]
            model = {"id": MODEL, "object": "model", "context_length": context, "max_model_len": context}
            reply(writer, {"object": "list", "data": [model]})
        elif path in ("/v1/chat/completions", "/v1/completions"):
            await generate(reader, writer, body)
        else:
            reply(writer, {"error": {"message": "not here"}}, "404 Not Found")
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await server.serve_forever()


asyncio.run(main())
