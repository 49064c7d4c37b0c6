"""The endpoint engine against a real HTTP server that misbehaves as real ones do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from icd10cm.errors import EngineError
from icd10cm.prompts import INSTRUCTION
from serving.engines.base import Generation
from serving.engines.endpoint_engine import API_KEY_VARIABLE, EndpointEngine


class Api(ThreadingHTTPServer):
    """Answers the text `a b` with `A B`, some texts with trouble, and remembers what it was asked.

    Attributes:
        models: what `/v1/models` lists, with the owner of each.
        key: the API key it wants, any when empty.
        asked: the bodies of the chat requests.
        at_once: the most chat requests that were under way at a time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, str] = {"coder": "vllm"}
        self.key = ""
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, status: int, content: Any, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def is_welcome(self) -> bool:
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            self.answer(401, {"error": {"message": "wrong key"}})
            return False
        return True

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
        n_times = sum(asked["messages"][-1]["content"] == text for asked in self.server.asked)
        time.sleep(0.02)
        with self.server.lock:
            self.server.under_way -= 1
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
                self.answer(200, reply("I10", "stop", logprobs=None))
            case _:
                self.answer(200, reply(text.upper(), "stop"))


def reply(text: str, finish_reason: str, logprobs: tuple[float, ...] | None = (-0.5, -0.1)) -> dict[str, Any]:
    tokens = {"content": [{"token": "t", "logprob": value, "top_logprobs": []} for value in logprobs or ()]}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": tokens if logprobs else None}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "coder", "choices": [choice]}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def build(api: Api, **options: Any) -> EndpointEngine:
    return EndpointEngine(api.url, **({"progress": False, "retries": 3} | options))


def test_answers_come_in_order_and_at_most_so_many_are_asked_at_once(api: Api) -> None:
    texts = [f"text {number}" for number in range(40)]
    engine = build(api, concurrency=8)
    assert engine.generate(texts) == [Generation(text.upper(), "stop", -0.3) for text in texts]
    assert engine.model == "coder" and engine.n_failed == 0
    assert 2 <= api.at_once <= 8
    assert engine.generate([]) == []


def test_the_request_is_greedy_and_holds_the_prompt_alone(api: Api) -> None:
    build(api, max_tokens=33).generate([" gout "])
    request = api.asked[0]
    assert request["messages"] == [{"role": "user", "content": "gout"}]
    assert (request["temperature"], request["max_tokens"], request["model"]) == (0, 33, "coder")
    assert "vllm_xargs" not in request
    build(api, instruct=True).generate(["gout"])
    assert api.asked[1]["messages"][0] == {"role": "system", "content": INSTRUCTION}


def test_only_vllm_is_told_to_drop_its_constraint(api: Api) -> None:
    build(api, constrained=False).generate(["gout"])
    assert api.asked[0]["vllm_xargs"] == {"constrain": "off"}
    api.models = {"coder": "someone"}
    build(api, constrained=False).generate(["gout"])
    assert "vllm_xargs" not in api.asked[1]


def test_a_busy_server_is_asked_again_after_the_time_it_names(api: Api) -> None:
    started = time.monotonic()
    engine = build(api)
    assert engine.generate(["busy"]) == [Generation("BUSY", "stop", -0.3)]
    assert len(api.asked) == 3 and time.monotonic() - started >= 0.2 and engine.n_failed == 0


def test_what_fails_for_good_is_an_error_and_counted_and_the_rest_is_answered(api: Api) -> None:
    engine = build(api, retries=1)
    good, broken, long, empty = engine.generate(["gout", "broken", "too long", "empty"])
    assert good.text == "GOUT"
    assert broken.finish_reason == "error" and broken.error.startswith("HTTP 500") and "on fire" in broken.error
    assert long.finish_reason == "error" and "too many tokens" in long.error
    assert empty.finish_reason == "error" and "no choices" in empty.error
    assert engine.n_failed == 3
    texts = [request["messages"][0]["content"] for request in api.asked]
    assert texts.count("broken") == 2 and texts.count("too long") == 1


def test_a_slow_answer_is_given_up(api: Api) -> None:
    (slow,) = build(api, timeout=0.3, retries=0).generate(["slow"])
    assert slow.finish_reason == "error" and "0.3 s" in slow.error


def test_cut_answers_and_missing_scores_are_told_apart(api: Api) -> None:
    cut, dangling, silent = build(api).generate(["cut", "dangling", "silent"])
    assert (cut.finish_reason, dangling.finish_reason) == ("length", "length")
    assert silent == Generation("I10", "stop", None)


def test_the_key_comes_from_the_environment(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.key = "secret"
    with pytest.raises(EngineError, match=API_KEY_VARIABLE) as caught:
        build(api)
    assert "wrong key" in str(caught.value)
    monkeypatch.setenv(API_KEY_VARIABLE, "secret")
    engine = build(api)
    assert engine.generate(["gout"])[0].text == "GOUT"
    api.key = "another"
    with pytest.raises(EngineError, match="wrong key"):
        engine.generate(["gout"] * 20)


def test_the_model_is_found_or_named(api: Api) -> None:
    api.models = {"coder": "a", "writer": "b"}
    with pytest.raises(EngineError, match="has 2 models, name one: coder, writer"):
        build(api)
    assert build(api, model="writer").model == "writer"
    with pytest.raises(EngineError, match="did you mean 'coder'"):
        build(api, model="codr")


def test_a_server_that_is_not_there_or_goes_away_is_one_line(api: Api) -> None:
    engine = build(api, retries=0)
    api.shutdown()
    api.server_close()
    for use in (lambda: engine.generate(["gout"]), lambda: build(api)):
        with pytest.raises(EngineError) as caught:
            use()
        assert api.url in str(caught.value) and "\n" not in str(caught.value)
