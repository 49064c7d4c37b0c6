"""python -m eval.combine: whose answer counts, the threshold, the upper bound, a file that is scored like any other."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from eval_cases import predict, write_run

from data_gen.examples import Example, write_examples
from eval import score
from eval.combine import ENGINE, Pair, Thresholds, build_pair, choose_thresholds, compare, run
from eval.combine import combine as combine_by
from eval.predicting.selecting import select_examples
from eval.predictions import Prediction, ScoredCode, read_predictions
from eval.reporting.columns import build_columns, find_main
from eval.scores_file import read_scores
from eval.scoring.checks import Run
from icd10cm import CodeSet
from icd10cm.run_header import hash_file, read_header, write_json

RIGHT, WRONG = "I10", "J18.9"


def answer(cases: list[tuple[str, float]], prefix: str = "t", scenario: str = "typo") -> list[Prediction]:
    """One prediction a case: `+` right, `-` wrong, `0` no code; and how sure, as a probability."""
    made = []
    for number, (outcome, confidence) in enumerate(cases):
        written = {"+": RIGHT, "-": WRONG, "0": ""}[outcome]
        one = predict(RIGHT, written, id=f"{prefix}{number:03}", scenario=scenario, status="ok" if written else "unparsed")
        made.append(one._replace(predicted=tuple(ScoredCode(code, math.log(confidence)) for code, _ in one.predicted)))
    return made


def pair_up(model: list[Prediction], floor: list[Prediction]) -> Pair:
    return build_pair(*(Run(Path(f"{name}.jsonl"), {}, made, []) for name, made in (("model", model), ("floor", floor))))


def combine(pair: Pair, single: float, several: float = 0.0) -> list[Prediction]:
    return combine_by(pair, Thresholds(single, several))


def answer_lists(cases: list[tuple[str, float]]) -> list[Prediction]:
    """One prediction of two codes a case: `+` right, `-` half right; and how sure each code is, as a probability."""
    made = []
    for number, (outcome, confidence) in enumerate(cases):
        one = predict("I10 J18.9", "I10 J18.9" if outcome == "+" else "I10 E11.9", id=f"list{number}", scenario="multiple")
        made.append(one._replace(predicted=tuple(ScoredCode(code, math.log(confidence)) for code, _ in one.predicted)))
    return made


def list_right(predictions: list[Prediction]) -> str:
    return "".join("+" if [scored.code for scored in one.predicted] == list(one.codes) else "-" for one in predictions)


def test_the_floor_answers_where_the_model_is_unsure() -> None:
    pair = pair_up(
        answer([("+", 0.9), ("-", 0.4), ("+", 0.3), ("0", 0.5), ("-", 0.95)]),
        answer([("-", 0.9), ("+", 0.9), ("+", 0.9), ("+", 0.9), ("+", 0.9)]),
    )
    combined = combine(pair, 0.5)
    assert [dict(one.attributes)["answered_by"] for one in combined] == ["model", "floor", "floor", "floor", "model"]
    assert list_right(combined) == "++++-"
    assert {scored.score for one in combined for scored in one.predicted} == {None}, "scores of two kinds are none"
    assert list_right(combine(pair, 0.0)) == "+-++-", "without a code there is nothing to keep"


def test_a_list_is_as_sure_as_its_codes_together_and_has_a_threshold_of_its_own() -> None:
    pair = pair_up(
        [*answer([("+", 0.5)]), *answer_lists([("+", 0.9), ("-", 0.5), ("-", 0.4)])],
        [*answer([("-", 0.9)]), *answer_lists([("-", 0.9), ("+", 0.9), ("+", 0.9)])],
    )
    assert list_right(combine(pair, 0.0)) == "+--+", "0 keeps every answer, lists and single codes alike"
    assert list_right(combine(pair, 0.0, 0.26)) == "++++", "two codes at 0.5 are a list at 0.25"
    chosen = choose_thresholds(pair)
    assert chosen.single == 0 and 0.25 < chosen.several <= 0.81


def test_what_the_floor_has_nothing_for_stays_the_models() -> None:
    pair = pair_up(answer([("-", 0.1)]), answer([("0", 0.9)]))
    assert {dict(one.attributes)["answered_by"] for one in combine(pair, 1.0, 1.0)} == {"model"}


def test_the_threshold_gives_the_most_exact_matches_of_all_thresholds() -> None:
    seeded = random.Random(3)
    sure = [round(seeded.random(), 2) for _ in range(200)]
    model = answer([("+" if seeded.random() < one else "-", max(one, 0.01)) for one in sure])
    floor = answer([("+" if seeded.random() < 0.6 else "-", 0.5) for _ in sure])
    pair = pair_up(model, floor)
    chosen = choose_thresholds(pair).single
    totals = {number / 1000: list_right(combine(pair, number / 1000)).count("+") for number in range(1001)}
    assert list_right(combine(pair, chosen)).count("+") == max(totals.values()) > max(totals[0.0], totals[1.0])
    assert 0.4 < chosen < 0.8, "the floor is right 60 times in 100"


def test_a_floor_that_helps_nobody_is_not_asked() -> None:
    pair = pair_up(answer([("+", 0.2), ("-", 0.3), ("+", 0.9)]), answer([("-", 0.9)] * 3))
    assert not any(dict(one.attributes)["answered_by"] == "floor" for one in combine_by(pair, choose_thresholds(pair)))


def test_either_right_is_an_upper_bound_and_counts_what_one_of_them_knows() -> None:
    pair = pair_up(
        [*answer([("+", 0.9), ("-", 0.9), ("-", 0.9)]), *answer([("+", 0.1)], "b", "base")],
        [*answer([("-", 0.9), ("+", 0.9), ("-", 0.9)]), *answer([("-", 0.9)], "b", "base")],
    )
    found = compare(pair, combine(pair, 0.5))
    assert list(found) == ["base", "typo", "overall"]
    assert [found[name]["either"]["value"] for name in found] == [1.0, pytest.approx(2 / 3), 0.75]
    assert [found[name]["from_floor"] for name in found] == [1, 0, 1]
    assert [found["typo"][key]["value"] for key in ("model", "floor", "union")] == [pytest.approx(1 / 3)] * 3
    for group in found.values():
        assert group["either"]["value"] >= max(group[key]["value"] for key in ("model", "floor", "union"))
        assert all(0 <= group[key]["low"] <= group[key]["value"] <= group[key]["high"] <= 1 for key in ("union", "either"))


@pytest.fixture
def files(tmp_path: Path, codes: CodeSet) -> dict[str, Path]:
    """Predictions of a model and a floor, of a sample of 3 of 6 test examples and of 6 validation examples."""
    outcomes = {"test": ([("+", 0.9), ("-", 0.2), ("-", 0.9)], "-++"), "validation": ([("+", 0.8), ("-", 0.3)] * 3, "-+" * 3)}
    found = {}
    for split, (of_model, of_floor) in outcomes.items():
        data = tmp_path / f"{split}.jsonl"
        examples = [Example(f"{split}{i}", "typo", "htn", (RIGHT,), split, "own", codes.release) for i in range(6)]
        write_examples(data, examples)
        chosen = select_examples(examples, [], 0, data, sample=len(of_model))
        asked = {"inputs": {str(data): hash_file(data)}, "settings": {"sample": len(of_model), "seed": 0}}
        for name, engine, source, made in (
            ("stage 2", "transformers", "logprob", answer(of_model)),
            ("floor", "floor", "cosine", answer([(outcome, 0.9) for outcome in of_floor])),
        ):
            named = [one._replace(id=example.id) for one, example in zip(made, chosen, strict=True)]
            facts = {"engine": engine, "label": name, "score_source": source, "data": str(data)}
            path = write_run(tmp_path / f"{name} {split}", named, **facts, counts={"n": len(named)})
            write_json(path.with_name("run.json"), read_header(path.with_name("run.json")) | asked)
            found[path.parent.name] = path
    return found


def combine_files(files: dict[str, Path], output: Path, *words: object) -> int:
    test, validation = ([str(files[f"{name} {split}"]) for name in ("stage 2", "floor")] for split in ("test", "validation"))
    chosen = list(map(str, words)) or ["--validation", *validation]
    return run([*test, *chosen, "--output", str(output)])


def test_the_file_is_scored_and_reported_like_any_other(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "union" / "predictions.jsonl"
    assert combine_files(files, output) == 0
    shown = capsys.readouterr().out
    assert "either right (upper bound)" in shown and "the floor answers 1 of 3" in shown
    header = json.loads(output.with_name("run.json").read_text())
    assert (header["engine"], header["label"], header["counts"]["n"]) == (ENGINE, "union", 3)
    assert 0.3 < header["threshold"] <= 0.8 and header["exact_match"]["overall"]["union"]["value"] == pytest.approx(2 / 3)
    assert score.run([str(output)]) == 0
    assert "compared" not in capsys.readouterr().err, "the data was found, and only the sample was asked for"
    scores = read_scores(output.with_name("scores.json"))
    assert scores["scenarios"]["typo"]["exact_match"]["value"] == pytest.approx(2 / 3)
    assert {group["label"]: group["n"] for group in scores["breakdowns"]["answered_by"]} == {"floor": 1, "model": 2}
    model = {**scores, "header": {**scores["header"], "engine": "vllm", "label": "stage 2"}}
    assert find_main(build_columns([model, scores])).label == "stage 2", "a report is about the model, not the union"
    first = output.read_bytes()
    assert combine_files(files, output) == 0 and output.read_bytes() == first
    assert len(read_predictions(output)) == 3


def test_what_does_not_go_together_is_refused(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "union" / "predictions.jsonl"
    beside = files["floor test"]
    swapped = ["--validation", str(files["floor validation"]), str(files["stage 2 validation"])]
    for target, words, part in (
        (output, ["--dry-run"], "--validation"),
        (output, ["--validation", str(files["stage 2 validation"])], "--validation"),
        (output, swapped, "engine"),
        (output, ["--validation", str(files["stage 2 test"]), str(beside)], "judged on"),
        (beside, ["--threshold", "0.5"], "folder of its own"),
        (output, ["--validation", *swapped[1:], "--list-threshold", "0.5"], "--list-threshold goes with --threshold"),
    ):
        assert combine_files(files, target, *words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert part in line, line
    assert not output.exists()
    assert combine_files(files, output, "--threshold", "1", "--dry-run") == 0 and not output.exists()


def test_lists_have_a_threshold_of_their_own_by_flag(files: dict[str, Path], tmp_path: Path) -> None:
    lists = answer_lists([("-", 0.5), ("+", 0.9)])
    floors = [one._replace(predicted=(ScoredCode(RIGHT, 0.9),)) for one in lists]
    files["stage 2 test"] = write_run(tmp_path / "lists", lists, label="stage 2", score_source="logprob")
    files["floor test"] = write_run(tmp_path / "floor", floors, label="floor", engine="floor", score_source="cosine")
    output = tmp_path / "union" / "predictions.jsonl"
    assert combine_files(files, output, "--threshold", "0", "--list-threshold", "0.26") == 0
    assert [dict(one.attributes)["answered_by"] for one in read_predictions(output)] == ["floor", "model"]
    assert read_header(output.with_name("run.json"))["list_threshold"] == 0.26
