"""A real HTTP server that answers chat requests as vLLM does, and misbehaves as real ones do; in a thread or a process.

python tests/chat_server.py PORT    # a process that can be killed
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DRAWN = ("I10", "E11.9", "I10, E11.9", "J45.909")


class ChatServer(ThreadingHTTPServer):
    """Answers the text `a b` with `A B`, some texts with trouble, and remembers what it was asked.

    Attributes:
        models: what `/v1/models` lists, with the owner of each.
        release: what it says in the header, nothing when empty.
        key: the API key it wants, any when empty.
        most_answers: the most answers it gives to one request; it refuses a request for more, or gives that many.
        refuses: whether it refuses.
        status: HTTP status of every reply, models included, 0 for the usual.
        delay: seconds before each answer.
        asked: the bodies of the chat requests.
        at_once: the most chat requests that were under way at a time.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.models: dict[str, str] = {"coder": "vllm"}
        self.release = self.key = ""
        self.most_answers, self.refuses = 1000, True
        self.status, self.delay = 0, 0.02
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, status: int, content: Any, **headers: str) -> None:
        body = json.dumps(content).encode()
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        told |= {"X-ICDTune-Release": self.server.release} if self.server.release else {}
        with suppress(OSError):
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

    def is_welcome(self) -> bool:
        if self.server.status:
            self.answer(self.server.status, {"error": {"message": "out of order"}})
        elif self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.answer(401, {"error": {"message": "wrong key"}})
        else:
            return True
        return False

    def do_GET(self) -> None:
        if self.is_welcome():
            rows = [{"id": i, "object": "model", "created": 0, "owned_by": o} for i, o in self.server.models.items()]
            self.answer(200, {"object": "list", "data": rows})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_welcome():
            return
        with self.server.lock:
            self.server.asked.append(request)
            self.server.under_way += 1
            self.server.at_once = max(self.server.at_once, self.server.under_way)
        text = request["messages"][-1]["content"]
        n_times = self.server.texts.count(text)
        time.sleep(self.server.delay)
        with self.server.lock:
            self.server.under_way -= 1
        n = request.get("n", 1)
        if n > self.server.most_answers and self.server.refuses:
            self.answer(400, {"error": {"message": "n must be 1"}})
        elif "n" in request:
            self.answer(200, draw(text, request["seed"], min(n, self.server.most_answers)))
        else:
            self.answer_text(text, n_times)

    def answer_text(self, text: str, n_times: int) -> None:
        match text:
            case "busy" if n_times <= 2:
                self.answer(429, {"error": {"message": "slow down"}}, Retry_After="0.1")
            case "broken":
                self.answer(500, {"error": {"message": "on\nfire"}})
            case "slow":
                time.sleep(3)
                self.answer(200, {})
            case "too long":
                self.answer(400, {"error": {"message": "too many tokens"}})
            case "empty":
                self.answer(200, {"id": "x", "object": "chat.completion", "created": 0, "model": "coder", "choices": []})
            case "cut" | "dangling":
                self.answer(200, reply("I10, E11.6" if text == "cut" else "I10, ", "length" if text == "cut" else "stop"))
            case "silent":
                self.answer(200, reply("I10", logprobs=()))
            case "two codes":
                pieces = ("E11", ".621", ", ", "I1", "0", "<|end|>")
                self.answer(200, reply("E11.621, I10", pieces=pieces, logprobs=(-0.1, -0.2, -0.6, -1.0, -0.2, -0.3)))
            case _:
                self.answer(200, reply(text.upper()))


def draw(text: str, seed: int, n: int) -> dict[str, Any]:
    """Return a reply with `n` answers, the same for the same text and seed."""
    seeded = random.Random(f"{text} {seed}")
    whole = reply("I10")
    whole["choices"] = [reply(seeded.choice(DRAWN))["choices"][0] | {"index": index} for index in range(n)]
    return whole


def reply(
    text: str,
    finish_reason: str = "stop",
    pieces: Sequence[str] | None = None,
    logprobs: Sequence[float] = (-0.5, -0.1),
) -> dict[str, Any]:
    """Return a chat completion; the text is of two tokens unless its `pieces` are given."""
    told = pieces or (text[: len(text) // 2], text[len(text) // 2 :])
    rows = [{"token": t, "logprob": value, "top_logprobs": []} for t, value in zip(told, logprobs, strict=False)]
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": {"content": rows} if rows else None}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "coder", "choices": [choice]}


@contextmanager
def start_chat() -> Iterator[ChatServer]:
    """A running server in a thread."""
    server = ChatServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def start_chat_process(port: int, n_lives: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A running server in a process of its own, which dies as by `kill -9` in the middle of its `n_lives`-th answer."""
    process = subprocess.Popen([sys.executable, __file__, str(port), *([str(n_lives)] if n_lives else [])])
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models"):
                break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


class MortalHandler(Handler):
    """Ends the whole process in the middle of an answer."""

    n_lives = 0

    def answer_text(self, text: str, n_times: int) -> None:
        if len(self.server.asked) >= self.n_lives:
            os._exit(9)
        super().answer_text(text, n_times)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        MortalHandler.n_lives = int(sys.argv[2])
        chat = ChatServer(int(sys.argv[1]))
        chat.RequestHandlerClass = MortalHandler
    else:
        chat = ChatServer(int(sys.argv[1]))
    chat.serve_forever()
