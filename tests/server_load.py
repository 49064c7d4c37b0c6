"""Requests to a real server, hostile ones or many at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
from hostile_bodies import Hostile

LONG = {"prompt": "gout", "max_tokens": 200, "n": 4, "temperature": 1.0, "vllm_xargs": {"constrain": "off"}}
"""A request that takes a while, whatever the server."""


def press(base_url: str, requests: Sequence[Hostile]) -> list[int]:
    """Send `requests` a few at a time; returns the status of each response."""
    with httpx.Client(base_url=base_url.removesuffix("/v1"), timeout=60) as client, ThreadPoolExecutor(8) as pool:

        def send(request: Hostile) -> int:
            headers = {"Content-Type": request.kind} if request.kind else {}
            return client.post(request.path, content=request.body, headers=headers).status_code

        return list(pool.map(send, requests))


class Load:
    """Clients that each send one long request, the second half of them as streams.

    Attributes:
        n_lost: those that did not get a whole answer.
        n_late: those that got theirs after new connections were refused.
    """

    def __init__(self, base_url: str, n_clients: int):
        self._base_url = base_url
        self._refused_at = float("inf")
        self._ends: list[tuple[float, bool]] = []
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._ask, args=(number >= n_clients // 2,)) for number in range(n_clients)]

    def wait_until_under_way(self) -> None:
        """Send every request and wait until the server has it.

        Of a stream the beginning comes at once; what was sent before all the streams has been read when they have begun.
        """
        half = len(self._threads) // 2
        for threads in (self._threads[:half], self._threads[half:]):
            for thread in threads:
                thread.start()
            for _ in threads:
                assert self._begun.acquire(timeout=60)

    def wait_until_refused(self) -> float:
        """Wait until new connections are refused and all requests have ended; returns the seconds to the refusal."""
        started = time.monotonic()
        while time.monotonic() < started + 60:
            try:
                httpx.get(f"{self._base_url}/models", timeout=5)
            except httpx.ConnectError:
                break
            except httpx.TransportError:
                continue
            time.sleep(0.01)
        self._refused_at = time.monotonic()
        for thread in self._threads:
            thread.join(timeout=60)
        return self._refused_at - started

    @property
    def n_lost(self) -> int:
        return len(self._threads) - sum(whole for _, whole in self._ends)

    @property
    def n_late(self) -> int:
        return sum(at > self._refused_at for at, _ in self._ends)

    def _ask(self, stream: bool) -> None:
        text = ""

        def note(event: str, _details: object) -> None:
            if event == ("http11.receive_response_headers.complete" if stream else "http11.send_request_body.complete"):
                self._begun.release()

        url, body = f"{self._base_url}/completions", {**LONG, "stream": stream}
        with contextlib.suppress(httpx.TransportError), httpx.Client(timeout=60, verify=False) as client:
            text = client.post(url, json=body, extensions={"trace": note}).text
        whole = text.rstrip().endswith("[DONE]") if stream else '"finish_reason":"' in text.replace(": ", ":")
        self._ends.append((time.monotonic(), whole and "abort" not in text))
