"""A node whose every word is hostile to a terminal: it passes requests on to a real one, and adds escape sequences,
line breaks and direction marks to each string of the answer.

    python lying_node.py http://127.0.0.1:7828

Prints {"url": …} and serves until it is killed. The strings that a command reads as a choice of ours stay.
"""
import http.server
import json
import sys
import urllib.error
import urllib.request

EVIL = "\x1b[31m\nfake\r\x9bK\u202e"
KEPT = {"state", "code", "finish_reason", "role", "object", "task"}
real = sys.argv[1]


def soiled(value, key=None):
    if isinstance(value, str):
        return value if key in KEPT else value + EVIL
    if isinstance(value, list):
        return [soiled(item, key) for item in value]
    if isinstance(value, dict):
        return {name: soiled(item, name) for name, item in value.items()}
    return value


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body=None):
        asked = urllib.request.Request(real + self.path, data=body, headers={"Content-Type": "application/json"})
        try:
            response = urllib.request.urlopen(asked)
        except urllib.error.HTTPError as error:
            response = error
        lines = response.read().decode().splitlines()
        if "event-stream" in response.headers["content-type"]:
            lines = [
                "data: " + json.dumps(soiled(json.loads(line[6:]))) if line.startswith("data: {") else line
                for line in lines
            ]
            text = "\n".join(lines) + "\n"
        else:
            text = json.dumps(soiled(json.loads("\n".join(lines))), ensure_ascii=False)
        self.send_response(response.status)
        self.send_header("content-length", str(len(text.encode())))
        self.send_header("x-request-id", response.headers["x-request-id"])
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["content-length"] or 0)))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"url": "http://127.0.0.1:%d" % server.server_port}), flush=True)
server.serve_forever()
