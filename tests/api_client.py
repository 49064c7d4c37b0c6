"""The coding API as a real server in this process, in front of a model server of the tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from processes import find_test_port

from serving.api.app import build_app
from serving.api.logs import set_up_logs
from serving.api.settings import ApiSettings

KEY = "a-key-of-the-ward-0123"


class ServedApi:
    """A running API: its address, its service, a client."""

    def __init__(self, url: str, app: Any, client: httpx.Client):
        self.url, self.app, self.client = url, app, client
        self.service = app.state.service

    @property
    def audit_file(self) -> Path:
        return self.service.settings.audit_file


@contextmanager
def serve_api(folder: Path, base_url: str, keys: str = "", **settings: Any) -> Iterator[ServedApi]:
    """Serve the API on a free port, with these keys; the log goes into `folder`."""
    port = find_test_port(18500)
    values = {"base_url": base_url, "port": port, "audit_file": folder / "audit.jsonl", "requests_per_minute": 10**6} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICDTUNE_API_KEYS", keys)
        app = build_app(ApiSettings(**values))
    set_up_logs(app.state.service.settings.access_log)
    options = {"log_level": "critical", "access_log": False, "timeout_keep_alive": 75}
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="on", **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), app.state.service.start_error
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield ServedApi(url, app, client)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def read_error(reply: httpx.Response) -> str:
    """Return the message of an error, once its shape is checked."""
    problem = reply.json()["error"]
    assert set(problem) == {"message", "type", "code", "request_id"}
    assert problem["code"] == reply.status_code and problem["request_id"] == reply.headers["x-request-id"]
    return problem["message"]
