"""The coder against a real HTTP server that answers like vLLM: one text, many, long ones, and everything that can fail."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from chat_server import start_chat
from processes import find_test_port
from upstream_server import MODEL, SHA256, UpstreamServer, start_upstream

from icd10cm import CodeSet
from icd10cm.errors import ConfigError
from serving.coding.assertion import _read_triggers
from serving.coding.calibration import Calibration, Curve
from serving.coding.coder import Coder
from serving.coding.errors import (
    CodingFailure,
    TextTooLongError,
    UnknownModelError,
    UpstreamBusyError,
    UpstreamDownError,
    UpstreamTimeoutError,
)
from serving.coding.evidence import Reading
from serving.coding.models import CodingRequest, CodingResponse
from serving.coding.upstream import _IDLE_SECONDS, Upstream

T = TypeVar("T")
SECRET = "Zebulon Quux, born 1950"


@pytest.fixture(autouse=True)
def behave(upstream: UpstreamServer) -> None:
    upstream.mode, upstream.delay = "well", 0.0


def ask(url: str, use: Callable[[Coder], Awaitable[T]], **options: Any) -> T:
    """Run `use` on a started coder."""

    async def run() -> T:
        coder = Coder(url, **options)
        await coder.start()
        try:
            return await use(coder)
        finally:
            await coder.close()
            assert len(asyncio.all_tasks()) == 1, "nothing is left under way"

    return asyncio.run(run())


def code(url: str, text: str, **options: Any) -> CodingResponse:
    return ask(url, lambda coder: coder.code(CodingRequest(text=text, **options), "r-1"))


def test_a_text_is_coded(upstream: UpstreamServer, codes: CodeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "answer", lambda text: ["E11.621", "I10"] if "T2DM" in text else ["R07.9"])
    response = code(upstream.url, "T2DM w/ foot ulcer, HTN. Denies chest pain.", id="mine")
    assert (response.request_id, response.id, response.n_parts, response.truncated) == ("r-1", "mine", 1, False)
    assert [one.code for one in response.codes] == ["E11.621", "I10"] and response.candidates == ()
    assert (response.model.name, response.model.sha256, response.model.engine) == (MODEL, SHA256, "vllm")
    assert (response.release, response.calibrated, response.threshold) == (codes.release, False, 0)
    first = response.codes[0]
    assert (first.title, first.category_title) == (codes.title("E11.621"), codes.title("E11"))
    assert first.confidence == pytest.approx(math.exp(-0.1), abs=1e-4)
    # the model holds E11.621 probable where it reads T2DM, and the shortest such piece is kept
    assert [(span.text, span.support) for span in first.evidence] == [("T2DM w/ foot ulcer", 0.9048)]
    assert first.evidence[0].assertion == "affirmed"


def test_a_started_coder_has_built_what_the_first_text_needs(upstream: UpstreamServer) -> None:
    def list_built(coder: Coder) -> list[object]:
        knowledge = coder._checker.knowledge
        kept = (coder._lexicon, knowledge, knowledge.tabular, knowledge.codes)
        return [*(sorted(vars(one)) for one in kept), _read_triggers.cache_info().currsize]

    async def use(coder: Coder) -> tuple[list[object], list[object]]:
        before = list_built(coder)
        await coder.code(CodingRequest(text="T2DM w/ foot ulcer, HTN. Denies chest pain."), "r")
        return before, list_built(coder)

    cold = list_built(Coder(upstream.url))
    before, after = ask(upstream.url, use)
    assert before == after and cold != after


@pytest.mark.parametrize("kind", ["end", "reset"])
def test_a_kept_connection_that_closes_under_a_request_is_opened_again(kind: str) -> None:
    """As uvicorn does it with one that was idle for its five seconds just when the request comes."""

    async def run() -> tuple[bool, list[int]]:
        requests: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = len(requests)
            requests.append(0)
            while await reader.readline():
                requests[number] += 1
                while (await reader.readline()).strip():
                    pass
                if number == 0 and requests[0] == 2:
                    if kind == "reset":
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", connections=1)
        try:
            alive = [await upstream.is_alive() for _ in range(3)]
        finally:
            await upstream.close()
            server.close()
        return all(alive), requests

    assert asyncio.run(run()) == (True, [2, 2])


def test_connections_are_kept_for_less_than_a_server_keeps_them() -> None:
    from uvicorn import Config

    assert Config("").timeout_keep_alive > _IDLE_SECONDS


def test_many_texts_at_once_keep_their_answers_apart(upstream: UpstreamServer) -> None:
    texts = [f"condition number {number}" for number in range(80)]

    async def code_all(coder: Coder) -> list[CodingResponse]:
        requests = [CodingRequest(text=text, id=text, evidence=False) for text in texts]
        return await asyncio.gather(*(coder.code(request, "r") for request in requests))

    before = upstream.sent["/icdtune"]
    responses = ask(upstream.url, code_all)
    assert [[one.code for one in response.codes] for response in responses] == [upstream.answer(text) for text in texts]
    assert upstream.sent["/icdtune"] == before + 1


def test_one_piece_of_text_needs_no_question_for_its_evidence(upstream: UpstreamServer) -> None:
    code(upstream.url, "gout")
    before = len(upstream.seen), upstream.sent["/v1/chat/completions"]
    response = code(upstream.url, "essential hypertension")
    assert upstream.sent["/v1/chat/completions"] - before[1] == 3, "two to measure the model, one for the answer"
    assert all(one.evidence[0].support == pytest.approx(math.exp(-0.1), abs=1e-4) for one in response.codes)


def test_questions_for_evidence_are_bounded(upstream: UpstreamServer) -> None:
    text = "; ".join(["hypertension", "type 2 diabetes", "gout", "asthma", "fracture of femur", "poisoning"] * 4)
    before = upstream.sent["/v1/chat/completions"]
    ask(upstream.url, lambda coder: coder.code(CodingRequest(text=text), "r"), max_evidence=2)
    assert upstream.sent["/v1/chat/completions"] - before <= 5


@pytest.mark.parametrize(
    ("mode", "kind", "status"),
    [
        ("broken", UpstreamDownError, 503),
        ("reset", UpstreamDownError, 503),
        ("cut", UpstreamDownError, 503),
        ("busy", UpstreamBusyError, 503),
        ("hang", UpstreamTimeoutError, 504),
        ("garbage", CodingFailure, 502),
        ("refuse", CodingFailure, 502),
    ],
)
def test_failures_have_a_kind_and_say_nothing_of_the_text(
    upstream: UpstreamServer, mode: str, kind: type[CodingFailure], status: int
) -> None:
    async def fail(coder: Coder) -> CodingFailure:
        await coder.code(CodingRequest(text="gout"), "r")
        upstream.mode = mode
        with pytest.raises(kind) as caught:
            await coder.code(CodingRequest(text=SECRET), "r")
        assert await coder.is_ready() is False
        upstream.mode = "well"
        assert (await coder.code(CodingRequest(text=SECRET), "r")).codes, "it recovers"
        return caught.value

    error = ask(upstream.url, fail, timeout=0.5)
    assert type(error) is kind or kind is CodingFailure
    assert error.status == status and (error.retry_after is not None) == (status in (503, 504))
    assert not any(word in str(error) for word in SECRET.replace(",", "").split())
    assert error.__context__ is None or error.__suppress_context__, "no traceback shows what was sent"


def test_a_server_that_comes_later_is_found() -> None:
    port = find_test_port(18_900)

    async def wait(coder: Coder) -> CodingResponse:
        with pytest.raises(UpstreamDownError):
            await coder.code(CodingRequest(text="gout"), "r")
        assert coder.facts.models == {}
        with start_upstream(port):
            return await coder.code(CodingRequest(text="gout"), "r")

    assert ask(f"http://127.0.0.1:{port}/v1", wait).model.sha256 == SHA256


def test_models_are_chosen_by_name(upstream: UpstreamServer) -> None:
    assert code(upstream.url, "gout", model=MODEL).model.name == MODEL
    with pytest.raises(UnknownModelError, match="did you mean 'icdtune'"):
        code(upstream.url, "gout", model="icdtunes")
    with pytest.raises(ConfigError, match="base_url"):
        Coder("nowhere")


def test_a_long_text_is_read_in_parts_whose_spans_are_those_of_the_whole(
    upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "answer", lambda text: ["M10.9", "I10"] if "gout" in text else ["I10"])
    text = "\n".join(
        f"{number}. pain in the {side} knee, gout and hypertension" for number in range(300) for side in ("left", "right")
    )
    response = code(upstream.url, text)
    assert response.n_parts > 3 and [one.code for one in response.codes] == ["M10.9", "I10"] and not response.truncated
    spans = [span for one in (*response.codes, *response.candidates) for span in one.evidence]
    assert len(spans) >= 2 and all(text[span.start : span.end] == span.text for span in spans)
    short = code(upstream.url, text, long_text="truncate", evidence=False)
    assert short.n_parts == 1 and short.truncated
    with pytest.raises(TextTooLongError, match="longer than the model reads"):
        code(upstream.url, text, long_text="whole")
    with pytest.raises(TextTooLongError, match="parts of what the model reads"):
        ask(upstream.url, lambda coder: coder.code(CodingRequest(text=text), "r"), max_parts=3)


def test_lists_are_read_condition_by_condition_where_the_model_says_so(
    upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "answer", lambda text: ["M10.9"] if "gout" in text else ["I10"])
    text = "1. gout\n2. hypertension"
    assert code(upstream.url, text).n_parts == 1, "read whole, as usual"
    monkeypatch.setattr(upstream, "long_text", "conditions")
    response = code(upstream.url, text)
    assert response.n_parts == 2 and [one.code for one in response.codes] == ["M10.9", "I10"]
    assert [span.text for one in response.codes for span in one.evidence] == ["gout", "hypertension"]
    assert code(upstream.url, text, long_text="chunks").n_parts == 1, "a request says otherwise"
    many = "\n".join(f"{number}. gout" for number in range(40))
    assert ask(upstream.url, lambda coder: coder.code(CodingRequest(text=many), "r"), max_parts=8).n_parts < 8
    monkeypatch.setattr(upstream, "long_text", "somehow")
    assert code(upstream.url, text).n_parts == 1, "a way of a later version"


def test_joined_conditions_are_read_apart_where_the_model_is_surer(
    upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"gout": ["M10.9"], "asthma": ["J45.909"], "Syncope and collapse": ["R55"]}
    # each code has a confidence of 0.9: the five of a guess are worth less than one for each part
    monkeypatch.setattr(upstream, "answer", lambda text: alone.get(text, ["A00.0", "A00.1", "A00.9", "A01.00", "A01.01"]))
    monkeypatch.setattr(upstream, "long_text", "conditions")
    response = code(upstream.url, "1. gout & asthma\n2. Syncope and collapse")
    assert response.n_parts == 3 and [one.code for one in response.codes] == ["M10.9", "J45.909", "R55"]
    assert [span.text for one in response.codes for span in one.evidence] == ["gout", "asthma", "Syncope and collapse"]
    monkeypatch.setattr("serving.coding.coder.SURE", 0.89)
    seen = len(upstream.seen)
    assert [one.code for one in code(upstream.url, "Syncope and collapse", evidence=False).codes] == ["R55"]
    assert upstream.seen[seen:].count("Syncope and collapse") == 1 and "collapse" not in upstream.seen[seen:]
    few = ask(upstream.url, lambda coder: coder.code(CodingRequest(text="gout & asthma"), "r"), max_parts=1)
    assert few.n_parts == 1 and len(few.codes) == 5, "no more questions than parts are allowed"


def test_a_long_text_is_searched_away_from_the_event_loop(upstream: UpstreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    for name in ("shortlist", "choose"):
        method = getattr(Reading, name)

        def record(*given: Any, _method: Callable[..., Any] = method) -> Any:
            threads.append(threading.current_thread())
            return _method(*given)

        monkeypatch.setattr(Reading, name, record)
    monkeypatch.setattr(upstream, "answer", lambda text: ["M10.9"])

    async def use(coder: Coder) -> list[bool]:
        threads.clear()
        await coder.code(CodingRequest(text="gout, hypertension. " * 150), "r")
        return [thread is threading.current_thread() for thread in threads]

    assert ask(upstream.url, use) == [False, False]


def test_parts_that_prove_too_long_are_made_smaller(upstream: UpstreamServer) -> None:
    text = "a b c d e f g h i j. " * 400

    async def misjudge(coder: Coder) -> CodingResponse:
        card = coder.facts.models[MODEL]
        coder.facts = coder.facts._replace(models={MODEL: card._replace(context=20_000)})
        return await coder.code(CodingRequest(text=text, evidence=False), "r")

    assert ask(upstream.url, misjudge).n_parts > 1


def test_whoever_stops_waiting_stops_the_work(upstream: UpstreamServer) -> None:
    async def cancel(coder: Coder) -> None:
        await coder.code(CodingRequest(text="gout"), "r")
        upstream.mode, upstream.delay = "slow", 5.0
        task = asyncio.create_task(coder.code(CodingRequest(text="a. " * 3000), "r"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        upstream.mode = "well"
        await coder.code(CodingRequest(text="gout"), "r")

    ask(upstream.url, cancel)


def test_a_calibration_sets_confidence_and_threshold(upstream: UpstreamServer) -> None:
    async def calibrate(coder: Coder) -> CodingResponse:
        card = coder.facts.models[MODEL]._replace(
            calibration=Calibration(Curve("temperature", {"temperature": 0.1}), 0.5, None, {})
        )
        coder.facts = coder.facts._replace(models={MODEL: card})
        return await coder.code(CodingRequest(text="gout"), "r")

    response = ask(upstream.url, calibrate)
    assert response.calibrated and response.threshold == 0.5 and response.abstained
    assert all(one.confidence == pytest.approx(math.exp(-1), abs=1e-4) for one in response.candidates)
    assert ask(upstream.url, calibrate, threshold=0.3).abstained is False, "the server's own threshold comes first"


def test_a_server_of_another_kind_is_taken_as_it_is() -> None:
    with start_chat() as server:
        response = code(server.url, "e11.621, i10 and b99")
        assert [one.code for one in response.codes] == ["E11.621", "I10"]
        assert (response.model.name, response.model.sha256, response.calibrated) == ("coder", None, False)
        assert all(one.confidence is not None for one in response.codes)
        assert all(span.support is None for one in response.codes for span in one.evidence)
        (unknown,) = code(server.url, "silent").codes
        assert unknown.confidence is None and unknown.alternatives == ()
        server.key = "k"
        with pytest.raises(CodingFailure, match="refuses the key"):
            code(server.url, "i10")
        assert ask(server.url, lambda coder: coder.code(CodingRequest(text="i10"), "r"), api_key="k").codes
