"""Scores and rankings of codes, worked out by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.examples import Example
from eval.predicting.answer_scores import merge_rankings, rank_codes, score_written
from eval.predictions import ScoredCode, build_prediction, write_line
from icd10cm import CodeSet
from serving.engines.base import Generation, Sample

EXAMPLE = Example("a1", "note", "T2DM w/ foot ulcer; HTN", ("E11.621", "I10"), "test", "rules", "2026")


def draw(*answers: str, reason: str = "stop", score: float = -1.0) -> tuple[Sample, ...]:
    """Return samples of equal share."""
    scored = [tuple((code, score) for code in answer.split(", ")) for answer in answers]
    return tuple(Sample(a, reason, 1 / len(answers), s) for a, s in zip(answers, scored, strict=True))


def test_predicted_codes_have_their_own_score_and_the_answers_where_there_is_none(codes: CodeSet) -> None:
    own = (("E11.621", -0.1), ("E11.62", -3.0), ("I10", -0.4), ("E11.621", -0.9))
    generation = Generation("E11.621, E11.62, I10, E11.621, J45.909", "stop", -0.5, code_scores=own)
    prediction = build_prediction(EXAMPLE, generation, codes)
    assert prediction.predicted == (ScoredCode("E11.621", -0.1), ScoredCode("I10", -0.4), ScoredCode("J45.909", -0.5))
    assert prediction.rejected == ("E11.62",) and prediction.ranking == () and '"ranking"' not in write_line(prediction)
    assert score_written([("e11621", -0.2), ("gout", -1.0), ("I10", float("-inf"))], codes) == {"E11.621": -0.2}


def test_ranking_by_samples_is_the_share_of_answers_that_hold_a_code(codes: CodeSet) -> None:
    samples = draw("I10", "I10, E11.9", "E11.9, I10, I10", "J45.909")
    generation = Generation("I10, K21.9", "stop", -0.5, samples=samples)
    prediction = build_prediction(EXAMPLE, generation, codes)
    assert prediction.ranking == (("I10", 0.75), ("E11.9", 0.5), ("J45.909", 0.25), ("K21.9", 0.0))
    assert prediction.predicted == (("I10", -0.5), ("K21.9", -0.5))
    by_share = build_prediction(EXAMPLE, generation, codes, score="sampling")
    assert by_share.predicted == (("I10", 0.75), ("K21.9", 0.0))


def test_equal_shares_go_by_probability_then_by_name(codes: CodeSet) -> None:
    sure, unsure = draw("J45.909", score=-0.1)[0], draw("I10, E11.9", score=-0.7)[0]
    samples = (sure._replace(share=0.5), unsure._replace(share=0.5))
    ranked = rank_codes(Generation("", "stop", samples=samples), (), codes, 20)
    assert [code for code, _ in ranked] == ["J45.909", "E11.9", "I10"]


def test_a_sample_that_was_cut_loses_its_last_code(codes: CodeSet) -> None:
    ranked = rank_codes(Generation("", "stop", samples=draw("I10, E11.9", reason="length")), (), codes, 20)
    assert ranked == (("I10", 1.0),)


def test_the_predicted_stay_in_a_ranking_that_is_full(codes: CodeSet) -> None:
    ranking = (("I10", 0.9), ("E11.9", 0.8), ("J45.909", 0.7), ("K21.9", 0.1))
    generation = Generation("K21.9", "stop", 0.1, ranking=ranking)
    assert rank_codes(generation, ["K21.9"], codes, 2) == (("I10", 0.9), ("K21.9", 0.1))
    assert rank_codes(generation, ["K21.9", "J45.909"], codes, 1) == (("J45.909", 0.7), ("K21.9", 0.1))


CODES = ("I10", "E11.9", "J45.909", "K21.9", "M10.9")
answers = st.lists(st.lists(st.sampled_from(CODES), min_size=1, max_size=4).map(", ".join), min_size=1, max_size=8)


@given(answers, st.lists(st.sampled_from(CODES), unique=True), st.integers(1, 6), st.randoms())
def test_what_holds_for_every_ranking(
    codes: CodeSet, drawn: list[str], predicted: list[str], n: int, seeded: random.Random
) -> None:
    generation = Generation("", "stop", samples=draw(*drawn))
    ranked = rank_codes(generation, predicted, codes, n)
    shuffled = draw(*seeded.sample(drawn, len(drawn)))
    assert rank_codes(Generation("", "stop", samples=shuffled), predicted, codes, n) == ranked
    named = [code for code, _ in ranked]
    assert len(set(named)) == len(named) <= max(n, len(predicted)) and set(predicted) <= set(named)
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    for code, score in ranked:
        assert score == pytest.approx(sum(code in answer.split(", ") for answer in drawn) / len(drawn), abs=1e-6)


def test_parts_are_merged_by_the_best_score() -> None:
    parts = ((("I10", 0.9), ("E11.9", 0.2)), (("E11.9", 0.6), ("K21.9", 0.6), ("M10.9", 0.1)))
    assert merge_rankings(parts, ["M10.9"], 3) == (("I10", 0.9), ("E11.9", 0.6), ("M10.9", 0.1))
