"""The search as a floor: its answers, the same file of predictions, and its place in a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_gen.examples import Example, write_examples
from eval import predict
from eval.floors.search import SearchFloor
from eval.reporting import columns as report_columns
from icd10cm import CodeSet
from serving.engines.base import Generation

SLICE = ("E11.621", "E11.622", "I10", "J45.909", "M10.9", "M17.11", "M17.12")


@pytest.fixture(scope="module")
def floor(codes: CodeSet) -> SearchFloor:
    return SearchFloor(codes, SLICE, progress=False)


def test_titles_find_themselves_and_other_words_too(codes: CodeSet, floor: SearchFloor) -> None:
    answers = floor.generate([codes.title(code) for code in SLICE])
    assert [answer.text for answer in answers] == list(SLICE)
    assert all(answer.score == 1 and answer.finish_reason == "stop" for answer in answers)
    assert [answer.text for answer in floor.generate(["L knee OA", "htn", "T2DM w/ foot ulcr"])] == ["M17.12", "I10", "E11.621"]


def test_only_candidates_are_answered(floor: SearchFloor) -> None:
    answers = floor.generate(["type 2 diabetes with ulcer", "", "zzqqxx"])
    assert answers[0].text.startswith("E11.62")
    assert answers[1:] == [Generation("", "stop", 0.0)] * 2


def test_predictions_have_the_usual_form(tmp_path: Path, codes: CodeSet) -> None:
    examples = [Example(code, "base", codes.title(code), (code,), "test", "titles", codes.release) for code in SLICE]
    write_examples(tmp_path / "data.jsonl", examples)
    output = tmp_path / "p" / "predictions.jsonl"
    words = ["--engine", "search", "--floor-codes", "data", "--data", str(tmp_path / "data.jsonl"), "--output", str(output)]
    assert predict.run(words) == 0
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [row["predicted"][0]["code"] for row in rows] == list(SLICE) and {row["status"] for row in rows} == {"ok"}
    header = json.loads((tmp_path / "p" / "run.json").read_text(encoding="utf-8"))
    assert (header["label"], header["engine"], header["constrained"]) == ("search", "search", True)
    assert header["model"] == "first hit of the search of data codes"


def test_reports_set_it_apart_from_models() -> None:
    scores = [{"header": {"engine": engine, "label": engine}} for engine in ("search", "floor", "transformers")]
    columns = report_columns.build_columns(scores)
    assert [column.is_floor for column in columns] == [True, True, False]
    assert report_columns.number_series(columns) == ["floor", "s0", "s1"]
    assert report_columns.find_main(columns).label == "transformers"


def test_models_are_compared_with_the_floor_first() -> None:
    def build(engine: str, low: float, high: float) -> report_columns.Column:
        group = {"exact_match": {"value": (low + high) / 2, "low": low, "high": high}}
        scores = {"header": {"engine": engine}, "scenarios": {"typo": group}, "overall": group}
        return report_columns.Column(engine, engine != "transformers", scores)

    columns = [build("search", 0.8, 0.9), build("floor", 0.1, 0.2), build("transformers", 0.4, 0.5)]
    assert report_columns.compare_to_floor(columns)["above"] == ["typo"]
    assert report_columns.compare_to_floor([columns[0], columns[2]])["below"] == ["typo"]
