"""Several servers at once: shared work, servers that really die and come back, and servers that must not be mixed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from chat_server import ChatServer, start_chat, start_chat_process
from processes import find_test_port

from icd10cm.errors import EngineError
from serving.engines.base import Generation
from serving.engines.endpoint_engine import EndpointEngine

TEXTS = [f"text {number}" for number in range(60)]
RIGHT = [text.upper() for text in TEXTS]


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with start_chat() as server:
        yield server


def build(*urls: str, patience: float = 20, concurrency: int = 4) -> EndpointEngine:
    return EndpointEngine(urls, progress=False, retries=0, patience=patience, concurrency=concurrency)


def test_requests_are_spread_and_each_server_has_its_share_at_a_time(chat: ChatServer) -> None:
    with start_chat() as other:
        engine = build(chat.url, other.url, chat.url)
        assert [answer.text for answer in engine.generate(TEXTS)] == RIGHT
        assert len(chat.asked) + len(other.asked) == len(TEXTS)
        assert min(len(chat.asked), len(other.asked)) > len(TEXTS) // 3
        assert chat.at_once <= 4 and other.at_once <= 4


def test_one_of_two_that_dies_is_named_and_its_requests_go_to_the_other(
    chat: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    port = find_test_port(18710)
    with start_chat_process(port, n_lives=10) as mortal:
        engine = build(f"http://127.0.0.1:{port}/v1", chat.url)
        assert [answer.text for answer in engine.generate(TEXTS)] == RIGHT
        assert mortal.wait(timeout=10) == 9
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and f":{port}/v1: stopped answering" in warnings[0] and "go to the other one" in warnings[0]
    assert engine.n_failed == 0 and len(chat.asked) >= len(TEXTS) - 10
    with start_chat_process(port):
        time.sleep(1.1)
        chat.asked.clear()
        assert [answer.text for answer in engine.generate(TEXTS)] == RIGHT
    assert f":{port}/v1: answers again" in capsys.readouterr().err and len(chat.asked) < len(TEXTS)


def test_a_server_that_dies_for_a_while_delays_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    port = find_test_port(18730)
    answered: list[Generation] = []
    with start_chat_process(port, n_lives=12):
        engine = build(f"http://127.0.0.1:{port}/v1")
        worker = threading.Thread(target=lambda: answered.extend(engine.generate(TEXTS)))
        worker.start()
        time.sleep(1.5)
        assert worker.is_alive(), "it waits"
    with start_chat_process(port):
        worker.join(timeout=20)
    assert [answer.text for answer in answered] == RIGHT
    told = capsys.readouterr().err.splitlines()
    assert "stopped answering" in told[0] and "waiting up to 20 s" in told[0] and "answers again" in told[1] and len(told) == 2


def test_patience_ends_in_one_line_and_what_was_answered_was_handed_over(chat: ChatServer) -> None:
    port = find_test_port(18750)
    handed: dict[int, Generation] = {}
    with start_chat_process(port, n_lives=20):
        engine = build(f"http://127.0.0.1:{port}/v1", patience=0.5)
        started = time.monotonic()
        with pytest.raises(EngineError, match=r"stopped answering 0\.5 s ago") as caught:
            engine.generate(TEXTS, lambda place, answer: handed.update({place: answer}))
    assert 0.4 < time.monotonic() - started < 10 and "\n" not in str(caught.value)
    assert 10 <= len(handed) < 20 and all(answer.text == RIGHT[place] for place, answer in handed.items())


def test_a_server_out_of_order_counts_as_dead_and_a_broken_request_does_not(
    chat: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_chat() as other:
        engine = build(chat.url, other.url)
        other.status = 503
        assert [answer.text for answer in engine.generate(TEXTS[:8])] == RIGHT[:8]
        assert f"{other.url}: stopped answering (HTTP 503)" in capsys.readouterr().err
    engine = build(chat.url)
    good, broken = engine.generate(["gout", "broken"])
    assert good.text == "GOUT" and broken.error.startswith("HTTP 500") and "stopped" not in capsys.readouterr().err


def test_a_server_that_is_down_at_first_is_left_out_until_it_answers(
    chat: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = "http://127.0.0.1:9/v1"
    assert [answer.text for answer in build(silent, chat.url).generate(TEXTS[:5])] == RIGHT[:5]
    assert f"{silent}: does not answer" in capsys.readouterr().err
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1: nothing answers there"):
        build(silent, "http://127.0.0.1:10/v1")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("models", {"codex": "vllm"}, "has no model 'coder', did you mean 'codex'[?]; servers must serve the same"),
        ("release", "2025", r"codes of release 2025, the first server with those of \(not said\)"),
    ],
)
def test_servers_with_something_else_are_refused(chat: ChatServer, attribute: str, value: object, message: str) -> None:
    with start_chat() as other:
        engine = build(chat.url, other.url)
        setattr(other, attribute, value)
        with pytest.raises(EngineError, match=message) as caught:
            build(chat.url, other.url)
        assert other.url in str(caught.value) and "\n" not in str(caught.value)
        other_is_down = next(server for server in engine._pool.servers if server.url == other.url)
        engine._pool.mark_down(other_is_down, "restart")
        time.sleep(1.05)
        with pytest.raises(EngineError, match=message):
            engine.generate(["gout"])
