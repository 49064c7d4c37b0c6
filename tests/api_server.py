"""A real HTTP server that speaks OpenAI's API as far as a writer needs it, and misbehaves when it is told to."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from data_gen.variations import VARIATIONS
from data_gen.writers.tasks import hash_request

SHARED = "Type 2 diabetes mellitus with diabetic kidneyyopathyyyyy"
"""Passes for a misspelling of two titles."""

Fault = Callable[[dict[str, Any], int], str]
"""What goes wrong with a request's n-th sending (1 the first), empty when nothing does."""


class ApiServer(ThreadingHTTPServer):
    """The server and what it saw.

    Attributes:
        fault: what goes wrong.
        delay: seconds before each answer.
        headers: headers of each answer.
        log: (seconds, key of the request's first attempt, what was done with it), in order.
        paid: request to how often it was charged, online or in batches, whoever was there to hear the answer; by the key in
            its metadata, by its hash without one.
        stored: completions kept because the request said `store`.
        keeps: whether it keeps any; without, it has no route to list them, as most servers but OpenAI's.
        list_delay: seconds until what is stored is listed.
        list_fault: HTTP status to every list, 0 for none.
        listed: how often it was asked to list.
        bodies: every chat request.
        sent: key to the number of times that it was sent.
        prompt_tokens: what it counts for each prompt.
        key: the API key it wants, any when empty.
        at_once: the most requests under way at a time.
        batches: id to batch; they run when `finish_batches` is called.
        lose_batch_reply: create a batch and hang up.
        hold_batch_reply: create a batch and do not answer as long as this is set.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: Fault = lambda _body, _number: ""
        self.delay = 0.0
        self.headers: dict[str, str] = {}
        self.key = ""
        self.prompt_tokens = 200
        self.log: list[tuple[float, str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.sent: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.stored: list[dict[str, Any]] = []
        self.keeps, self.list_delay, self.list_fault, self.listed = True, 0.0, 0, 0
        self.at_once = self.under_way = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lose_batch_reply = self.hold_batch_reply = False
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, body: dict[str, Any], what: str) -> None:
        with self.lock:
            self.log.append((time.monotonic(), name_request(body), what))

    def finish(self, body: dict[str, Any], fault: str = "") -> dict[str, Any]:
        """Return a completion: charged for, and kept where that was asked for."""
        answer = complete(body, fault)
        answer["usage"]["prompt_tokens"] = self.prompt_tokens
        with self.lock:
            asked = body.get("metadata") or {}
            self.paid[asked.get("icdtune_key") or name_request(body)] += 1
            if body.get("store") and self.keeps:
                answer["id"] = f"chatcmpl-{len(self.stored)}"
                self.stored.append(answer | {"metadata": asked, "kept_at": time.monotonic()})
        return answer

    def list_stored(self, asked: dict[str, str]) -> dict[str, Any]:
        """Return the first page of what is stored, with all the metadata asked for."""
        limit = int(asked.get("limit", 20))
        wanted = {name[9:-1]: value for name, value in asked.items() if name.startswith("metadata[")}
        with self.lock:
            ready = [row for row in self.stored if time.monotonic() - row["kept_at"] >= self.list_delay]
        rows = [
            {name: value for name, value in row.items() if name != "kept_at"}
            for row in ready
            if wanted.items() <= row["metadata"].items()
        ]
        return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit}

    def finish_batches(self, status: str = "completed", share: float = 1.0) -> None:
        """Answer the first `share` of each batch's requests and end it."""
        for batch in self.batches.values():
            if batch["status"] != "in_progress":
                continue
            lines = self.files[batch["input_file_id"]].decode().splitlines()
            rows = []
            for line in lines[: round(len(lines) * share)]:
                row = json.loads(line)
                self.paid[row["custom_id"]] += 1
                fault = self.fault(row["body"], 1)
                answer = {"status_code": 200, "body": complete(row["body"], fault)}
                if fault == "refused":
                    answer = {"status_code": 400, "body": {"error": {"message": "content policy"}}}
                rows.append(json.dumps({"custom_id": row["custom_id"], "response": answer, "error": None}))
            self.files[batch["id"] + "-output"] = "\n".join(rows).encode()
            batch.update(status=status, output_file_id=batch["id"] + "-output")
            batch["request_counts"] = {"total": len(lines), "completed": len(rows), "failed": 0}


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.server.headers, **(headers or {})}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix("/v1/").partition("?")
        if path == "chat/completions" and self.server.keeps:
            self.server.listed += 1
            if self.server.list_fault:
                self.answer(self.server.list_fault, {"error": {"message": "no list today"}})
            else:
                self.answer(200, self.server.list_stored(dict(urllib.parse.parse_qsl(query))))
        elif path == "batches":
            self.answer(200, {"object": "list", "data": list(self.server.batches.values()), "has_more": False})
        elif path.startswith("batches/"):
            self.answer(200, self.server.batches[path.removeprefix("batches/")])
        elif path.endswith("/content"):
            self.answer(200, self.server.files[path.split("/")[1]])
        else:
            self.answer(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.read_body()
            self.answer(401, {"error": {"message": "wrong key"}})
        elif self.path == "/v1/files":
            self.take_file()
        elif self.path == "/v1/batches":
            self.take_batch()
        else:
            self.complete_chat()

    def take_file(self) -> None:
        name = f"file-{len(self.server.files)}"
        # the one part of the form that is JSON lines
        self.server.files[name] = b"\n".join(re.findall(rb'^\{"custom_id".*\}$', self.read_body(), re.MULTILINE))
        row = {
            "id": name,
            "object": "file",
            "bytes": 1,
            "created_at": 0,
            "filename": "b",
            "purpose": "batch",
            "status": "processed",
        }
        self.answer(200, row)

    def take_batch(self) -> None:
        asked = json.loads(self.read_body())
        name = f"batch-{len(self.server.batches)}"
        self.server.batches[name] = {"id": name, "object": "batch", "created_at": 0, "status": "in_progress", **asked}
        while self.server.hold_batch_reply:
            time.sleep(0.01)
        if self.server.lose_batch_reply:
            self.close_connection = True
            return
        self.answer(200, self.server.batches[name])

    def complete_chat(self) -> None:
        server, body = self.server, json.loads(self.read_body())
        key = name_request(body)
        with server.lock:
            server.bodies.append(body)
            server.sent[key] += 1
            number = server.sent[key]
            server.under_way += 1
            server.at_once = max(server.at_once, server.under_way)
        server.note(body, "asked")
        time.sleep(server.delay)
        fault = server.fault(body, number)
        try:
            self.misbehave(fault, body)
        except OSError:
            fault = "gone"
        finally:
            with server.lock:
                server.under_way -= 1
        server.note(body, fault or "paid")

    def misbehave(self, fault: str, body: dict[str, Any]) -> None:
        match fault:
            case "busy":
                self.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.4"})
            case "no credit":
                self.answer(429, {"error": {"message": "no credit", "code": "insufficient_quota"}})
            case "broken":
                self.answer(500, {"error": {"message": "on\nfire"}})
            case "refused":
                self.answer(400, {"error": {"message": "content policy"}})
            case "moved":
                self.answer(307, {}, {"Location": "http://192.0.2.1/v1/chat/completions"})
            case "slow":
                time.sleep(3.2)
                self.answer(200, self.server.finish(body))
            case "gateway":
                self.server.finish(body)
                self.answer(504, {"error": {"message": "upstream timed out"}})
            case "dropped":
                self.hang_up()
            case "cut":
                whole = json.dumps(self.server.finish(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole[: len(whole) // 2])
                self.wfile.flush()
                self.hang_up()
            case _:
                answer = self.server.finish(body, fault)
                self.answer(200, b'{"choices": [{"mess' if fault == "malformed body" else answer)

    def hang_up(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def name_request(body: dict[str, Any]) -> str:
    """Return the hash of what is asked for, whoever keeps the answer."""
    return hash_request({name: value for name, value in body.items() if name not in ("store", "metadata")}, 1)


def complete(body: dict[str, Any], fault: str = "") -> dict[str, Any]:
    """Return the chat completion of a request: texts as the project's rules write them, unless something is to be wrong."""
    system, user = (message["content"] for message in body["messages"])
    title = re.search(r"^Title: (.*)$", user, re.MULTILINE)[1]
    task = re.search(r"^Your task: (\w+)", system, re.MULTILINE)[1]
    names = {"reorder": "reordered", "abbreviate": "abbreviated", "misspell": "typo", "paraphrase": "paraphrased"}
    variation = {**names, "mix": "mixed"}[task]
    rng = random.Random(f"{variation}:{title}")
    texts = list(filter(None, (VARIATIONS[variation](title, rng) for _ in range(12))))
    if fault == "shared":
        texts.insert(0, SHARED)
    content, finish_reason = json.dumps({"texts": texts}), "stop"
    match fault:
        case "fenced":
            content = f"<think>brackets {{like these}}</think>Sure!\n```json\n{content}\n```"
        case "malformed":
            content = content[:-3]
        case "schema":
            content = json.dumps({"lines": texts})
        case "truncated":
            content, finish_reason = content[:20], "length"
        case "code":
            content = json.dumps({"texts": [f"{title} (E11.9)"]})
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}


@contextmanager
def start_api() -> Iterator[ApiServer]:
    """A running server on a free port."""
    # reads the words of all titles now, not in several requests at once
    VARIATIONS["typo"]("Type 2 diabetes mellitus without complications", random.Random(0))
    server = ApiServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
