"""A provider of fine-tuning as a process of its own: files, jobs, events, checkpoints, cancel; faults on demand.

Started by `start_provider`; `/control` tells it what goes wrong and says what it has seen. A job takes one step forward
each time that somebody looks at it, so that no test waits for a clock.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PHASES = ["validating_files", "queued", "running", "running"]
TOTAL_STEPS, TOKENS_PER_ROW = 20, 50
METRICS = "step,train_loss,train_accuracy\n10,0.5,0.8\n20,0.25,0.9\n"


class FineTuningServer(ThreadingHTTPServer):
    """What the provider has, and what it is told to do wrong.

    Attributes:
        faults: [method and path, what goes wrong], each once: busy, broken, html (no API), lost (done, and hangs up), late
            (lost, and the next list does not have it yet), hangs before or after doing it.
        hold: jobs stay at running.
        end: how they end.
        key: the only one it takes, any when empty.
        seen: method and path to how often it was asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.faults: list[list[str]] = []
        self.hold, self.end, self.key = False, "succeeded", ""
        self.seen: Counter[str] = Counter()
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.phases: dict[str, int] = {}
        self.late = False
        self.requests: list[dict[str, Any]] = []

    def take_file(self, body: bytes, kind: str) -> dict[str, Any]:
        boundary = re.search(r"boundary=(\S+)", kind)[1].encode()
        parts = {}
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            parts[re.search(rb'name="(\w+)"', head)[1]] = head, content.removesuffix(b"\r\n")
        head, content = parts[b"file"]
        file_id = f"file-{len(self.files)}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": re.search(rb'filename="([^"]+)"', head)[1].decode(),
            "purpose": parts[b"purpose"][1].decode(),
            "status": "processed",
        }
        return self.files[file_id]

    def take_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(asked)
        job_id = f"ftjob-{len(self.jobs)}"
        chosen = asked["method"]["supervised"]["hyperparameters"]
        self.jobs[job_id] = {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "error": None,
            "fine_tuned_model": None,
            "hyperparameters": chosen,
            "model": asked["model"],
            "organization_id": "org",
            "result_files": [],
            "seed": asked["seed"],
            "status": PHASES[0],
            "trained_tokens": None,
            "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"),
            "method": asked["method"],
            "metadata": asked.get("metadata"),
        }
        self.events[job_id], self.phases[job_id] = [], 0
        self.say(job_id, f"Created fine-tuning job: {job_id}")
        return self.jobs[job_id]

    def say(self, job_id: str, message: str, **data: Any) -> None:
        row = {"id": f"ftevent-{job_id}-{len(self.events[job_id])}", "object": "fine_tuning.job.event", "created_at": 0}
        row |= {"level": "info", "message": message, "type": "metrics" if data else "message", "data": data}
        self.events[job_id].insert(0, row)

    def move_on(self, job_id: str) -> None:
        job, phase = self.jobs[job_id], self.phases[job_id]
        if job["status"] in ("succeeded", "failed", "cancelled") or (self.hold and job["status"] == "running"):
            return
        self.phases[job_id] = phase + 1
        job["status"] = [*PHASES, self.end][phase + 1]
        fault = self.find_fault_of_file(job["training_file"])
        if job["status"] == "queued" and fault:
            job |= {"status": "failed", "error": {"code": "invalid_training_file", "message": fault, "param": "training_file"}}
        elif job["status"] == "running":
            step = 10 * phase
            self.say(job_id, f"Step {step}/{TOTAL_STEPS}", step=step, total_steps=TOTAL_STEPS, train_loss=0.5)
        elif job["status"] == "succeeded":
            rows = len(self.contents[job["training_file"]].splitlines())
            result = f"file-result-{job_id}"
            self.contents[result] = base64.b64encode(METRICS.encode())
            job |= {
                "fine_tuned_model": f"ft:{job['model']}:org::{job_id}",
                "trained_tokens": rows * TOKENS_PER_ROW * job["hyperparameters"]["n_epochs"],
                "result_files": [result],
            }
            self.say(job_id, "The job has successfully completed")

    def find_fault_of_file(self, file_id: str) -> str:
        """Return what a provider refuses a file for: the chat format, and a word that stands for moderation."""
        rows = [json.loads(line) for line in self.contents[file_id].splitlines()]
        roles = {tuple(message["role"] for message in row["messages"]) for row in rows}
        if len(rows) < 10:
            return f"file has {len(rows)} example(s), but must have at least 10"
        if not roles <= {("system", "user", "assistant"), ("user", "assistant")}:
            return f"roles {roles}"
        return "the training\nfile was blocked by the usage policies" if b"forbidden" in self.contents[file_id] else ""


