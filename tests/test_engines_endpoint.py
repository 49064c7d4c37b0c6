"""The endpoint engine against a real HTTP server that misbehaves as real ones do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from chat_server import ChatServer, start_chat

from icd10cm.errors import EngineError
from icd10cm.prompts import INSTRUCTION
from serving.engines.base import Alternatives, Generation
from serving.engines.endpoint_engine import EndpointEngine
from serving.engines.server_pool import API_KEY_VARIABLE


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with start_chat() as server:
        yield server


def expect(text: str) -> Generation:
    """Return the answer of two tokens that the server gives to most texts."""
    return Generation(text, "stop", -0.3, code_scores=((text, -0.3),))


def build(api: ChatServer, **options: Any) -> EndpointEngine:
    return EndpointEngine(api.url, **({"progress": False, "retries": 3, "patience": 0} | options))


def test_answers_come_in_order_and_at_most_so_many_are_asked_at_once(api: ChatServer) -> None:
    texts = [f"text {number}" for number in range(40)]
    engine = build(api, concurrency=8)
    assert engine.generate(texts) == [expect(text.upper()) for text in texts]
    assert engine.model == "coder" and engine.n_failed == 0
    assert 2 <= api.at_once <= 8
    assert engine.generate([]) == []


def test_the_request_is_greedy_and_holds_the_prompt_alone(api: ChatServer) -> None:
    build(api, max_tokens=33).generate([" gout "])
    request = api.asked[0]
    assert request["messages"] == [{"role": "user", "content": "gout"}]
    assert (request["temperature"], request["max_tokens"], request["model"]) == (0, 33, "coder")
    assert request.get("vllm_xargs") == {"constrain": "repeats"}
    build(api, instruct=True).generate(["gout"])
    assert api.asked[1]["messages"][0] == {"role": "system", "content": INSTRUCTION}


def test_what_is_meant_for_this_machine_takes_no_proxy(api: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert build(api, retries=0).generate(["gout"]) == [expect("GOUT")]


def test_only_vllm_is_told_to_drop_its_constraint(api: ChatServer) -> None:
    build(api, constrained=False).generate(["gout"])
    assert api.asked[0]["vllm_xargs"] == {"constrain": "off"}
    api.models = {"coder": "someone"}
    build(api, constrained=False).generate(["gout"])
    assert "vllm_xargs" not in api.asked[1]


def test_a_busy_server_is_asked_again_after_the_time_it_names(api: ChatServer) -> None:
    started = time.monotonic()
    engine = build(api)
    assert engine.generate(["busy"]) == [expect("BUSY")]
    assert len(api.asked) == 3 and time.monotonic() - started >= 0.2 and engine.n_failed == 0


def test_what_fails_for_good_is_an_error_and_counted_and_the_rest_is_answered(api: ChatServer) -> None:
    engine = build(api, retries=1)
    good, broken, long, empty = engine.generate(["gout", "broken", "too long", "empty"])
    assert good.text == "GOUT"
    assert broken.finish_reason == "error" and broken.error.startswith("HTTP 500") and "on fire" in broken.error
    assert long.finish_reason == "error" and "too many tokens" in long.error
    assert empty.finish_reason == "error" and "no choices" in empty.error
    assert engine.n_failed == 3
    assert api.texts.count("broken") == 2 and api.texts.count("too long") == 1


def test_a_slow_answer_is_given_up(api: ChatServer) -> None:
    (slow,) = build(api, timeout=0.3, retries=0).generate(["slow"])
    assert slow.finish_reason == "error" and "0.3 s" in slow.error


def test_cut_answers_and_missing_scores_are_told_apart(api: ChatServer) -> None:
    cut, dangling, silent = build(api).generate(["cut", "dangling", "silent"])
    assert (cut.finish_reason, dangling.finish_reason) == ("length", "length")
    assert silent == Generation("I10", "stop", None)
    assert cut.code_scores[0][0] == "I10"


def test_each_code_has_the_score_of_its_tokens_and_of_what_ends_it(api: ChatServer) -> None:
    (answer,) = build(api).generate(["two codes"])
    assert answer.score == -0.4
    assert answer.code_scores == (("E11.621", -0.3), ("I10", -0.5))


def test_draws_are_asked_for_in_one_request_and_are_the_same_each_time(api: ChatServer) -> None:
    engine = build(api, alternatives=Alternatives("sampling", 8, 5))
    first, second = engine.generate(["gout", "copd"]), engine.generate(["copd", "gout"])[::-1]
    assert first == second and [len(answer.samples) for answer in first] == [8, 8]
    assert first[0]._replace(samples=()) == expect("GOUT") and first[0].samples != first[1].samples
    assert {(sample.share, sample.finish_reason) for sample in first[0].samples} == {(1 / 8, "stop")}
    (drawn,) = [request for request in api.asked[:4] if "n" in request and request["messages"][0]["content"] == "gout"]
    assert (drawn["n"], drawn["temperature"], drawn["top_p"], drawn["top_k"]) == (8, 1, 1, -1)
    other = build(api, alternatives=Alternatives("sampling", 8, 6)).generate(["gout"])
    assert other[0].samples != first[0].samples


@pytest.mark.parametrize(("refuses", "why"), [(True, "n must be 1"), (False, "it gave 1")])
def test_a_server_that_does_not_give_several_answers_is_one_line(api: ChatServer, refuses: bool, why: str) -> None:
    api.most_answers, api.refuses = 1, refuses
    with pytest.raises(EngineError, match="does not give 8 answers") as caught:
        build(api, alternatives=Alternatives("sampling", 8)).generate(["gout"])
    assert why in str(caught.value) and api.url in str(caught.value) and "\n" not in str(caught.value)


def test_the_key_comes_from_the_environment(api: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_model_is_found_or_named(api: ChatServer) -> None:
    api.models = {"coder": "a", "writer": "b"}
    with pytest.raises(EngineError, match="has 2 models, name one: coder, writer"):
        build(api)
    assert build(api, model="writer").model == "writer"
    with pytest.raises(EngineError, match="did you mean 'coder'"):
        build(api, model="codr")


def test_a_server_that_is_not_there_or_goes_away_is_one_line(api: ChatServer) -> None:
    engine = build(api, retries=0)
    api.shutdown()
    api.server_close()
    for use in (lambda: engine.generate(["gout"]), lambda: build(api)):
        with pytest.raises(EngineError) as caught:
            use()
        assert api.url in str(caught.value) and "\n" not in str(caught.value)
