"""The coding API with its page in front of a model server whose answers are known: what a browser is pointed at."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from upstream_server import MODEL, UpstreamServer
from upstream_server import _Handler as Handler

from icd10cm.prompts import SEPARATOR
from serving.api.app import build_app
from serving.api.settings import ApiSettings

TERMS: Mapping[str, tuple[str, float]] = {
    "foot ulcer": ("E11.621", 0.94),
    "hypertension": ("I10", 0.88),
    "kidney disease": ("N18.31", 0.8),
    "type 1 diabetes": ("E10.9", 0.7),
    "breast cancer": ("C50.919", 0.66),
    "prostate": ("N40.0", 0.9),
    "cough": ("R05.9", 0.1),
}
"""What the model finds in a text: its code and how sure it is; below 0.5 it is a candidate."""

OTHERS: Mapping[str, str] = {"E11.621": "E11.622", "I10": "I11.9"}
"""What else the model held probable, with a share of 0.05."""

THRESHOLD = 0.5


class PageUpstream(UpstreamServer):
    """A model server that knows a few terms, and answers with their codes in the order of the text."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.RequestHandlerClass = _TermHandler

    def answer(self, text: str) -> list[str]:
        """Return the codes of the terms in a text."""
        places = {code: text.lower().find(term) for term, (code, _) in TERMS.items()}
        return sorted((code for code, place in places.items() if place >= 0), key=lambda code: places[code])


class _TermHandler(Handler):
    server: PageUpstream

    def complete(self, body: dict[str, Any], texts: list[str], kind: str) -> None:
        """Answer a chat with one token for each code, as sure as `TERMS` says."""
        self.server.seen += texts
        codes = self.server.answer(texts[0])
        sure = dict(TERMS.values())
        told = []
        for number, code in enumerate(codes):
            if number:
                told.append(_build_token(SEPARATOR, 1.0))
            told.append(_build_token(code, sure[code], OTHERS.get(code)))
        told.append(_build_token("", 1.0))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SEPARATOR.join(codes)}}
        n_prompt = len(texts[0].split()) + 10
        usage = {"prompt_tokens": n_prompt, "completion_tokens": len(told), "total_tokens": n_prompt + len(told)}
        choice["logprobs"] = {"content": told} if body.get("logprobs") else None
        self.reply(200, {"id": "x", "object": kind, "created": 0, "model": MODEL, "choices": [choice], "usage": usage})


def _build_token(text: str, probability: float, other: str | None = None) -> dict[str, Any]:
    top = [(text, probability), *([(other, 0.05)] if other else [])]
    shown = [{"token": name, "logprob": math.log(share)} for name, share in top]
    return {**shown[0], "bytes": None, "top_logprobs": shown}


class Site:
    """The API, its model server, and the way to both.

    Attributes:
        url: of the page.
        upstream: the model server; it can be killed and started again at the same port.
        app: the API.
    """

    def __init__(self, folder: Path, **settings: Any):
        self.upstream = _serve(PageUpstream())
        chosen = ApiSettings(
            base_url=self.upstream.url,
            audit_file=folder / "audit.jsonl",
            threshold=THRESHOLD,
            requests_per_minute=100_000,
            **settings,
        )
        self.app = build_app(chosen)
        self._server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_level="warning", access_log=False))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the API did not start")
            self._thread.join(0.02)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"

    def kill_upstream(self) -> None:
        """Let the model server go away at once."""
        self.upstream.kill()

    def revive_upstream(self) -> None:
        """Start the model server again where it was."""
        self.upstream = _serve(PageUpstream(self.upstream.port))

    def close(self) -> None:
        """Stop both."""
        self._server.should_exit = True
        self._thread.join(10)
        if not self.upstream.closing.is_set():
            self.upstream.kill()


def _serve(upstream: PageUpstream) -> PageUpstream:
    threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return upstream


@contextmanager
def start_site(folder: Path, **settings: Any) -> Iterator[Site]:
    """A running site."""
    site = Site(folder, **settings)
    try:
        yield site
    finally:
        site.close()