class _Handler(BaseHTTPRequestHandler):
    server: FineTuningServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "text/html" if body.startswith(b"<") else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        self.answer({"error": {"message": message, "code": None}}, status, **headers)

    def do_GET(self) -> None:
        self.handle_one("GET", b"")

    def do_POST(self) -> None:
        self.handle_one("POST", self.rfile.read(int(self.headers["Content-Length"] or 0)))

    def handle_one(self, method: str, body: bytes) -> None:
        path, _, query = self.path.removeprefix("/v1/").partition("?")
        server, name = self.server, f"{method} {path}"
        if path == "/control":
            self.control(json.loads(body))
            return
        with server.lock:
            server.seen[name] += 1
            fault = next((fault for fault in server.faults if re.fullmatch(fault[0], name)), ["", ""])
            if fault[1]:
                server.faults.remove(fault)
        if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
            self.refuse(401, "Incorrect API key provided")
            return
        match fault[1]:
            case "busy":
                self.refuse(429, "slow down", Retry_After="0.2")
                return
            case "broken":
                self.refuse(500, "on\nfire")
                return
            case "html":
                self.answer(b"<html>welcome</html>")
                return
            case "hangs before":
                time.sleep(60)
        with server.lock:
            status, content = self.route(method, path, dict(urllib.parse.parse_qsl(query)), body)
        if fault[1] == "hangs after":
            time.sleep(60)
        if fault[1] in ("lost", "late"):
            server.late = fault[1] == "late"
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif status == 200:
            self.answer(content)
        else:
            self.refuse(status, content)

    def route(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        server = self.server
        match [method, *path.split("/")]:
            case ["POST", "files"]:
                return 200, server.take_file(body, self.headers["Content-Type"])
            case ["GET", "files"]:
                return 200, self.list_page(
                    [file for file in server.files.values() if file["purpose"] == query["purpose"]], query
                )
            case ["GET", "files", name, "content"] if name in server.contents:
                return 200, server.contents[name]
            case ["POST", "fine_tuning", "jobs"]:
                asked = json.loads(body)
                if asked["training_file"] not in server.files:
                    return 400, "no such file"
                return 200, server.take_job(asked)
            case ["GET", "fine_tuning", "jobs"]:
                wanted = {key[9:-1]: value for key, value in query.items() if key.startswith("metadata[")}
                fitting = [job for job in server.jobs.values() if wanted.items() <= (job["metadata"] or {}).items()]
                hidden, server.late = server.late, False
                return 200, self.list_page([] if hidden else fitting[::-1], query)
            case ["GET", "fine_tuning", "jobs", name] if name in server.jobs:
                server.move_on(name)
                return 200, server.jobs[name]
            case ["GET", "fine_tuning", "jobs", name, "events"] if name in server.jobs:
                return 200, self.list_page(server.events[name], query | {"limit": "2"})
            case ["GET", "fine_tuning", "jobs", name, "checkpoints"] if name in server.jobs:
                row = {"id": "ftckpt-1", "object": "fine_tuning.job.checkpoint", "created_at": 0, "fine_tuning_job_id": name}
                row |= {"fine_tuned_model_checkpoint": f"ft:step-10:{name}", "step_number": 10, "metrics": {"train_loss": 0.5}}
                return 200, self.list_page([row], query)
            case ["POST", "fine_tuning", "jobs", name, "cancel"] if name in server.jobs:
                server.jobs[name]["status"] = "cancelled"
                return 200, server.jobs[name]
            case _:
                return 404, f"no such path {path}"

    def list_page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        ids = [row["id"] for row in rows]
        start = ids.index(query["after"]) + 1 if "after" in query else 0
        end = start + int(query.get("limit", 20))
        return {"object": "list", "data": rows[start:end], "has_more": end < len(rows)}

    def control(self, told: dict[str, Any]) -> None:
        server = self.server
        with server.lock:
            if told.pop("reset", False):
                server.reset()
            for name, value in told.items():
                setattr(server, name, value)
            self.answer(
                {name: getattr(server, name) for name in ("seen", "files", "jobs", "requests")}
                | {"contents": {name: content.decode() for name, content in server.contents.items()}}
            )


class Provider:
    """The server's process, from outside."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}/v1"
        self._control = f"http://127.0.0.1:{port}/control"

    def tell(self, **told: Any) -> dict[str, Any]:
        """Set attributes of the server, and return what it has seen."""
        request = urllib.request.Request(self._control, json.dumps(told).encode(), {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            return json.load(reply)

    def wait_for(self, name: str, times: int = 1) -> None:
        """Return when it was asked for `name`, such as `POST files`, so many times."""
        end = time.monotonic() + 30
        while self.tell()["seen"].get(name, 0) < times:
            assert time.monotonic() < end, f"{name} was not asked for"
            time.sleep(0.02)


@contextmanager
def start_provider() -> Iterator[Provider]:
    """A running server on a free port."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        yield Provider(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    provider = FineTuningServer()
    print(provider.server_address[1], flush=True)
    provider.serve_forever(poll_interval=0.05)
