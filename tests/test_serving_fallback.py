"""The server over transformers: what OpenAI clients do works, answers are the engine's own, nothing is mixed up."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from hostile_bodies import list_hostile
from processes import find_test_port
from server_load import Load, press
from test_serving_middleware import Recorder

from icd10cm import CodeSet
from icd10cm.config import check_settings, read_yaml
from icd10cm.errors import EngineError
from serving import hardware, serve
from serving.checkpoint import check_checkpoint
from serving.command import ServeSettings
from serving.engines import build_engine
from serving.fallback.jobs import Sampling
from serving.fallback.keys import KEY_VARIABLE, RequireKey
from serving.fallback.writer import draw_token
from serving.process import Server, choose_server, start_server

ROOT = Path(__file__).parent.parent
OFF: Any = {"vllm_xargs": {"constrain": "off"}}
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The fallback with the settings that ship, on the random checkpoint."""
    values = read_yaml(ROOT / "configs" / "serving" / "transformers.yaml")
    log_file = tmp_path_factory.mktemp("fallback") / "server.log"
    changed = {"model": random_checkpoint, "port": find_test_port(18800), "log_file": log_file}
    with start_server(check_settings(ServeSettings, values | changed, "test"), progress=False) as started:
        yield started


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)


def list_titles(codes: CodeSet, n: int) -> list[str]:
    return [codes.title(code) for code in codes.codes[:: len(codes) // n]][:n]


def test_auto_falls_back_where_vllm_is_missing(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise EngineError("vLLM is not installed in this environment; run this or that")

    monkeypatch.setattr(hardware, "find_vllm", fail)
    checkpoint = check_checkpoint(random_checkpoint)
    engine, notice = choose_server(ServeSettings(model=random_checkpoint), checkpoint)
    assert engine == "transformers" and notice.endswith("slower than vLLM: vLLM is not installed in this environment")
    with pytest.raises(EngineError, match="run this or that"):
        choose_server(ServeSettings(model=random_checkpoint, engine="vllm"), checkpoint)


@pytest.mark.skipif(not hardware.is_cpu_build(), reason="head sizes are a limit of vLLM's build for CPUs")
def test_auto_falls_back_from_a_shape_that_vllm_does_not_know(
    random_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(random_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"head_dim": 16}))
    arguments = ["--config", str(ROOT / "configs" / "serving" / "vllm.yaml"), "--model", str(folder), "--dry-run"]
    assert serve.run(arguments) == 0
    said = capsys.readouterr()
    assert "notice: served by transformers" in said.err and "size 16" in said.err
    words = shlex.split(said.out.replace("\\\n", " "))
    assert words[words.index("-m") + 1] == "serving.fallback.serve" and str(folder) in words
    assert serve.run([*arguments, "--engine", "vllm"]) == 2
    assert "size 16 cannot be served by vLLM" in capsys.readouterr().err


def test_a_build_for_a_gpu_that_is_not_there_is_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "find_vllm", lambda: "vllm 0.32.0")
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(EngineError, match="needs a GPU and there is none"):
        hardware.check_vllm()


@pytest.mark.parametrize(("key", "given", "status"), [("secret", b"Bearer secret", 200), ("secret", b"", 401), ("", b"", 200)])
def test_a_key_for_vllm_is_asked_for_here_too(monkeypatch: pytest.MonkeyPatch, key: str, given: bytes, status: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setenv(KEY_VARIABLE, key)
    scope = {"type": "http", "path": "/v1/models", "headers": [(b"authorization", given)]}
    asyncio.run(RequireKey(Recorder())(scope, receive_nothing, send))
    assert sent[0]["status"] == status
    sent.clear()
    asyncio.run(RequireKey(Recorder())({**scope, "path": "/health"}, receive_nothing, send))
    assert sent[0]["status"] == 200


async def receive_nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_draws_follow_the_probabilities_that_are_left() -> None:
    import torch

    logits = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3])) * 2

    def count(sampling: Sampling) -> list[float]:
        random = np.random.default_rng(1)
        drawn = Counter(draw_token(logits, sampling, random) for _ in range(4000))
        return [drawn[token] / 4000 for token in range(4)]

    assert count(Sampling(2.0)) == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.03)
    assert count(Sampling(2.0, top_k=2)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.03)
    assert count(Sampling(2.0, top_p=0.75)) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=0.03)
    assert count(Sampling(2.0, min_p=0.6)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.03)
    assert count(Sampling(1e-6)) == [0, 1, 0, 0]


