"""What a request goes through before an engine: into the chat template, past the guard; facts and the end of a server."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd10cm.errors import EngineError
from serving.drain import Drain
from serving.guard import Refusal, parse_body
from serving.middleware import Gate
from serving.model_facts import SERVED_VARIABLE, Served
from serving.prompting import load_tokenizer, read_frame

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


class Recorder:
    """The application behind the middleware: keeps what reaches it and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
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
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    @property
    def request(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.scope["headers"])


@pytest.fixture
def app(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    set_served(monkeypatch, random_checkpoint)
    return Recorder()


def set_served(monkeypatch: pytest.MonkeyPatch, folder: Path, **changed: Any) -> None:
    """Say in the environment what is served."""
    served = Served.model_validate(
        {"engine": "vllm", "models": {"icdtune": folder}, "context": 256, "max_tokens": 100} | changed
    )
    monkeypatch.setenv(SERVED_VARIABLE, served.model_dump_json())


@pytest.fixture
def tokenizer(random_checkpoint: Path) -> Any:
    return load_tokenizer(random_checkpoint)


def post(app: Any, body: Any, path: str = COMPLETIONS, parts: int = 1, **headers: str) -> list[dict[str, Any]]:
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
    asyncio.run(Gate(app)(scope, receive, send))
    return sent


def read_error(sent: list[dict[str, Any]]) -> tuple[int, str]:
    """Return status and message of a refusal."""
    start, body = sent
    return start["status"], json.loads(body["body"])["error"]["message"]


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


@pytest.mark.parametrize("text", ["ulcer " * 300, "x" * 2_000_000])
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
        b"",
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
    asyncio.run(Gate(app)({"type": "lifespan"}, None, _drop))  # type: ignore[arg-type]
    assert app.scope == {"type": "lifespan"}


async def _drop(_message: Any) -> None:
    return None


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_beam_search_would_leave_the_code_set_and_is_refused(app: Recorder, path: str) -> None:
    status, message = read_error(post(app, {"prompt": "gout", "use_beam_search": True}, path))
    assert status == 400 and "existing codes" in message
    assert not app.scope
    post(app, {"prompt": "gout", "use_beam_search": True, "vllm_xargs": {"constrain": "off"}}, path)
    assert app.request["use_beam_search"] is True


def test_without_a_model_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVED_VARIABLE, raising=False)
    with pytest.raises(EngineError, match=r"python -m serving\.serve"):
        Gate(Recorder())


OFF = {"vllm_xargs": {"constrain": "off"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"prompt": "gout"', "not valid JSON at character 17"),
        (b"\xff\xfe", "not UTF-8: byte 0"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"a": ' * 70 + b"1" + b"}" * 70, "nested more than 64 deep"),
        (b'["gout"]', "not an object"),
        (b'{"prompt": "\\ud800"}', "half a surrogate pair"),
        (b'{"prompt": "gout", "\\udc00": 1}', "half a surrogate pair"),
        (b'{"temperature": NaN}', "holds NaN"),
        (b'{"temperature": 1e400}', "number that is too large"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "not valid JSON"),
        ({"structured_outputs": 5}, "should be an object"),
        ({"vllm_xargs": "off"}, "should be an object"),
        ({"prompt": ["gout"] * 10_000}, "10,000 prompts"),
        ({"n": 10**6}, "at most 128"),
        ({"seed": 2**64}, "64 bits"),
        ({"prompt_embeds": "AAAA"}, "not served"),
        (OFF | {"structured_outputs": {"json": {"type": "array", "minItems": 10**9}}}, "repeat nothing more than 1,000"),
        (
            OFF | {"structured_outputs": {"json": {"items": {"items": {}, "minItems": 40}, "minItems": 40}}},
            "repeats of repeats",
        ),
        (OFF | {"structured_outputs": {"regex": "(a{1,100}){1,100}"}}, "repeats of repeats"),
        (OFF | {"structured_outputs": {"regex": "a" * 30_000}}, "at most 20,000 characters"),
    ],
    ids=lambda value: str(value)[:50],
)
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_hostile_bodies_never_reach_the_engine(app: Recorder, path: str, body: Any, words: str) -> None:
    status, message = read_error(post(app, body, path, content_type="application/json"))
    assert status == 400 and words in message and not app.scope
    assert "gout" not in message


def test_what_looks_hostile_and_is_not_passes(app: Recorder) -> None:
    for body in (
        {"prompt": "\U0001f9a0 \x00 {1000} NaN", "n": 128, "seed": -(2**63)},
        OFF | {"structured_outputs": {"json": {"maxLength": 40, "items": {"maxItems": 20}}}},
        OFF | {"structured_outputs": {"regex": "[A-Z][0-9]{2}"}},
    ):
        app.body = b""
        assert post(app, body, CHAT)[0]["status"] == 200
        assert app.request == body


@pytest.mark.parametrize("size", [1001, 5000, 20_000])
def test_a_body_too_large_is_refused_with_413(
    app: Recorder, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    set_served(monkeypatch, random_checkpoint, max_body_bytes=1000)
    for path in (COMPLETIONS, CHAT, "/tokenize"):
        sent = post(app, b"x" * size, path, parts=4)
        assert read_error(sent)[0] == 413 and (b"connection", b"close") in sent[0]["headers"]
    assert not app.scope
    assert post(app, b'{"prompt": "x"}' + b" " * 900)[0]["status"] == 200


def test_switching_the_limit_off_can_be_forbidden(
    app: Recorder, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_served(monkeypatch, random_checkpoint, allow_unconstrained=False)
    status, message = read_error(post(app, {"prompt": "gout"} | OFF))
    assert status == 403 and "existing codes only" in message and not app.scope
    assert read_error(post(app, {"input": "gout"} | OFF, "/v1/responses"))[0] == 404 and not app.scope
    assert post(app, {"prompt": "gout", "vllm_xargs": {"constrain": "on"}})[0]["status"] == 200
    set_served(monkeypatch, random_checkpoint, allow_unconstrained=False, constrained=False)
    assert post(app, {"prompt": "gout"} | OFF)[0]["status"] == 200


def test_an_internal_error_over_an_own_format_is_the_requests_fault(app: Recorder) -> None:
    async def fail(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    own = OFF | {"prompt": "gout", "structured_outputs": {"regex": "a"}}
    app.status = 500
    for broken in (app, fail):
        status, message = read_error(post(broken, own))
        assert status == 400 and "cannot be computed" in message
    assert post(app, {"prompt": "gout"})[0]["status"] == 500
    with pytest.raises(ZeroDivisionError):
        post(fail, {"prompt": "gout"})


def test_without_the_template_texts_pass_as_they_are(
    app: Recorder, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_served(monkeypatch, random_checkpoint, prompt_template=False)
    post(app, {"prompt": "gout"})
    assert app.request == {"prompt": "gout"}


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    try:
        assert isinstance(parse_body(body), dict)
    except Refusal as refusal:
        assert refusal.status == 400


def test_the_first_signal_waits_for_requests_and_the_second_does_not() -> None:
    async def run() -> tuple[list[str], bool]:
        drain, server, ended = Drain(60.0), SimpleNamespace(should_exit=False, force_exit=False), []
        drain.listen(server)

        async def work() -> None:
            with drain.track():
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    ended.append("cancelled")

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        drain.stop()
        await asyncio.sleep(0.01)
        ended.append("waited" if server.should_exit and not server.force_exit and not task.done() else "lost")
        drain.stop()
        await task
        return ended, server.force_exit

    assert asyncio.run(run()) == (["waited", "cancelled"], True)
