"""python -m eval.score: what it writes, the same bytes each time, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from eval_cases import ROOT, assert_refused, predict, run_module, write_run

from eval.metrics import METRICS
from eval.score import ScoreSettings, build_scores, pick_worst, run
from eval.scores_file import read_scores
from icd10cm import CodeSet
from icd10cm.config import check_settings, read_yaml
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file

PREDICTIONS = [
    predict("I10", "I10", id="b1", scenario="base"),
    predict("E11.9", "E11.9", id="b2", scenario="base"),
    predict("E11.621", "E11.622", id="t1"),
    predict("M17.11", "M17.12", id="t2"),
    predict("I10", "", id="t3", rejected=["Z99.999"]),
    predict("I10", "", id="t4", status="error"),
    predict("I10 E11.9", "I10", id="m1", scenario="multiple"),
]


def test_scores_have_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "stage 1", PREDICTIONS)
    assert run([str(path)]) == 0
    scores = read_scores(path.with_name("scores.json"))
    assert scores["header"] == json.loads(path.with_name("run.json").read_text())
    assert scores["scoring"]["predictions_sha256"] == hash_file(path)
    assert list(scores["scenarios"]) == ["base", "typo", "multiple"]
    typo = scores["scenarios"]["typo"]
    assert list(typo) == ["n", *METRICS, "n_unparsed", "n_error", "n_truncated"]
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
    shown = capsys.readouterr().out
    assert "typo" in shown
    assert "100.0 %" in shown


def test_same_bytes_each_time_and_in_any_order(tmp_path: Path, codes: CodeSet) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    for name in ("first", "second"):
        assert run_module("eval.score", path, "--output", tmp_path / name, "--n-boot", 200).returncode == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    shuffled = list(PREDICTIONS)
    random.Random(1).shuffle(shuffled)
    assert build_scores(shuffled, {}, codes) == build_scores(PREDICTIONS, {}, codes)


def test_seed_and_resamples_have_an_effect(codes: CodeSet) -> None:
    many = [predict("I10", "I10" if number % 3 else "E11.9", id=str(number)) for number in range(60)]

    def get_interval(n_boot: int, seed: int) -> tuple[float, float]:
        rate = build_scores(many, {}, codes, n_boot, seed)["overall"]["micro_f1"]
        return rate["low"], rate["high"]

    assert get_interval(300, 0) == get_interval(300, 0)
    assert len({get_interval(300, 0), get_interval(300, 1), get_interval(999, 0)}) > 1


def test_worst_answers_take_each_kind_in_turn(codes: CodeSet) -> None:
    many = [predict("E11.621", "E11.622", id=f"detail{number}") for number in range(9)]
    many += [predict("I10", "I10 E11.9", id=f"many{number}") for number in range(9)]
    picked = pick_worst(many, codes, 4)
    assert [mistake["kind"] for mistake in picked] == ["wrong_detail", "too_many", "wrong_detail", "too_many"]
    assert pick_worst(many, codes, 0) == []


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    assert run([str(path), "--dry-run"]) == 0
    assert {file.name for file in path.parent.iterdir()} == {"run.json", "predictions.jsonl"}


def test_the_shipped_configuration_is_one_of_scoring(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    values = read_yaml(ROOT / "configs" / "eval" / "score.yaml")
    assert check_settings(ScoreSettings, {**values, "predictions": str(path)}, "score.yaml").n_boot == values["n_boot"]


def spoil(folder: Path, fault: str) -> Path:
    path = write_run(folder, PREDICTIONS)
    lines = path.read_text().splitlines(keepends=True)
    header = path.with_name("run.json")
    match fault:
        case "half line":
            path.write_text("".join(lines)[:-9])
        case "repeated id":
            path.write_text("".join([*lines, lines[0]]))
        case "unknown scenario":
            path.write_text("".join(lines).replace('"multiple"', '"multipel"'))
        case "no header":
            header.unlink()
        case "broken header":
            header.write_text("{")
        case "other schema":
            header.write_text(header.read_text().replace('"schema_version": 1', '"schema_version": 99'))
        case "other release":
            header.write_text(header.read_text().replace('"release": "2026"', '"release": "2025"'))
        case "other count":
            header.write_text(header.read_text().replace('"constrained": true', '"counts": {"n": 9}'))
        case "no file":
            path.unlink()
    return path


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("half line", ("predictions.jsonl, line 7", "half written")),
        ("repeated id", ("predictions.jsonl, line 8", "'b1' stands on line 1")),
        ("unknown scenario", ("predictions.jsonl, line 7", "did you mean 'multiple'?")),
        ("no header", ("run.json", "cannot be read")),
        ("broken header", ("run.json", "not valid JSON")),
        ("other schema", ("run.json", "schema version")),
        ("other release", ("release 2025", "release 2026", "--code-file")),
        ("other count", ("7 predictions", "counted 9")),
        ("no file", ("predictions", "does not exist")),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, fault: str, parts: tuple[str, ...]) -> None:
    path = spoil(tmp_path / "run", fault)
    assert_refused(run_module("eval.score", path), *parts)
    assert not path.with_name("scores.json").exists()


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", PREDICTIONS)
    assert_refused(
        run_module("eval.score", path, "--n-boot", "few", "--seeed", 3), "2 problems", "n_boot", "did you mean 'seed'?"
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "not valid JSON"),
        ("[]", "schema version None"),
        ('{"schema_version": 2}', "schema version 2"),
        ('{"schema_version": 1, "header": {}}', "has no scoring, scenarios"),
    ],
)
def test_scores_of_another_schema_are_refused(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(DataError, match=part):
        read_scores(path)
