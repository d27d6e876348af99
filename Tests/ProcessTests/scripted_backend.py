"""A model server that a test controls, and that records the requests it saw.

    python scripted_backend.py

Prints {"url": …} and serves OpenAI's API on a free port until it is killed. `POST /script` changes how it answers
(`Script` below); `GET /log` lists requests as begun, finished or aborted, with wall-clock times. The node's own trial
question is answered in the same way, and is marked in the log.
"""
import asyncio
import json
import time

TRIAL = "What can you do?"
log = []
script = {
    # answer, error, close, garbage or hang; the last three take effect after `after` tokens.
    "mode": "answer",
    "after": 0,
    "tokens": 20,
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


async def answer(writer, body):
    mode, after = script["mode"], script["after"]
    if mode == "error":
        return reply(writer, {"error": {"message": "out of memory", "type": "server_error"}}, "500 Internal Server Error")
    if mode == "hang" and after == 0:
        await asyncio.sleep(3600)
    writer.write(head("200 OK", "text/event-stream"))
    if mode == "garbage" and after == 0:
        writer.write(b"data: {this is no JSON\n\n")
        return await writer.drain()
    await asyncio.sleep(script["first"])
    said = words_of_last_answer(body)
    count = min(script["tokens"] - said, body.get("max_tokens", 1 << 30))
    for index in range(said, said + count):
        if mode != "answer" and index - said >= after:
            if mode == "close":
                return
            if mode == "garbage":
                writer.write(b"data: {this is no JSON\n\n")
                return await writer.drain()
            await asyncio.sleep(3600)
        writer.write(chunk({"content": f"w{index} "}))
        await writer.drain()
        await asyncio.sleep(script["every"])
    writer.write(chunk({}, "stop"))
    usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
    writer.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
    await writer.drain()


async def generate(reader, writer, body):
    entry = {"trial": TRIAL in json.dumps(body), "body": body, "begun": time.time(), "ended": None, "how": None}
    log.append(entry)
    work = asyncio.create_task(answer(writer, body))
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
            reply(writer, {"object": "list", "data": [{"id": "parrot", "object": "model", "context_length": 2048}]})
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
