"""python -m eval.score: what it writes, the same bytes each time and in any order."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from eval_cases import ROOT, assert_refused, predict, run_module, write_run

from data_gen.examples import Example, write_examples
from eval.metrics import METRICS, RANKED_METRICS
from eval.predictions import Prediction, ScoredCode
from eval.score import Resampling, ScoreSettings, build_scores, pick_worst, run
from eval.scores_file import read_scores
from eval.scoring.breakdown import count_codes
from eval.scoring.taxonomy import find_kind
from icd10cm import CodeSet
from icd10cm.config import check_settings, read_yaml
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file

FEW = Resampling(100)
COUNTS = ["n_invalid", "n_retired", "n_nonbillable", "n_unparsed", "n_error", "n_truncated"]
PREDICTIONS = [
    predict("I10", "I10", id="b1", scenario="base"),
    predict("E11.9", "E11.9", id="b2", scenario="base"),
    predict("E11.621", "E11.622", id="t1"),
    predict("M17.11", "M17.12", id="t2"),
    predict("I10", "", id="t3", rejected=["Z99.999"]),
    predict("I10", "", id="t4", status="error"),
    predict("I10 E11.9", "I10", id="m1", scenario="multiple"),
]


def make_notes(n: int, first: int = 0) -> list[Prediction]:
    """Notes of patients with two each, half of whose surest codes are right, with rankings and attributes."""
    found = []
    for number in range(first, first + n):
        right, wrong, other = ("I10", "E11.9", "J18.9") if number % 4 else ("E11.9", "J18.9", "I10")
        scores = (-0.1 - number % 5 / 10, -0.9 - number % 3 / 10, -3.0)
        ranking = tuple(map(ScoredCode, (right, wrong, other), scores))
        found.append(
            predict(right, "", id=f"n{number}", scenario="note")._replace(
                predicted=ranking[: 1 + number % 2],
                ranking=ranking,
                patient=f"p{number // 2}",
                attributes=(("sex", "FM"[number // 2 % 2]),),
                n_characters=100 + 300 * number,
            )
        )
    return found


def test_scores_have_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "stage 1", PREDICTIONS)
    assert run([str(path)]) == 0
    scores = read_scores(path.with_name("scores.json"))
    assert scores["header"] == json.loads(path.with_name("run.json").read_text())
    assert scores["scoring"]["predictions_sha256"] == hash_file(path)
    assert (scores["scoring"]["unit"], scores["scoring"]["score_source"]) == ("examples", "logprob")
    assert list(scores["scenarios"]) == ["base", "typo", "multiple"]
    typo = scores["scenarios"]["typo"]
    assert list(typo) == ["n", "n_patients", *METRICS, *COUNTS]
    assert (typo["n"], typo["n_error"], typo["exact_match"]["value"], typo["category_match"]["value"]) == (4, 1, 0, 0.5)
    assert typo["invalid_rate"]["value"] == 0.25
    assert typo["invalid_rate"]["low"] <= 0.25 <= typo["invalid_rate"]["high"]
    assert scores["overall"]["exact_match"]["value"] == round(2 / 7, 10)
    assert scores["errors"] == {
        "base": {},
        "typo": {"error": 1, "nonexistent": 1, "wrong_detail": 1, "wrong_laterality": 1},
        "multiple": {"too_few": 1},
    }
    assert [mistake["id"] for mistake in scores["examples"]["typo"]] == ["t4", "t3", "t1", "t2"]
    assert set(scores["examples"]["typo"][0]) == {"id", "kind", "codes", "predicted", "rejected", "score"}
    assert scores["thresholded"] is None
    shown = capsys.readouterr().out
    assert "typo" in shown
    assert "100.0 %" in shown


def test_refused_codes_are_counted_apart(codes: CodeSet) -> None:
    written = [["Z99.999", "E11.62"], ["G35"], ["E11.62"], []]
    predictions = [predict("I10", "I10", id=str(number), rejected=more) for number, more in enumerate(written)]
    overall = build_scores(predictions, {}, codes, FEW)["overall"]
    assert [overall[name] for name in COUNTS] == [1, 1, 2, 0, 0, 0]
    assert overall["invalid_rate"]["value"] == 3 / 4


def test_closed_set_drops_what_is_right_nowhere(codes: CodeSet) -> None:
    predictions = [predict("I10", "I10 J18.9", id="a"), predict("I10", "I10", id="b", rejected=["Z99.999"])]
    scores = build_scores(predictions, {}, codes, FEW)
    assert scores["overall"]["micro_precision"]["value"] == 0.5
    assert scores["closed_set"]["micro_precision"]["value"] == 1


def test_rankings_patients_and_groups(codes: CodeSet) -> None:
    scores = build_scores(make_notes(40), {}, codes, FEW, trained={"I10": 500, "E11.9": 10})
    overall = scores["overall"]
    assert (scores["scoring"]["unit"], overall["n"], overall["n_patients"]) == ("patients", 40, 20)
    assert overall["precision_at_1"]["value"] == 1 and set(RANKED_METRICS) <= set(overall)
    groups = {name: {group["label"]: group for group in found} for name, found in scores["breakdowns"].items()}
    assert list(groups) == ["chapter", "code_frequency", "note_length", "n_codes", "sex"]
    assert {label: group["n"] for label, group in groups["sex"].items()} == {"F": 20, "M": 20}
    assert {label: group["small"] for label, group in groups["note_length"].items()} == {
        "1 to 100": True, "101 to 500": True, "501 to 2,000": True, "2,001 to 5,000": True, "5,001 to 10,000": True,
        "10,001 to 15,000": True,
    }  # fmt: skip
    # chapter 4: E11.9 is right in 10 notes, and written for another in the 20 of odd number
    fourth = groups["chapter"]["4"]
    assert (fourth["n"], fourth["small"]) == (30, False)
    assert fourth["micro_recall"]["value"] == 1
    assert fourth["micro_precision"]["value"] == round(10 / 30, 10)
    assert groups["code_frequency"]["rare (1 to 10)"]["micro_precision"] == fourth["micro_precision"]
    assert list(groups["code_frequency"]) == ["rare (1 to 10)", "common (over 10)"]
    assert groups["n_codes"]["1"]["micro_f1"] == overall["micro_f1"]


def test_what_training_lacks_is_a_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = tmp_path / "train.parquet"
    rows = [Example(str(n), "base", "x", ("I10", "E11.9")[: 1 + n % 2], "train", "hand", "2026") for n in range(22)]
    write_examples(train, rows)
    write_examples(train.with_suffix(".jsonl"), rows)
    assert count_codes(train) == count_codes(train.with_suffix(".jsonl")) == {"I10": 22, "E11.9": 11}
    path = write_run(tmp_path / "run", [*make_notes(8)[1::2], predict("J18.9", "J18.9", id="x", scenario="note")])
    assert run([str(path), "--train", str(train), "--n-boot", "100"]) == 0
    found = read_scores(path.with_name("scores.json"))["breakdowns"]["code_frequency"]
    assert [group["label"] for group in found] == ["unseen", "common (over 10)"]
    capsys.readouterr()
    assert run([str(path), "--train", str(path.with_name("run.json"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.json: codes of the training data cannot be counted" in line


def test_many_values_of_an_attribute_are_pooled(codes: CodeSet) -> None:
    values = [f"ward {number:02}" for number in range(40)] + ["ward 39"]
    predictions = [predict("I10", "I10", id=str(n))._replace(attributes=(("ward", value),)) for n, value in enumerate(values)]
    labels = [group["label"] for group in build_scores(predictions, {}, codes, FEW)["breakdowns"]["ward"]]
    assert len(labels) == 31 and labels[-1] == "all others" and "ward 39" in labels


def test_same_bytes_each_time_and_in_any_order(tmp_path: Path, codes: CodeSet) -> None:
    notes = make_notes(30)
    path = write_run(tmp_path / "one", notes)
    assert run([str(path), "--output", str(tmp_path / "first"), "--n-boot", "200"]) == 0
    assert run_module("eval.score", path, "--output", tmp_path / "second", "--n-boot", 200).returncode == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    shuffled = list(notes)
    random.Random(1).shuffle(shuffled)
    assert json.dumps(build_scores(shuffled, {}, codes, FEW)) == json.dumps(build_scores(notes, {}, codes, FEW))


def test_seed_and_resamples_have_an_effect(codes: CodeSet) -> None:
    many = [predict("I10", "I10" if number % 3 else "E11.9", id=str(number)) for number in range(60)]

    def get_interval(n_boot: int, seed: int) -> tuple[float, float]:
        rate = build_scores(many, {}, codes, Resampling(n_boot, seed))["overall"]["micro_f1"]
        return rate["low"], rate["high"]

    assert get_interval(300, 0) == get_interval(300, 0)
    assert len({get_interval(300, 0), get_interval(300, 1), get_interval(999, 0)}) > 1


def test_worst_answers_take_each_kind_in_turn(codes: CodeSet) -> None:
    many = [predict("E11.621", "E11.622", id=f"detail{number}") for number in range(9)]
    many += [predict("I10", "I10 E11.9", id=f"many{number}") for number in range(9)]
    kinds = [find_kind(prediction, codes) for prediction in many]
    picked = pick_worst(many, kinds, 4)
    assert [mistake["kind"] for mistake in picked] == ["wrong_detail", "too_many", "wrong_detail", "too_many"]
    assert pick_worst(many, kinds, 0) == []


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    assert run([str(path), "--dry-run"]) == 0
    assert {file.name for file in path.parent.iterdir()} == {"run.json", "predictions.jsonl"}


def test_the_shipped_configuration_is_one_of_scoring(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    values = read_yaml(ROOT / "configs" / "eval" / "score.yaml")
    assert check_settings(ScoreSettings, {**values, "predictions": str(path)}, "score.yaml").n_boot == values["n_boot"]


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    assert_refused(
        run_module("eval.score", path, "--n-boot", "few", "--seeed", 3), "2 problems", "n_boot", "did you mean 'seed'?"
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "not valid JSON"),
        ("[]", "says schema version None"),
        (
            '{"schema_version": 1}',
            "not scores of schema version 2, it says schema version 1; eval.score writes it",
        ),
        ('{"schema_version": 2, "header": {}}', "has no scoring, scenarios"),
    ],
)
def test_scores_of_another_schema_are_refused(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(DataError, match=part):
        read_scores(path)
