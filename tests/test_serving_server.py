"""A real vLLM server, started with the settings that ship, on a checkpoint with random weights."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from hostile_bodies import list_hostile
from processes import find_test_port, is_running, list_family
from server_load import Load, press

from icd10cm import CodeSet
from icd10cm.errors import EngineError
from icd10cm.run_header import hash_file
from serving import code
from serving.coding.coder import Coder
from serving.coding.local import LocalModel
from serving.coding.models import CodingRequest, CodingResponse
from serving.command import ServeSettings
from serving.engines import Alternatives, build_engine
from serving.process import Server, start_server
from serving.prompting import load_tokenizer, read_frame

pytestmark = pytest.mark.slow

OFF = {"vllm_xargs": {"constrain": "off"}}
ROOT = Path(__file__).parent.parent


@pytest.fixture
def client(vllm_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=vllm_server.base_url, api_key="none", max_retries=0)


def split_codes(text: str) -> list[str]:
    """Return the codes of an answer; a separator at its end means that the token limit cut it there."""
    return text.rstrip(", ").split(", ") if text.strip(", ") else []


def test_models_health_and_start(client: openai.OpenAI, vllm_server: Server) -> None:
    (model,) = client.models.list().data
    assert model.id == vllm_server.model == "icdtune"
    assert 0 < vllm_server.seconds < 300 and vllm_server.log_file.stat().st_size > 1000


def test_200_prompts_give_existing_codes_only(client: openai.OpenAI, codes: CodeSet) -> None:
    texts = [codes.title(code) for code in codes.codes[:: len(codes) // 200]][:200]

    def ask(text: str) -> str:
        reply = client.completions.create(model="icdtune", prompt=text, temperature=1.0, seed=5)
        return reply.choices[0].text

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, texts))
    written = [code for answer in answers for code in split_codes(answer)]
    assert len(answers) == 200 and len(set(written)) > 200
    assert set(written) <= set(codes.codes)


def test_completions_chat_and_streams_answer_alike(client: openai.OpenAI, codes: CodeSet) -> None:
    text = "T2DM w/ foot ulcer"
    messages: Any = [{"role": "user", "content": text}]
    plain = client.completions.create(model="icdtune", prompt=text).choices[0]
    chat = client.chat.completions.create(model="icdtune", messages=messages).choices[0]
    stream = client.completions.create(model="icdtune", prompt=text, stream=True)
    chat_stream = client.chat.completions.create(model="icdtune", messages=messages, stream=True)
    assert set(split_codes(plain.text)) <= set(codes.codes) and split_codes(plain.text)
    assert chat.message.content == plain.text
    assert "".join(chunk.choices[0].text for chunk in stream) == plain.text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chat_stream) == plain.text


def test_the_prompt_is_the_one_of_training(client: openai.OpenAI, random_checkpoint: Path) -> None:
    tokenizer = load_tokenizer(random_checkpoint)
    frame = read_frame(tokenizer, random_checkpoint)
    wrapped = frame.wrap("gout")
    ids = tokenizer.encode(wrapped, add_special_tokens=False)
    answers = set()
    for prompt in ("gout", wrapped, ids):
        reply = client.completions.create(model="icdtune", prompt=prompt, max_tokens=60)
        assert reply.usage and reply.usage.prompt_tokens == len(ids)
        answers.add(reply.choices[0].text)
    raw = client.completions.create(model="icdtune", prompt="gout", max_tokens=60, extra_headers={"X-ICDTune-Raw": "1"})
    assert len(answers) == 1 and raw.usage and raw.usage.prompt_tokens < len(ids)


def test_several_answers_and_logprobs(client: openai.OpenAI, codes: CodeSet) -> None:
    reply = client.completions.create(model="icdtune", prompt=["gout", "copd"], n=2, temperature=1.0, logprobs=2)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    for choice in reply.choices:
        assert set(split_codes(choice.text)) <= set(codes.codes)
        assert choice.logprobs and choice.logprobs.tokens
        assert "".join(choice.logprobs.tokens).replace("<|end|>", "") == choice.text
        assert all(value is not None and -100 < value <= 0 for value in choice.logprobs.token_logprobs or [])
    assert len({choice.text for choice in reply.choices}) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 1},
        {"max_tokens": 5},
        {"max_tokens": 11},
        {"max_tokens": 40, "extra_body": {"min_tokens": 40}},
        {"max_tokens": 40, "extra_body": {"ignore_eos": True}},
        {"max_tokens": 40, "extra_body": {"ignore_eos": True, "min_tokens": 40}},
        {"max_tokens": 40, "extra_body": {"allowed_token_ids": [5, 6]}},
        {"max_tokens": 40, "extra_body": {"bad_words": ["A", "1"]}},
        {"max_tokens": 40, "logit_bias": {"40": 100}},
        {"max_tokens": 40, "presence_penalty": 2.0, "frequency_penalty": 2.0},
        {"max_tokens": 40, "temperature": 2.0, "top_p": 0.5, "extra_body": {"top_k": 3, "min_p": 0.1}},
        {"max_tokens": 40, "stop": [","]},
        {"prompt": ""},
        {"prompt": "ulcer " * 70},
    ],
    ids=lambda options: str(options)[:60],
)
def test_no_option_breaks_a_code(client: openai.OpenAI, codes: CodeSet, options: dict[str, Any]) -> None:
    reply = client.completions.create(model="icdtune", **({"prompt": "gout", "seed": 1} | options))
    assert set(split_codes(reply.choices[0].text)) <= set(codes.codes)


def test_a_request_can_switch_the_limit_off(client: openai.OpenAI, codes: CodeSet) -> None:
    kept = client.completions.create(model="icdtune", prompt="gout", max_tokens=20).choices[0].text
    free = client.completions.create(model="icdtune", prompt="gout", max_tokens=20, extra_body=OFF).choices[0].text
    assert set(split_codes(kept)) <= set(codes.codes)
    assert free != kept and not set(split_codes(free)) <= set(codes.codes)
    messages: Any = [{"role": "user", "content": "gout"}]
    chat = client.chat.completions.create(model="icdtune", messages=messages, max_tokens=20, extra_body=OFF)
    assert chat.choices[0].message.content == free


def test_free_and_limited_requests_side_by_side_stay_what_they_are(client: openai.OpenAI, codes: CodeSet) -> None:
    alone = {
        free: client.completions.create(model="icdtune", prompt="copd", max_tokens=30, extra_body=OFF if free else None)
        for free in (True, False)
    }

    def ask(number: int) -> bool:
        free = number % 3 == 0
        reply = client.completions.create(
            model="icdtune", prompt="copd", max_tokens=30 - number % 2, extra_body=OFF if free else None
        )
        return number % 2 == 1 or reply.choices[0].text == alone[free].choices[0].text

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(64)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"vllm_xargs": {"constrain": "no"}}, "'on', 'repeats' or 'off'"),
        ({"response_format": {"type": "json_object"}}, "constrain"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, "constrain"),
        ({"use_beam_search": True, "n": 2}, "beam search"),
    ],
    ids=str,
)
def test_what_cannot_hold_is_refused_with_400(client: openai.OpenAI, body: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        client.completions.create(model="icdtune", prompt="gout", extra_body=body)
    assert client.completions.create(model="icdtune", prompt="gout").choices


def test_without_the_limit_a_request_may_bring_its_own_format(client: openai.OpenAI) -> None:
    body = OFF | {"structured_outputs": {"choice": ["alpha", "beta"]}}
    reply = client.completions.create(model="icdtune", prompt="gout", extra_body=body)
    assert reply.choices[0].text in ("alpha", "beta")


def test_hostile_requests_get_4xx_and_hurt_nobody(client: openai.OpenAI, vllm_server: Server) -> None:
    before = client.completions.create(model="icdtune", prompt="gout").choices[0].text
    statuses = press(vllm_server.base_url, list_hostile())
    assert len(statuses) > 500 and set(statuses) <= {200, 400, 404, 413, 415, 422}, Counter(statuses)
    assert client.completions.create(model="icdtune", prompt="gout").choices[0].text == before


def test_the_server_says_what_it_serves(vllm_server: Server, random_checkpoint: Path) -> None:
    with urllib.request.urlopen(vllm_server.base_url.removesuffix("/v1") + "/icdtune", timeout=30) as reply:
        model = json.load(reply)["models"]["icdtune"]
    assert model["engine"] == "vllm" and model["sha256"] == hash_file(random_checkpoint / "model.safetensors")


def test_curl(vllm_server: Server, codes: CodeSet) -> None:
    body = shlex.quote(json.dumps({"model": "icdtune", "prompt": "T2DM w/ foot ulcer"}))
    command = f"curl -s {vllm_server.base_url}/completions -H 'Content-Type: application/json' -d {body}"
    reply = json.loads(subprocess.run(shlex.split(command), capture_output=True, check=True, timeout=60).stdout)
    assert set(split_codes(reply["choices"][0]["text"])) <= set(codes.codes)


@pytest.mark.parametrize("constrained", [True, False])
def test_transformers_and_vllm_answer_alike(
    vllm_server: Server, random_checkpoint: Path, codes: CodeSet, constrained: bool
) -> None:
    texts = [codes.title(code) for code in codes.codes[:: len(codes) // 64]]
    options: Any = {"constrained": constrained, "max_tokens": 40, "progress": False}
    local = build_engine("transformers", model=random_checkpoint, **options).generate(texts)
    served = build_engine("endpoint", base_url=vllm_server.base_url, **options).generate(texts)
    # vLLM leaves out an unfinished character at the very end, as random weights write them
    assert [answer.text.rstrip("\ufffd") for answer in local] == [answer.text.rstrip("\ufffd") for answer in served]
    assert [answer.finish_reason for answer in local] == [answer.finish_reason for answer in served]
    for first, second in zip(local, served, strict=True):
        assert first.score == pytest.approx(second.score, abs=1e-3)
        if constrained:
            assert [code for code, _ in first.code_scores] == [code for code, _ in second.code_scores]
            assert dict(first.code_scores) == pytest.approx(dict(second.code_scores), abs=1e-3)


def test_a_model_that_repeats_itself_writes_no_code_twice(
    client: openai.OpenAI, vllm_server: Server, random_checkpoint: Path, codes: CodeSet
) -> None:
    """With `min_tokens` random weights write on until there is no room; left alone they fall into writing the same again."""
    texts = [codes.title(code) for code in codes.codes[:: len(codes) // 32]][:32]
    long: Any = {"model": "icdtune", "max_tokens": 80}

    def ask(text: str) -> list[list[str]]:
        forced = {"extra_body": {"min_tokens": 80}}
        greedy = client.completions.create(prompt=text, **long, **forced).choices
        drawn = client.completions.create(prompt=text, **long, **forced, temperature=1.0, n=2, seed=3).choices
        return [split_codes(choice.text) for choice in (*greedy, *drawn)]

    with ThreadPoolExecutor(32) as pool:
        written = [one for answers in pool.map(ask, texts) for one in answers]
    assert all(len(set(one)) == len(one) and set(one) <= set(codes.codes) for one in written)
    assert sum(len(one) > 3 for one in written) > 48
    served = build_engine("endpoint", base_url=vllm_server.base_url, max_tokens=80, progress=False).generate(texts)
    local = build_engine("transformers", model=random_checkpoint, max_tokens=80, progress=False).generate(texts)
    assert [(answer.text, answer.finish_reason) for answer in served] == [(one.text, one.finish_reason) for one in local]
    assert any(len(split_codes(answer.text)) > 2 for answer in local)
    # as our own clients ask: a model kept from a repeat would write a code that it does not mean
    free = {"extra_body": {"min_tokens": 80, "vllm_xargs": {"constrain": "repeats"}}}
    repeating = [split_codes(client.completions.create(prompt=text, **long, **free).choices[0].text) for text in texts[:8]]
    assert any(len(set(one)) < len(one) for one in repeating)
    assert all(set(one) <= set(codes.codes) for one in repeating)


def test_draws_of_the_server_are_codes_and_the_same_again(vllm_server: Server, codes: CodeSet) -> None:
    drawn = Alternatives("sampling", 5, 1)
    options: Any = {"base_url": vllm_server.base_url, "max_tokens": 40, "alternatives": drawn, "progress": False}
    first, again = (build_engine("endpoint", **options).generate(["gout", "copd, htn"]) for _ in range(2))
    assert [answer.samples for answer in first] == [answer.samples for answer in again]
    for answer in first:
        assert len({sample.text for sample in answer.samples}) > 1
        assert set().union(*(split_codes(sample.text) for sample in answer.samples)) <= set(codes.codes)
        assert all(sample.code_scores for sample in answer.samples)


def test_many_seeded_draws_of_long_texts_do_not_stop_the_server(client: openai.OpenAI, codes: CodeSet) -> None:
    texts = [" ".join(codes.title(code) for code in codes.codes[place : place + 4]) for place in range(0, 960, 20)]

    def ask(text: str) -> bool:
        reply = client.completions.create(model="icdtune", prompt=text[:300], temperature=1.0, n=3, seed=7, max_tokens=20)
        return all(set(split_codes(choice.text)) <= set(codes.codes) for choice in reply.choices)

    with ThreadPoolExecutor(48) as pool:
        assert all(pool.map(ask, texts))


def test_the_command_line_asks_the_server(vllm_server: Server, codes: CodeSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert code.run(["gout", "--base-url", vllm_server.base_url, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["text"] == "gout" and row["codes"]
    assert all(codes.title(found["code"]) == found["title"] for found in row["codes"])


def test_the_coder_says_the_same_over_vllm_and_in_process(vllm_server: Server, random_checkpoint: Path, codes: CodeSet) -> None:
    texts = ["gout", "T2DM w/ foot ulcer, HTN", "Denies chest pain. Family history: stroke\nfracture of the left femur"]

    async def code_all(backend: Any) -> list[CodingResponse]:
        coder = Coder(backend, codes=codes)
        await coder.start()
        try:
            requests = [CodingRequest(text=text, alternatives=10) for text in texts]
            return await asyncio.gather(*(coder.code(request, "r") for request in requests))
        finally:
            await coder.close()

    served = asyncio.run(code_all(vllm_server.base_url))
    here = asyncio.run(code_all(LocalModel(random_checkpoint, codes, max_tokens=512)))
    n_supports = 0
    for one, other in zip(served, here, strict=True):
        assert one.model.sha256 == other.model.sha256 and one.codes
        assert [coded.code for coded in one.codes] == [coded.code for coded in other.codes]
        for ours, theirs in zip(one.codes, other.codes, strict=True):
            assert codes.is_billable(ours.code) and ours.confidence == pytest.approx(theirs.confidence, abs=0.01)
            assert {a.code for a in ours.alternatives if a.confidence > 0.05} <= {
                a.code for a in theirs.alternatives if a.confidence > 0.03
            }
            assert [(span.start, span.end) for span in ours.evidence] == [(span.start, span.end) for span in theirs.evidence]
            for span, same in zip(ours.evidence, theirs.evidence, strict=True):
                assert span.support == pytest.approx(same.support, abs=0.01)
                n_supports += span.support is not None
    assert n_supports


def test_a_server_that_cannot_start_says_why(random_checkpoint: Path, tmp_path: Path) -> None:
    settings = ServeSettings(
        model=random_checkpoint,
        port=find_test_port(18500),
        log_file=tmp_path / "vllm.log",
        extra_args={"no-such-flag": 1},
    )
    with pytest.raises(EngineError) as caught, start_server(settings, progress=False):
        pass
    message = str(caught.value)
    assert "no-such-flag" in message and str(settings.log_file) in message and "\n" not in message


def test_sigterm_under_load_answers_what_was_asked_and_ends_every_process(random_checkpoint: Path, tmp_path: Path) -> None:
    port = find_test_port(18600)
    command = [sys.executable, "-m", "serving.serve", "--config", "configs/serving/vllm.yaml", "--port", str(port)]
    command += ["--model", str(random_checkpoint), "--log-file", str(tmp_path / "vllm.log")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as entry:
        assert entry.stderr
        line = next(line for line in entry.stderr if line.startswith("ready: ") or "error" in line)
        assert f"ready: http://127.0.0.1:{port}/v1 model icdtune" in line and "curl" in line
        family = list_family(entry.pid)
        assert len(family) >= 3
        load = Load(f"http://127.0.0.1:{port}/v1", n_clients=24)
        load.wait_until_under_way()
        started = time.monotonic()
        entry.send_signal(signal.SIGTERM)
        assert load.wait_until_refused() < 10
        assert entry.wait(timeout=60) == 0
    assert load.n_late > 0 and load.n_lost == 0
    assert time.monotonic() - started < 30
    assert [pid for pid in family if is_running(pid)] == []
