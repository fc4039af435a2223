"""An OpenAI-compatible chat endpoint that behaves as badly as it is told to: `python hostile_endpoint.py LOG [SEED]`.

It prints its port, then serves until its standard input ends. A word of the question says how it behaves ("limit429
once"); with a SEED the behaviour is drawn at random for each call instead. Every call is a line of LOG: what was asked
(a hash), how it was answered, and the number that the answer's text carries; it is written before its answer is sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REFUSAL = "I'm sorry, but I can't help with that."
TROUBLES = ("status500", "limit429", "cutjson", "short", "html", "close", "nochoice", "errorbody", "hang", "drip")
TOGETHER = 4
"""Calls that a `together` waits for; alone it is an error."""
WAIT = 6.0
"""Seconds of a hang; a client gives up before."""


class State:
    def __init__(self, log: Path, seed: int | None) -> None:
        self.log = log.open("a", encoding="utf-8", buffering=1)
        self.seen: Counter[str] = Counter()
        self.lock, self.number = threading.Lock(), 0
        self.draws = None if seed is None else random.Random(seed)
        self.ended = threading.Event()
        self.quota_told = threading.Event()
        self.together = threading.Barrier(TOGETHER)

    def note(self, asked: str, manner: str) -> int:
        with self.lock:
            self.number += 1
            self.log.write(json.dumps({"asked": asked, "manner": manner, "number": self.number}) + "\n")
            return self.number

    def manner(self, asked: str, text: str) -> str:
        """The word in the text; `NAME once` and `NAME twice` are over after so many calls."""
        with self.lock:
            self.seen[asked] += 1
            times = self.seen[asked]
            if self.draws is not None:
                return self.draws.choice(TROUBLES[:8]) if self.draws.random() < 0.2 else "good"
        found = re.search(r"manner: (\w+)(?: (once|twice))?", text)
        if found is None or (found[2] and times > {"once": 1, "twice": 2}[found[2]]):
            return "good"
        return found[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *parts: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(content)
        asked = hashlib.sha256(json.dumps(body["messages"], sort_keys=True).encode()).hexdigest()[:16]
        manner = self.state.manner(asked, json.dumps(body["messages"]).replace("\\n", " "))
        number = self.state.note(asked, manner)
        if self.state.draws is not None:
            time.sleep(0.02)
        getattr(self, f"do_{manner}", self.do_good)(number)

    def chat(self, text: Any, number: int, finish: str = "stop", **message: Any) -> bytes:
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        message = {"role": "assistant", "content": text, **message}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return json.dumps(
            {"id": str(number), "object": "chat.completion", "choices": [choice], "usage": usage}
        ).encode()

    def send(self, content: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def error(self, status: int, message: str = "no", **headers: str) -> None:
        self.send(json.dumps({"error": {"message": message}}).encode(), status, **headers)

    def do_good(self, number: int) -> None:
        self.send(self.chat(f"Description number {number}.", number))

    def do_status500(self, number: int) -> None:
        self.error(500)

    def do_limit429(self, number: int) -> None:
        self.error(429, Retry_After="0" if number % 2 else formatdate(time.time() - 5, usegmt=True))

    def do_quota(self, number: int) -> None:
        self.send(b'{"error": {"message": "pay first", "code": "insufficient_quota"}}', 429)
        self.state.quota_told.set()

    def do_later(self, number: int) -> None:
        """A good answer, well after another call was told of its quota."""
        self.state.quota_told.wait(WAIT)
        time.sleep(0.3)
        self.do_good(number)

    def do_together(self, number: int) -> None:
        try:
            self.state.together.wait(WAIT / 2)
        except threading.BrokenBarrierError:
            self.error(400, "alone")
        else:
            self.do_good(number)

    def do_reject400(self, number: int) -> None:
        self.error(400, f"bad picture; you sent {self.headers.get('Authorization')}")

    def do_status401(self, number: int) -> None:
        self.error(401, f"wrong key: {self.headers.get('Authorization')}")

    def do_status404(self, number: int) -> None:
        self.error(404, f"no such model {self.headers.get('Authorization')}")

    def do_status402(self, number: int) -> None:
        self.error(402, f"pay {self.headers.get('Authorization')}")

    def do_redirect(self, number: int) -> None:
        self.send(b"{}", 302, Location="http://127.0.0.1:9/v1")

    def do_echo(self, number: int) -> None:
        told = json.loads(self.chat(f"Your header was {self.headers.get('Authorization')}, number {number}.", number))
        told["choices"][0]["finish_reason"] = self.headers.get("Authorization")
        self.send(json.dumps(told).encode())

    def do_echo500(self, number: int) -> None:
        self.error(500, f"broken at {self.headers.get('Authorization')}")

    def do_html(self, number: int) -> None:
        self.send(b"<html>gateway</html>", kind="text/html")

    def do_cutjson(self, number: int) -> None:
        self.send(self.chat("A description.", number)[:40])

    def do_nochoice(self, number: int) -> None:
        self.send(b'{"choices": []}')

    def do_errorbody(self, number: int) -> None:
        self.send(b'{"error": {"message": "overloaded", "code": 502}}')

    def do_short(self, number: int) -> None:
        """Closed before all that was announced is sent."""
        content = self.chat("A description.", number)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def do_close(self, number: int) -> None:
        self.close_connection = True
        self.connection.close()

    def do_hang(self, number: int) -> None:
        self.state.ended.wait(WAIT)
        self.close_connection = True

    def do_drip(self, number: int) -> None:
        """A byte now and then, so that no silence is long."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        began = time.monotonic()
        try:
            while time.monotonic() - began < WAIT and not self.state.ended.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            pass
        self.close_connection = True

    def do_refuse(self, number: int) -> None:
        self.send(self.chat(REFUSAL, number))

    def do_refusal(self, number: int) -> None:
        self.send(self.chat(None, number, refusal="against the rules"))

    def do_filter(self, number: int) -> None:
        self.send(self.chat("A", number, "content_filter"))

    def do_empty(self, number: int) -> None:
        self.send(self.chat("  \n ", number))

    def do_null(self, number: int) -> None:
        self.send(self.chat(None, number))

    def do_long(self, number: int) -> None:
        self.send(self.chat(f"Description number {number}, which goes on and", number, "length"))

    def do_verbose(self, number: int) -> None:
        self.send(self.chat("word " * 20_000, number))

    def do_huge(self, number: int) -> None:
        self.send(self.chat("word " * (1 << 20), number))

    def do_odd(self, number: int) -> None:
        """Control characters, half a surrogate pair, parts instead of a text, counts that cannot be."""
        parts = [{"type": "text", "text": "A \ud800\x1b[31mred\x00 thing"}, {"type": "text", "text": f"{number}"}]
        body = json.loads(self.chat(parts, number)) | {"usage": {"prompt_tokens": -1, "completion_tokens": True}}
        self.send(json.dumps(body).encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed on purpose."""


def main() -> None:
    Handler.state = State(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    Handler.state.ended.set()
    os._exit(0)


if __name__ == "__main__":
    main()
