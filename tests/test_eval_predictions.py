"""Predictions: from completions, to lines, and back; what a killed run leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from eval_cases import predict

from data_gen.examples import Example
from eval.predictions import ScoredCode, build_prediction, open_appending, read_finished, read_predictions, write_line
from icd10cm import CodeSet
from icd10cm.errors import DataError
from serving.engines.base import Generation

EXAMPLE = Example("a1", "multiple", "T2DM w/ foot ulcer; HTN", ("E11.621", "I10"), "test", "rules", "2026")


@pytest.mark.parametrize(
    ("text", "reason", "predicted", "status", "rejected"),
    [
        ("E11.621, I10", "stop", ("E11.621", "I10"), "ok", ()),
        ("E11.621, E11.62", "stop", ("E11.621",), "ok", ("E11.62",)),
        ("no idea", "stop", (), "unparsed", ()),
        ("", "stop", (), "unparsed", ()),
        ("E11.621, I1", "length", ("E11.621",), "truncated", ()),
        ("E11.6", "length", (), "truncated", ()),
    ],
)
def test_what_a_completion_says(
    codes: CodeSet, text: str, reason: str, predicted: tuple[str, ...], status: str, rejected: tuple[str, ...]
) -> None:
    prediction = build_prediction(EXAMPLE, Generation(text, reason, -0.5), codes)
    assert prediction.predicted == tuple(ScoredCode(code, -0.5) for code in predicted)
    assert (prediction.status, prediction.rejected, prediction.output) == (status, rejected, text)
    assert (prediction.id, prediction.scenario, prediction.codes) == (*EXAMPLE[:2], EXAMPLE.codes)


def test_an_error_keeps_what_the_engine_said_and_predicts_nothing(codes: CodeSet) -> None:
    prediction = build_prediction(EXAMPLE, Generation("I10", "error", error="connection refused"), codes)
    assert (prediction.predicted, prediction.status, prediction.output) == ((), "error", "connection refused")


def test_a_score_that_json_cannot_hold_is_none(codes: CodeSet) -> None:
    assert build_prediction(EXAMPLE, Generation("I10", "stop", -math.inf), codes).predicted[0].score is None


def test_line_has_exactly_the_keys_of_the_contract() -> None:
    row = json.loads(write_line(predict("I10", "I10")))
    assert list(row) == ["id", "scenario", "codes", "predicted", "output", "status", "rejected"]
    assert row["predicted"] == [{"code": "I10", "score": -0.1}]


def test_appending_goes_on_behind_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.jsonl"
    first, second, third = (predict("I10", "I10", id=name)._replace(output="é\u2028\ud800") for name in "abc")
    with open_appending(path) as append:
        append(first)
        append(second)
        assert len(read_finished(path).predictions) == 2, "each line is flushed"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    finished = read_finished(path)
    assert finished.predictions == [first]
    assert finished.half_line
    with open_appending(path) as append:
        append(second)
        append(third)
    assert read_predictions(path) == [first, second, third]
    assert path.read_bytes()[: len(whole)] == whole


def test_nothing_is_finished_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_finished(tmp_path / "predictions.jsonl") == ([], "")


GOOD = write_line(predict("I10", "I10", id="a"))
BAD_FILES = {
    "empty": ("", "empty"),
    "half line": (GOOD + GOOD[:30], "line 2"),
    "repeated id": (GOOD + GOOD, "line 2: its id stands on line 1 already"),
    "unknown scenario": (GOOD.replace('"typo"', '"typos"'), "line 1: unknown scenario 'typos', did you mean 'typo'?"),
    "unknown status": (GOOD.replace('"ok"', '"fine"'), "unknown status 'fine'"),
    "not json": (GOOD + "I10\n", "line 2: not a line of predictions"),
    "blank line": (GOOD + "\n", "line 2"),
    "missing key": (GOOD.replace('"status"', '"state"'), "expected the keys"),
    "a list": ("[]\n", "expected the keys"),
    "no right codes": (GOOD.replace('["I10"]', "[]"), "'codes' is empty"),
    "codes as text": (GOOD.replace('["I10"]', '"I10"'), "'codes' should be a list"),
    "score as text": (GOOD.replace("-0.1", '"high"'), "'predicted' should be a list"),
    "score not a number": (GOOD.replace("-0.1", "NaN"), "'predicted' should be a list"),
    "id as number": (GOOD.replace('"id": "a"', '"id": 7'), "'id' should be a text"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_broken_file_is_refused_by_file_and_line(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / "predictions.jsonl"
    path.write_text(content)
    with pytest.raises(DataError) as refused:
        read_predictions(path)
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "predictions.jsonl")