@slow
def test_answers_and_scores_are_those_of_the_engine(server: Server, random_checkpoint: Path, codes: CodeSet) -> None:
    for constrained in (True, False):
        options: Any = {"constrained": constrained, "max_tokens": 40, "progress": False}
        local = build_engine("transformers", model=random_checkpoint, **options).generate(list_titles(codes, 32))
        served = build_engine("endpoint", base_url=server.base_url, **options).generate(list_titles(codes, 32))
        assert [answer.text for answer in local] == [answer.text for answer in served]
        assert [answer.finish_reason for answer in local] == [answer.finish_reason for answer in served]
        for first, second in zip(local, served, strict=True):
            assert first.score == pytest.approx(second.score, abs=1e-3)
            if constrained:  # what is written freely may hold separators within a token
                assert dict(first.code_scores) == pytest.approx(dict(second.code_scores), abs=1e-3)


@slow
def test_all_ways_of_asking_give_the_same_answer(client: openai.OpenAI, codes: CodeSet) -> None:
    text = "T2DM w/ foot ulcer"
    messages: Any = [{"role": "user", "content": text}]
    plain = client.completions.create(model="icdtune", prompt=text)
    answer = plain.choices[0].text
    stream = client.completions.create(model="icdtune", prompt=text, stream=True)
    chat = client.chat.completions.create(model="icdtune", messages=messages)
    usage = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="icdtune", messages=messages, stream=True, stream_options=usage))  # type: ignore[call-overload]

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="none") as asynchronous:
            return (await asynchronous.completions.create(model="icdtune", prompt=text)).choices[0].text

    assert answer and set(answer.rstrip(", ").split(", ")) <= set(codes.codes)
    assert "".join(chunk.choices[0].text for chunk in stream) == answer
    assert chat.choices[0].message.content == answer == asyncio.run(ask())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == answer
    assert chunks[-2].choices[0].finish_reason == chat.choices[0].finish_reason
    assert chunks[-1].usage == chat.usage and plain.usage and plain.usage.total_tokens == chat.usage.total_tokens


@slow
def test_draws_stops_and_limits(client: openai.OpenAI, codes: CodeSet) -> None:
    def draw(**options: Any) -> list[str]:
        reply = client.completions.create(model="icdtune", prompt=["gout", "copd"], n=3, max_tokens=40, **options)
        assert [choice.index for choice in reply.choices] == list(range(6))
        return [choice.text for choice in reply.choices]

    first = draw(temperature=1.0, seed=5)
    assert first == draw(temperature=1.0, seed=5) != draw(temperature=1.0, seed=6)
    assert len(set(first)) > 3 and set().union(*(text.rstrip(", ").split(", ") for text in first)) <= set(codes.codes)
    cut = client.completions.create(model="icdtune", prompt="gout", stop=["."], max_tokens=40).choices[0]
    whole = client.completions.create(model="icdtune", prompt="gout", max_tokens=40).choices[0]
    assert cut.text == whole.text.partition(".")[0] and cut.finish_reason == "stop"
    stream = client.completions.create(model="icdtune", prompt="gout", stop=["."], max_tokens=40, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == cut.text
    free = client.completions.create(model="icdtune", prompt="gout", max_tokens=3, extra_body=OFF)
    assert free.usage and free.usage.completion_tokens == 3 and free.choices[0].finish_reason == "length"


@slow
def test_logprobs_of_answers_and_of_prompts(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "gout"}]
    chat = client.chat.completions.create(model="icdtune", messages=messages, logprobs=True, top_logprobs=3)
    plain = client.completions.create(model="icdtune", prompt="gout", logprobs=3).choices[0]
    answer = chat.choices[0].message.content or ""
    assert chat.choices[0].logprobs and chat.choices[0].logprobs.content and plain.logprobs and plain.logprobs.tokens
    written = chat.choices[0].logprobs.content
    assert [token.token for token in written] == plain.logprobs.tokens
    assert "".join(plain.logprobs.tokens).removesuffix("<|end|>") == answer
    assert all(len(token.top_logprobs) == 3 and token.bytes == list(token.token.encode()) for token in written)
    assert [token.logprob for token in written] == pytest.approx(plain.logprobs.token_logprobs, abs=1e-4)
    # the same answer as part of the prompt has the same log-probabilities
    scoring = {"add_generation_prompt": False, "continue_final_message": True, "prompt_logprobs": 0}
    given: Any = [*messages, {"role": "assistant", "content": answer}]
    scored: Any = client.chat.completions.create(model="icdtune", messages=given, max_tokens=1, extra_body=scoring)
    assert scored.prompt_logprobs[0] is None and len(scored.prompt_logprobs) == scored.usage.prompt_tokens
    last = [next(iter(token.values())) for token in scored.prompt_logprobs[1:]]
    ended = written[: -1 if written[-1].token == "<|end|>" else None]
    assert [token["logprob"] for token in last[-len(ended) :]] == pytest.approx([token.logprob for token in ended], abs=1e-3)
    assert [token["decoded_token"] for token in last[-len(ended) :]] == [token.token for token in ended]


