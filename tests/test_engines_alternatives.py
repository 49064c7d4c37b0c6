"""Scores per code, answers drawn, and beams: against what the model says one token after the other."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd10cm import CodeSet
from icd10cm.constraint import State, TokenAutomaton
from icd10cm.errors import EngineError
from serving.engines import Alternatives, build_engine
from serving.engines.base import score_codes
from serving.engines.transformers_engine import TransformersEngine
from serving.engines.watchers import TokenWatcher, draw_uniforms
from serving.prompting import build_automaton, load_tokenizer, read_frame, tokenize

TEXTS = ["T2DM w/ foot ulcer", "gout", "Fracture of unspecified part of neck of left femur, subsequent encounter"]


@pytest.mark.parametrize(
    ("text", "tokens", "logprobs", "expected"),
    [
        ("I10", ["I10", ""], [-0.2, -0.4], (("I10", -0.3),)),
        ("I10, E11.9", ["I10", ", ", "E11", ".9", ""], [-1, -2, -3, -4, -5], (("I10", -1.5), ("E11.9", -4.0))),
        ("I10, E11.9", ["I", "10, E", "11.9", "<end>"], [-1, -2, -3, -4], (("I10", -1.5), ("E11.9", -3.0))),
        ("I10, E11.9, J45.909", ["I10, E11.9, J", "45.909"], [-1, -2], (("I10", -1), ("E11.9", -1), ("J45.909", -1.5))),
        ("I10, ", ["I10", ", "], [-1, -2], (("I10", -1.5),)),
        ("gout\nI10", ["gout", "\n", "I10"], [-1, -2, -3], (("gout", -1.5), ("I10", -3))),
        ("", [""], [-1], ()),
        ("I10", [], [], ()),
    ],
)
def test_score_of_a_code(text: str, tokens: list[str], logprobs: list[float], expected: tuple[Any, ...]) -> None:
    assert score_codes(text, tokens, logprobs) == expected


@pytest.fixture(scope="module")
def few_codes(codes: CodeSet) -> CodeSet:
    """Two codes, so that all answers can be listed."""
    kept = ("I10", "J45", "J45.9", "J45.90", "J45.909")
    return CodeSet("few", {code: codes.headings[code] for code in kept}, "test")


def list_answers(folder: Path, codes: CodeSet, text: str, limit: int) -> dict[str, float]:
    """Return every answer of at most `limit` tokens with its probability, whichever way its tokens are cut."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer, model = load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    automaton = build_automaton(tokenizer, folder, codes.codes)
    (prompt,) = tokenize(tokenizer, read_frame(tokenizer, folder), [text])
    found: dict[str, float] = defaultdict(float)

    def go_on(written: list[int], state: State, logprob: float) -> None:
        with torch.no_grad():
            scores = model(torch.tensor([prompt + written])).logits[0, -1].log_softmax(-1)
        for token in automaton.allowed(state, limit - len(written)).tolist():
            total = logprob + scores[token].item()
            following = automaton.step(state, token)
            if following is None or len(written) + 1 == limit:
                found[tokenizer.decode([*written, token], skip_special_tokens=True)] += math.exp(total)
            else:
                go_on([*written, token], following, total)

    go_on([], TokenAutomaton.REPEATING, 0.0)
    return found


def test_beams_hold_what_is_most_probable_with_its_true_share(random_checkpoint: Path, few_codes: CodeSet) -> None:
    every = list_answers(random_checkpoint, few_codes, "gout", 4)
    assert 2 <= len(every) < 200
    wide = Alternatives("beam", 64)
    engine = TransformersEngine(random_checkpoint, few_codes, max_tokens=4, alternatives=wide, progress=False)
    (answer,) = engine.generate(["gout"])
    shares: dict[str, float] = defaultdict(float)
    for sample in answer.samples:
        shares[sample.text] += sample.share
    total = sum(every.values())
    assert shares == pytest.approx({text: value / total for text, value in every.items()}, abs=1e-4)
    assert sorted(shares.values(), reverse=True)[0] > 1.01 / len(shares), "the answers differ in probability"


def test_beams_are_codes_best_first_and_the_answer_stays_greedy(random_checkpoint: Path, codes: CodeSet) -> None:
    engine = TransformersEngine(random_checkpoint, codes, max_tokens=20, alternatives=Alternatives("beam", 5), progress=False)
    greedy = TransformersEngine(random_checkpoint, codes, max_tokens=20, progress=False).generate(TEXTS)
    answers = engine.generate(TEXTS)
    assert [answer._replace(samples=()) for answer in answers] == greedy
    for answer in answers:
        shares = [sample.share for sample in answer.samples]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1) and len(shares) == 5
        written = [code for sample in answer.samples for code in sample.text.rstrip(", ").split(", ")]
        assert set(written) <= set(codes.codes) and len({sample.text for sample in answer.samples}) > 1
        lists = [sample.text.rstrip(", ").split(", ") for sample in answer.samples]
        assert all(len(set(one)) == len(one) for one in lists)


def test_draws_hang_on_text_and_seed_alone(random_checkpoint: Path, codes: CodeSet) -> None:
    def build(seed: int, batch_size: int) -> TransformersEngine:
        drawn = Alternatives("sampling", 4, seed)
        return TransformersEngine(
            random_checkpoint, codes, max_tokens=16, batch_size=batch_size, alternatives=drawn, progress=False
        )

    together, alone = build(1, 64).generate(TEXTS), [build(1, 1).generate([text])[0] for text in TEXTS]
    for first, second in zip(together, alone, strict=True):
        assert [sample.text for sample in first.samples] == [sample.text for sample in second.samples]
        assert all(sample.share == 1 / 4 and sample.code_scores for sample in first.samples)
    written = [code for one in together for sample in one.samples for code in sample.text.rstrip(", ").split(", ")]
    assert set(written) <= set(codes.codes) and len(set(written)) > 6
    other = build(2, 64).generate(TEXTS)
    assert [sample.text for sample in other[0].samples] != [sample.text for sample in together[0].samples]


def test_a_token_is_drawn_as_often_as_it_is_probable() -> None:
    import torch

    logits = torch.tensor([0.3, -1.0, float("-inf"), 2.0, -30.0, float("-inf")])
    n = 40_000
    watcher = TokenWatcher(None, [1] * n, 3, draw_uniforms(0, "gout", n, 1))
    ids = torch.zeros((n, 3), dtype=torch.long)
    drawn = watcher(ids, logits.expand(n, -1)).argmax(1).numpy()
    shares = np.bincount(drawn, minlength=6) / n
    wanted = logits.softmax(0).numpy()
    assert np.all(np.abs(shares - wanted) <= 4 * np.sqrt(wanted * (1 - wanted) / n) + 1e-12)


def test_beams_are_for_transformers_alone() -> None:
    with pytest.raises(EngineError, match="beam needs engine transformers, this is endpoint"):
        build_engine("endpoint", base_url="http://127.0.0.1:9/v1", alternatives=Alternatives("beam"))
