"""Conditions joined by commas, `and`, `&`, `with`: read together or apart, whichever an engine is surer of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.examples import Example, write_examples
from eval.predict import run
from eval.predicting.parting import answer_in_parts
from eval.predictions import read_predictions
from icd10cm.joined import choose_parts, list_parts
from serving.engines import Generation


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gout", []),
        ("", []),
        ("gout and asthma", ["gout", "asthma"]),
        ("gout, and asthma", ["gout", "asthma"]),
        ("T2DM w/ CKD & HTN", ["T2DM", "T2DM w/ CKD", "CKD", "CKD & HTN", "HTN"]),
        ("type 2, 1, gout", ["type 2, 1", "gout"]),
        ("1,25-dihydroxyvitamin D", []),
        ("sand and android", ["sand", "android"]),
    ],
)
def test_what_may_be_a_condition_of_its_own(text: str, parts: list[str]) -> None:
    assert [text[slice(*part)] for part in list_parts(text)] == parts


@pytest.mark.parametrize(
    ("sure", "whole", "chosen"),
    [
        ({"gout": 0.99, "CHF": 0.99, "asthma": 0.99}, 0.3, ["gout", "CHF", "asthma"]),
        ({"gout": 0.99, "CHF": 0.5, "asthma": 0.5, "CHF & asthma": 0.95}, 0.3, ["gout", "CHF & asthma"]),
        ({"gout": 0.9, "CHF": 0.9, "asthma": 0.9}, 0.73, ["gout, CHF & asthma"]),
        ({"gout": 0.9, "CHF": 0.9, "asthma": 0.9}, 0.72, ["gout", "CHF", "asthma"]),
        ({}, 0.0, ["gout, CHF & asthma"]),
    ],
)
def test_the_surest_reading_is_chosen(sure: dict[str, float], whole: float, chosen: list[str]) -> None:
    text = "gout, CHF & asthma"
    confidences = {part: sure.get(text[slice(*part)], 0.0) for part in list_parts(text)}
    assert [text[slice(*part)] for part in choose_parts(text, confidences, whole)] == chosen


@given(st.text(alphabet="ab ,&", max_size=30), st.floats(0, 1), st.randoms())
def test_chosen_parts_are_of_the_text_in_order(text: str, whole: float, rng: object) -> None:
    parts = list_parts(text)
    chosen = choose_parts(text, {part: rng.random() for part in parts}, whole)  # type: ignore[attr-defined]
    assert chosen == [(0, len(text))] or (set(chosen) <= set(parts) and chosen == sorted(chosen))
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(chosen))


def test_only_what_is_unsure_is_asked_again_and_each_text_once() -> None:
    asked: list[str] = []

    def ask(texts: Sequence[str]) -> list[Generation]:
        asked.extend(texts)
        return [Generation("M10.9", "stop", -0.01, code_scores=(("M10.9", -0.01),)) for _ in texts]

    texts = ["gout and asthma", "asthma and gout", "Syncope and collapse", "gout", "CHF & gout"]
    scores = [-1.0, -1.0, -0.01, -1.0, None]
    first = [Generation("I10", "stop", score, code_scores=() if score is None else (("I10", score),)) for score in scores]
    found = answer_in_parts(texts, first, ask, by_logprob=True)
    assert [[one.text for one in each] for each in found] == [["M10.9"] * 2, ["M10.9"] * 2, ["I10"], ["I10"], ["I10"]]
    assert asked == ["gout", "asthma"]


@pytest.mark.parametrize("engine", ["floor", "search"])
def test_a_list_joined_by_commas_is_read_apart(engine: str, tmp_path: Path) -> None:
    texts = {
        "multiple-0": ("hypokalemia, syncope and collapse & cachexia", ("E87.6", "R55", "R64")),
        "multiple-1": ("Syncope and collapse", ("R55",)),
    }
    rows = [Example(name, "multiple", text, found, "test", "own", "2026") for name, (text, found) in texts.items()]
    write_examples(tmp_path / "data.parquet", rows)
    output = tmp_path / "out" / "p.jsonl"
    words = ["--data", str(tmp_path / "data.parquet"), "--output", str(output), "--engine", engine]
    assert run([*words, "--by-condition", "multiple"]) == 0
    assert [tuple(one.code for one in p.predicted) for p in read_predictions(output)] == [found for _, found in texts.values()]