@slow
def test_64_clients_are_not_mixed_up(client: openai.OpenAI, codes: CodeSet) -> None:
    texts = list_titles(codes, 64)

    def ask(number: int) -> str:
        reply = client.completions.create(model="icdtune", prompt=texts[number % 64], max_tokens=24 + number // 64)
        assert reply.usage and reply.usage.completion_tokens <= 24 + number // 64
        return reply.choices[0].text

    alone = [ask(number) for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(ask, [*range(64), *range(64)]))
    assert together == alone * 2 and len(set(alone)) > 50


@slow
def test_nothing_is_written_for_a_client_that_has_gone(client: openai.OpenAI) -> None:
    alone = time_call(lambda: client.completions.create(model="icdtune", prompt="gout", max_tokens=8))
    hasty = client.with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        hasty.completions.create(model="icdtune", prompt=["gout"] * 400, n=8, temperature=1.0, max_tokens=240, extra_body=OFF)
    assert time_call(lambda: client.completions.create(model="icdtune", prompt="gout", max_tokens=8)) < alone + 20


def time_call(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


@slow
def test_hostile_requests_get_4xx_and_the_server_goes_on(client: openai.OpenAI, server: Server) -> None:
    statuses = press(server.base_url, list_hostile())
    assert set(statuses) <= {200, 400, 404, 413, 415, 422}, Counter(statuses)
    assert client.completions.create(model="icdtune", prompt="gout").choices


@slow
def test_what_it_cannot_do_it_says(client: openai.OpenAI) -> None:
    for body in ({"logit_bias": {"5": 1}}, {"best_of": 3}, {"min_tokens": 4}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="icdtune", prompt="a private note", extra_body=body)
        assert next(iter(body)) in str(caught.value) and "private" not in str(caught.value)
    with pytest.raises(openai.NotFoundError, match="this server has 'icdtune'"):
        client.completions.create(model="gpt", prompt="gout")
    with pytest.raises(openai.BadRequestError, match="reads 256"):
        client.completions.create(model="icdtune", prompt="ulcer " * 400)


@slow
def test_it_says_what_it_is(client: openai.OpenAI, server: Server) -> None:
    (model,) = client.models.list().data
    assert model.id == "icdtune" and server.engine == "transformers"
    with urllib.request.urlopen(server.base_url.removesuffix("/v1") + "/icdtune", timeout=30) as reply:
        facts = json.load(reply)
        assert reply.headers["X-ICDTune-Release"] == "2026"
    assert facts["models"]["icdtune"]["engine"] == "transformers" and "slower than vLLM" in facts["notice"]


@slow
def test_sigterm_lets_requests_finish(server: Server) -> None:
    """The last test: it ends the server."""
    load = Load(server.base_url, n_clients=8)
    load.wait_until_under_way()
    server.process.send_signal(signal.SIGTERM)
    assert load.wait_until_refused() < 10
    assert server.process.wait(timeout=60) == 0
    assert load.n_late > 0 and load.n_lost == 0
