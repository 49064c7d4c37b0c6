"""The transformers engine on a checkpoint with random weights: valid codes only, the same answer in any batch, true scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.constraint import State, TokenAutomaton
from serving.engines import build_engine, choose_engine
from serving.engines.transformers_engine import TransformersEngine
from serving.prompting import build_automaton, load_tokenizer, read_frame, tokenize

TEXTS = ["T2DM w/ foot ulcer", "gout", "Fracture of unspecified part of neck of left femur, subsequent encounter", "copd, htn"]


@pytest.fixture(scope="module")
def engine(random_checkpoint: Path, codes: CodeSet) -> TransformersEngine:
    return TransformersEngine(random_checkpoint, codes, max_tokens=40, progress=False)


def test_every_answer_is_existing_codes(engine: TransformersEngine, codes: CodeSet) -> None:
    answers = engine.generate([codes.title(code) for code in codes.codes[:: len(codes) // 100]])
    written = [code for answer in answers for code in answer.text.rstrip(", ").split(", ")]
    assert set(written) <= set(codes.codes) and len(set(written)) > 50
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


def test_answers_do_not_depend_on_the_batch(engine: TransformersEngine, random_checkpoint: Path, codes: CodeSet) -> None:
    alone = TransformersEngine(random_checkpoint, codes, max_tokens=40, batch_size=1, progress=False)
    texts = [*TEXTS, *(codes.title(code) for code in codes.codes[:20])]
    together, one_by_one = engine.generate(texts), alone.generate(texts)
    assert [answer.text for answer in together] == [answer.text for answer in one_by_one]
    for first, second in zip(together, one_by_one, strict=True):
        assert first.score == pytest.approx(second.score, abs=2e-4)


@pytest.mark.parametrize("constrained", [True, False])
def test_answers_and_scores_are_those_of_one_token_after_the_other(
    random_checkpoint: Path, codes: CodeSet, constrained: bool
) -> None:
    engine = TransformersEngine(random_checkpoint, codes if constrained else None, max_tokens=24, progress=False)
    for text, answer in zip(TEXTS, engine.generate(TEXTS), strict=True):
        expected, logprob = write_plainly(random_checkpoint, codes if constrained else None, text, 24)
        assert answer.text == expected
        assert answer.score == pytest.approx(logprob, abs=2e-4)


def write_plainly(folder: Path, codes: CodeSet | None, text: str, limit: int) -> tuple[str, float]:
    """Return the greedy answer to one text, without batch, padding or cache, and the mean log-probability of its tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer, model = load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    automaton = build_automaton(tokenizer, folder, codes.codes) if codes else None
    (prompt,) = tokenize(tokenizer, read_frame(tokenizer, folder), [text])
    written: list[int] = []
    logprobs: list[float] = []
    state: State | None = TokenAutomaton.REPEATING
    while len(written) < limit and tokenizer.eos_token_id not in written:
        with torch.no_grad():
            scores = model(torch.tensor([prompt + written])).logits[0, -1].log_softmax(-1)
        allowed = (
            range(len(scores))
            if automaton is None
            else automaton.allowed(state or TokenAutomaton.REPEATING, limit - len(written)).tolist()
        )
        written.append(max(allowed, key=lambda token: scores[token].item()))
        logprobs.append(scores[written[-1]].item())
        state = automaton.step(state or TokenAutomaton.REPEATING, written[-1]) if automaton else None
    return tokenizer.decode(written, skip_special_tokens=True), sum(logprobs) / len(logprobs)


def test_a_text_that_leaves_no_room_is_an_error_and_a_long_one_a_short_answer(
    engine: TransformersEngine, random_checkpoint: Path
) -> None:
    tokenizer = load_tokenizer(random_checkpoint)
    frame = read_frame(tokenizer, random_checkpoint)
    n_words = next(n for n in range(1, 300) if len(tokenize(tokenizer, frame, ["a " * n])[0]) >= 252)
    fits, too_long = engine.generate(["a " * n_words, "a " * 400])
    assert fits.finish_reason in ("stop", "length") and len(fits.text) <= 5
    assert too_long.finish_reason == "error" and "the model reads 256" in too_long.error


def test_without_the_constraint_it_writes_what_it_likes(random_checkpoint: Path, codes: CodeSet) -> None:
    free = build_engine("transformers", model=random_checkpoint, constrained=False, max_tokens=12, progress=False)
    answers = free.generate(TEXTS)
    assert not any(code in codes.codes for answer in answers for code in answer.text.split(", "))


def test_auto_means_a_server_where_there_is_a_url_and_transformers_on_a_cpu(random_checkpoint: Path) -> None:
    import torch

    assert choose_engine("auto", None, "http://127.0.0.1:1/v1") == "endpoint"
    if not torch.cuda.is_available():
        assert choose_engine("auto", random_checkpoint, None) == "transformers"
    assert choose_engine("vllm", random_checkpoint, None) == "vllm"
