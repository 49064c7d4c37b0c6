"""Raw texts are put into the chat template on their way to vLLM; everything else passes unchanged."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from icd10cm.errors import EngineError
from serving import middleware
from serving.middleware import PromptTemplate
from serving.prompting import load_tokenizer, read_frame

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


class Recorder:
    """The application behind the middleware: keeps what reaches it and answers 200."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.body = b""
        self.later: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        if scope["type"] == "http":
            more = True
            while more:
                message = await receive()
                self.body += message["body"]
                more = message["more_body"]
            self.later.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    @property
    def request(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.scope["headers"])


@pytest.fixture
def app(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setenv(middleware.MODEL_VARIABLE, str(random_checkpoint))
    monkeypatch.setenv(middleware.CONTEXT_VARIABLE, "256")
    monkeypatch.setenv(middleware.ANSWER_VARIABLE, "100")
    return Recorder()


@pytest.fixture
def tokenizer(random_checkpoint: Path) -> Any:
    return load_tokenizer(random_checkpoint)


def post(app: Recorder, body: Any, path: str = COMPLETIONS, parts: int = 1, **headers: str) -> list[dict[str, Any]]:
    """Send a request through the middleware, its body in `parts`; returns what is sent back."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    cuts = [len(raw) * i // parts for i in range(parts + 1)]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": raw[start:end], "more_body": end < len(raw)} for start, end in itertools.pairwise(cuts)
    ]
    messages.append({"type": "http.disconnect"})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    given += [(b"content-length", str(len(raw)).encode()), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": given}
    asyncio.run(PromptTemplate(app)(scope, receive, send))
    return sent


def test_a_text_is_wrapped(app: Recorder, random_checkpoint: Path, tokenizer: Any) -> None:
    frame = read_frame(tokenizer, random_checkpoint)
    post(app, {"model": "m", "prompt": " gout ", "seed": 1}, parts=3)
    expected = {"model": "m", "prompt": frame.prefix + "gout" + frame.suffix, "seed": 1, "add_special_tokens": False}
    assert app.request == {**expected, "max_tokens": 100}
    assert app.headers[b"content-length"] == str(len(app.body)).encode() and app.headers[b"host"] == b"localhost"
    assert app.later == ["http.disconnect"]


def test_a_list_of_texts_is_wrapped_and_what_is_wrapped_stays(app: Recorder, random_checkpoint: Path, tokenizer: Any) -> None:
    frame = read_frame(tokenizer, random_checkpoint)
    done = frame.wrap("gout")
    post(app, {"prompt": ["gout", done], "max_tokens": 7})
    assert app.request["prompt"] == [done, done] and app.request["max_tokens"] == 7


def test_a_long_text_leaves_what_room_there_is(app: Recorder, tokenizer: Any) -> None:
    post(app, {"prompt": ["gout", "ulcer " * 60]})
    room = app.request["max_tokens"]
    longest = max(len(ids) for ids in tokenizer(app.request["prompt"], add_special_tokens=False)["input_ids"])
    assert 0 < room < 100 and room + longest == 256


@pytest.mark.parametrize("text", ["ulcer " * 300, "x" * 2_000_000, "\ud800"])
def test_a_text_without_room_is_left_to_vllm(app: Recorder, text: str) -> None:
    post(app, {"prompt": text})
    assert "max_tokens" not in app.request


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": [1, 2, 3]},
        {"prompt": [[1, 2], [3]]},
        {"prompt": ["gout", 1]},
        {"prompt": []},
        {"prompt": None},
        {"prompt": {"text": "gout"}},
        {"model": "m"},
        ["gout"],
        b'{"prompt": "gout"',
        b"\xff\xfe",
        b"",
        b"[" * 100_000,
    ],
)
def test_what_is_no_text_passes_unchanged(app: Recorder, body: Any) -> None:
    post(app, body)
    assert app.body == (body if isinstance(body, bytes) else json.dumps(body).encode())


def test_chat_other_paths_and_raw_requests_pass_unchanged(app: Recorder) -> None:
    for path, headers in ((CHAT, {}), ("/tokenize", {}), (COMPLETIONS, {"x_icdtune_raw": "1"})):
        app.body = b""
        post(app, {"prompt": "gout"}, path, **headers)
        assert app.request == {"prompt": "gout"}, (path, headers)
    app.body = b""
    post(app, {"prompt": "gout"}, x_icdtune_raw="0")
    assert app.request["prompt"] != "gout"


def test_other_connections_pass(app: Recorder) -> None:
    asyncio.run(PromptTemplate(app)({"type": "lifespan"}, None, _drop))  # type: ignore[arg-type]
    assert app.scope == {"type": "lifespan"}


async def _drop(_message: Any) -> None:
    return None


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_beam_search_would_leave_the_code_set_and_is_refused(app: Recorder, path: str) -> None:
    start, body = post(app, {"prompt": "gout", "use_beam_search": True}, path)
    assert start["status"] == 400 and "existing codes" in json.loads(body["body"])["error"]["message"]
    assert not app.scope
    post(app, {"prompt": "gout", "use_beam_search": True, "vllm_xargs": {"constrain": "off"}}, path)
    assert app.request["use_beam_search"] is True


def test_without_a_model_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(middleware.MODEL_VARIABLE, raising=False)
    with pytest.raises(EngineError, match=r"python -m serving\.serve"):
        PromptTemplate(Recorder())
