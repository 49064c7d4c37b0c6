"""`icdtune calibrate`: a planted distortion is found, the threshold keeps its promise, foreign predictions are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import calibrate
from eval.predictions import Prediction, ScoredCode, write_line
from icd10cm.run_header import build_header, hash_file, write_json
from serving.coding.calibration import find_confidence, parse_calibration
from serving.model_facts import hash_weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What of a checkpoint folder is looked at."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in {
        "config.json": "{}",
        "model.safetensors": "weights",
        "tokenizer.json": "{}",
        "chat_template.jinja": "x",
    }.items():
        (folder / name).write_text(content)
    write_json(folder / "run.json", build_header("test", {}, release="2026"))
    return folder


def draw(n: int, seed: int, power: float = 4.0, first: int = 0) -> list[Prediction]:
    """Predictions of one code each, right with the `power` of what their score says."""
    rng = np.random.default_rng(seed)
    confidences = np.minimum(rng.beta(8, 1, n), 0.9999)
    right = rng.random(n) < confidences**power
    return [
        Prediction(
            str(first + number), "base", ("I10",), (ScoredCode("I10" if good else "J18.9", math.log(sure)),), "x", "ok", ()
        )
        for number, (sure, good) in enumerate(zip(confidences.tolist(), right.tolist(), strict=True))
    ]


def write_run(folder: Path, predictions: list[Prediction], weights: Path | None, **facts: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "predictions.jsonl"
    path.write_text("".join(map(write_line, predictions)))
    header = build_header("eval.predict", {}, [weights] if weights else [], "2026", counts={"n": len(predictions)})
    write_json(folder / "run.json", {**header, "engine": "transformers", "score_source": "logprob", **facts})
    return path


def test_a_planted_distortion_is_put_right(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "validation", draw(1500, seed=1), model / "model.safetensors")
    assert calibrate.run([str(path), "--model", str(model), "--target", "0.9"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("temperature", "isotonic", "ECE", "threshold", "held out"))
    content = json.loads((model / "calibration.json").read_text())
    assert content["parameters"]["temperature"] == pytest.approx(1 / 4, rel=0.15)
    assert content["ece_after"] < 0.04 < 0.2 < content["ece_before"]
    assert content["predictions_sha256"] == hash_file(path)
    assert (model / "calibration.png").stat().st_size > 5_000

    calibration = parse_calibration(content, hash_weights([model / "model.safetensors"]), "x")

    def keep(predictions: list[Prediction]) -> list[Prediction]:
        return [
            one for one in predictions if (find_confidence(one.predicted[0].score, calibration) or 0) >= calibration.threshold
        ]

    validation, test = draw(1500, seed=1), draw(4000, seed=2)
    kept = keep(validation)
    assert len(kept) / 1500 == pytest.approx(content["coverage"], abs=1e-6)
    assert np.mean([one.predicted[0].code == "I10" for one in kept]) == pytest.approx(content["accuracy"], abs=1e-6)
    assert 0.9 <= content["accuracy"] < 0.92
    elsewhere = keep(test)
    assert len(elsewhere) / 4000 == pytest.approx(content["coverage"], abs=0.05)
    assert np.mean([one.predicted[0].code == "I10" for one in elsewhere]) == pytest.approx(0.9, abs=0.03)


def test_isotonic_can_be_asked_for_and_a_dry_run_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "validation", draw(800, seed=3), model / "model.safetensors")
    assert calibrate.run([str(path), "--model", str(model), "--calibrator", "isotonic", "--dry-run"]) == 0
    assert not (model / "calibration.json").exists()
    assert calibrate.run([str(path), "--model", str(model), "--calibrator", "isotonic"]) == 0
    content = json.loads((model / "calibration.json").read_text())
    assert content["calibrator"] == "isotonic" and content["ece_after"] < 0.09 < content["ece_before"]
    parse_calibration(content, None, "x")
    capsys.readouterr()


def test_what_nobody_can_promise_is_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [one._replace(codes=("E11.9",)) for one in draw(40, seed=4)]
    path = write_run(tmp_path / "validation", wrong, model / "model.safetensors")
    assert calibrate.run([str(path), "--model", str(model)]) == 0
    assert "warning: at no confidence 95% of the codes are right" in capsys.readouterr().err
    content = json.loads((model / "calibration.json").read_text())
    assert (content["threshold"], content["coverage"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("weights", "facts", "n", "problem"),
    [
        ("other", {}, 100, "predictions of another model"),
        ("same", {"score_source": "sampling"}, 100, "scores are of the kind 'sampling'"),
        ("same", {"engine": "floor", "score_source": "cosine"}, 100, "predict with a model"),
        ("same", {"release": "2025"}, 100, "predictions of release 2025"),
        ("same", {}, 5, "too few to calibrate on"),
        ("same", {"counts": {"n": 7}}, 100, "but its run counted 7"),
    ],
)
def test_predictions_that_are_of_no_use_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, facts: dict[str, Any], n: int, problem: str
) -> None:
    other = tmp_path / "model.safetensors"
    other.write_text("other weights")
    path = write_run(tmp_path / "v", draw(n, seed=5), model / "model.safetensors" if weights == "same" else other, **facts)
    assert calibrate.run([str(path), "--model", str(model)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert problem in line and str(path) in line
    assert not (model / "calibration.json").exists()


def test_predictions_without_scores_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = [one._replace(predicted=(ScoredCode("I10", None),)) for one in draw(60, seed=6)]
    path = write_run(tmp_path / "v", silent, model / "model.safetensors")
    assert calibrate.run([str(path), "--model", str(model)]) == 2
    assert "no code has a score" in capsys.readouterr().err


def test_examples_to_be_judged_by_are_pointed_out(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = draw(200, seed=7)
    data = tmp_path / "test.jsonl"
    rows = [
        {
            "id": one.id,
            "scenario": "base",
            "text": "t",
            "codes": list(one.codes),
            "split": "test",
            "source": "s",
            "release": "2026",
        }
        for one in predictions
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = write_run(tmp_path / "v", predictions, None, data=str(data), inputs={str(data): hash_file(data)})
    assert calibrate.run([str(path), "--model", str(model), "--dry-run"]) == 0
    err = capsys.readouterr().err
    assert "split test" in err and "does not say which weights" in err
