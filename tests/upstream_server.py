"""A real HTTP server that answers as vLLM does, fast and always the same, and misbehaves when it is told to."""

from __future__ import annotations

import hashlib
import json
import math
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from icd10cm import CodeSet
from icd10cm.prompts import SEPARATOR

MODEL = "icdtune"
SHA256 = "ab" * 32
CONTEXT = 2000


class UpstreamServer(ThreadingHTTPServer):
    """The server and what it saw.

    Attributes:
        mode: `well`, `slow` (waits `delay` seconds), `hang` (never answers), `broken` (500), `busy` (429), `reset` (cuts the
            connection), `cut` (half an answer), `garbage` (no JSON), `refuse` (400 whose message quotes the prompt).
        seen: texts it was asked to code.
        sent: requests by path.
    """

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, port: int = 0, codes: CodeSet | None = None):
        super().__init__(("127.0.0.1", port), _Handler)
        self.codes = codes or CodeSet.load()
        self.mode, self.delay = "well", 0.0
        self.long_text: str | None = None
        self.seen: list[str] = []
        self.sent: Counter[str] = Counter()
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that left."""

    def answer(self, text: str) -> list[str]:
        """Return the codes of a text: always the same ones, hardly ever those of another text."""
        drawn = random.Random(hashlib.sha256(text.encode()).digest())
        return drawn.sample(self.codes.codes, drawn.randint(1, 3))

    def kill(self) -> None:
        """Go away at once, connections and all, as after kill -9."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            reset(connection)


class _Handler(BaseHTTPRequestHandler):
    server: UpstreamServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.sent[self.path] += 1
        if self.misbehave(b""):
            return
        match self.path:
            case "/health":
                self.reply(200, {})
            case "/v1/models":
                row = {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": CONTEXT}
                self.reply(200, {"object": "list", "data": [row]})
            case "/icdtune":
                facts = {
                    "sha256": SHA256, "prompt_version": "3", "release": self.server.codes.release, "context": CONTEXT,
                    "max_tokens": 256, "engine": "vllm", "constrained": True, "calibration": None,
                    "long_text": self.server.long_text,
                }  # fmt: skip
                self.reply(200, {"models": {MODEL: facts}, "version": "0.1.0"})
            case _:
                self.reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        self.server.sent[self.path] += 1
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.misbehave(raw):
            return None
        try:
            body = json.loads(raw)
            if body.get("model", MODEL) != MODEL:
                return self.refuse(404, f"The model `{body['model']}` does not exist.")
            if self.path == "/v1/completions":
                return self.complete(body, _read_prompts(body["prompt"]), "text_completion")
            if self.path == "/v1/chat/completions":
                return self.chat(body)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            return self.refuse(400, f"{type(error).__name__}: {raw[:80]!r}")
        return self.reply(404, {"detail": "Not Found"})

    def chat(self, body: dict[str, Any]) -> None:
        messages = body["messages"]
        text = messages[0]["content"]
        if len(text.split()) > CONTEXT:
            return self.refuse(400, f"This model's maximum context length is {CONTEXT} tokens.")
        if body.get("continue_final_message"):
            return self.score(text, messages[-1]["content"])
        return self.complete(body, [text], "chat.completion")

    def score(self, text: str, answer: str) -> None:
        """Answer a question about the probability of a given answer."""
        sure = -0.1 if answer in self.server.answer(text) else -2.0
        told: list[Any] = [None, {"5": {"logprob": -1.0, "decoded_token": "."}}]
        told += [{"7": {"logprob": sure, "decoded_token": piece}} for piece in _split(answer)]
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
        self.reply(200, {"object": "chat.completion", "model": MODEL, "choices": [choice], "prompt_logprobs": told})

    def complete(self, body: dict[str, Any], texts: Sequence[str], kind: str) -> None:
        self.server.seen += texts
        answers = [SEPARATOR.join(self.server.answer(text)) for text in texts]
        if body.get("stream"):
            return self.stream(answers, kind)
        choices = [_build_choice(number, answer, kind, bool(body.get("logprobs"))) for number, answer in enumerate(answers)]
        n_prompt = sum(len(text.split()) + 10 for text in texts)
        usage = {"prompt_tokens": n_prompt, "completion_tokens": 5, "total_tokens": n_prompt + 5}
        return self.reply(200, {"id": "x", "object": kind, "created": 0, "model": MODEL, "choices": choices, "usage": usage})

    def stream(self, answers: Sequence[str], kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, answer in enumerate(answers):
            for piece in _split(answer):
                part = {"delta": {"content": piece}} if kind == "chat.completion" else {"text": piece}
                choice = {"index": number, "finish_reason": None, **part}
                event = {"id": "x", "object": f"{kind}.chunk", "created": 0, "model": MODEL, "choices": [choice]}
                self.write_chunk(f"data: {json.dumps(event)}\n\n".encode())
                time.sleep(self.server.delay)
        self.write_chunk(b"data: [DONE]\n\n")
        self.write_chunk(b"")

    def write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def misbehave(self, raw: bytes) -> bool:
        """Do what the mode says; True where that was the answer."""
        match self.server.mode:
            case "slow":
                self.server.closing.wait(self.server.delay)
                return False
            case "hang":
                self.server.closing.wait(600)
            case "broken":
                self.refuse(500, f"on fire: {raw[:200]!r}")
                return True
            case "busy":
                self.refuse(429, "too many requests")
                return True
            case "refuse":
                self.refuse(400, f"1 validation error: 'input': {raw.decode(errors='replace')[:500]}")
                return True
            case "garbage":
                self.send_response(200)
                self.send_header("Content-Length", "9")
                self.end_headers()
                self.wfile.write(b'{"choices')
                return True
            case "cut":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
            case "well":
                return False
        self.close_connection = True
        reset(self.connection)
        return True

    def refuse(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def reply(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def reset(connection: socket.socket) -> None:
    """Cut a connection so that the other side sees a reset."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass


def _read_prompts(prompt: Any) -> list[str]:
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("prompt")
    return texts


def _split(answer: str) -> list[str]:
    """Return an answer in tokens of three characters."""
    return [answer[start : start + 3] for start in range(0, len(answer), 3)]


def _build_choice(number: int, answer: str, kind: str, with_logprobs: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": number, "finish_reason": "stop", "logprobs": None}
    if kind == "text_completion":
        return {**choice, "text": answer}
    if with_logprobs:
        others = [{"token": "X", "logprob": math.log(0.05)}]
        told = [
            {"token": piece, "logprob": -0.1, "top_logprobs": [{"token": piece, "logprob": -0.1}, *others]}
            for piece in [*_split(answer), ""]
        ]
        choice["logprobs"] = {"content": told}
    return {**choice, "message": {"role": "assistant", "content": answer}}


@contextmanager
def start_upstream(port: int = 0) -> Iterator[UpstreamServer]:
    """A running server."""
    server = UpstreamServer(port)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        if not server.closing.is_set():
            server.kill()


if __name__ == "__main__":
    UpstreamServer(int(sys.argv[1])).serve_forever()
