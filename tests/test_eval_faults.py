"""Predictions files with planted faults: each is refused or noted, with the reason, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eval_cases import predict, write_run

from data_gen.examples import Example, write_examples
from eval.predictions import Prediction
from eval.score import run
from eval.scores_file import read_scores
from icd10cm.run_header import hash_file

RIGHT = {"b1": ("base", "I10"), "t1": ("typo", "E11.621"), "t2": ("typo", "M17.11"), "m1": ("multiple", "I10 E11.9")}


def list_examples() -> list[Example]:
    return [
        Example(id, scenario, "text", tuple(codes.split()), "test", "hand", "2026") for id, (scenario, codes) in RIGHT.items()
    ]


def list_predictions() -> list[Prediction]:
    return [predict(codes, codes, id=id, scenario=scenario) for id, (scenario, codes) in RIGHT.items()]


def write_all(folder: Path, **facts: Any) -> Path:
    """Write data and predictions without any fault; returns the predictions."""
    data = folder / "test.jsonl"
    write_examples(data, list_examples())
    facts = {"data": str(data), "inputs": [data], "counts": {"n": 4}} | facts
    return write_run(folder / "run", list_predictions(), **facts)


def change_header(path: Path, **facts: Any) -> None:
    header = path.with_name("run.json")
    header.write_text(json.dumps(json.loads(header.read_text()) | facts))


def plant(path: Path, fault: str) -> None:
    """Plant a fault into a predictions file, its header or its data."""
    lines, header = path.read_text().splitlines(keepends=True), path.with_name("run.json")
    changed = {
        "wrong id": "".join(lines).replace('"t1"', '"t9"'),
        "repeated id": "".join([*lines, lines[0]]),
        "unknown scenario": "".join(lines).replace('"multiple"', '"multipel"'),
        "unknown status": "".join(lines).replace('"ok"', '"fine"', 1),
        "half a line": "".join(lines)[:-9],
        "score that is no number": "".join(lines).replace("-0.1", "NaN", 1),
        "other codes": "".join(lines).replace('"codes": ["M17.11"]', '"codes": ["M17.12"]'),
        "other scenario": "".join(lines).replace('"base"', '"typo"'),
        "no right codes": "".join(lines).replace('"codes": ["I10"]', '"codes": []'),
        "missing examples": "".join(lines[:3]),
        "not counted and missing": "".join(lines[:3]),
    }
    if fault in changed:
        assert changed[fault] != "".join(lines)
        path.write_text(changed[fault])
    match fault:
        case "not counted and missing":
            change_header(path, counts={})
        case "no header":
            header.unlink()
        case "broken header":
            header.write_text("{")
        case "other schema":
            change_header(path, schema_version=99)
        case "other release":
            change_header(path, release="2025")
        case "other prompt version":
            change_header(path, prompt_version=-1)
        case "other data":
            data = Path(json.loads(header.read_text())["data"])
            data.write_text(data.read_text() + "\n")
        case "no data":
            Path(json.loads(header.read_text())["data"]).unlink()
        case "never finished":
            change_header(path, counts={})
        case "unknown scores":
            change_header(path, score_source="hunch")
        case "no file":
            path.unlink()


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("wrong id", ("predictions.jsonl, line 2", "id 't9' is not in", "test.jsonl")),
        ("repeated id", ("predictions.jsonl, line 5", "its id stands on line 1")),
        ("unknown scenario", ("predictions.jsonl, line 4", "did you mean 'multiple'?")),
        ("unknown status", ("predictions.jsonl, line 1", "unknown status 'fine'")),
        ("half a line", ("predictions.jsonl, line 4", "half written")),
        ("score that is no number", ("predictions.jsonl, line 1", "'predicted' should be a list")),
        ("other codes", ("predictions.jsonl, line 3", "right codes 'M17.12', but 'M17.11' in", "test.jsonl")),
        ("other scenario", ("predictions.jsonl, line 1", "scenario 'typo', but 'base' in")),
        ("no right codes", ("predictions.jsonl, line 1", "'codes' is empty")),
        ("missing examples", ("3 predictions", "counted 4")),
        ("not counted and missing", ("1 of 4 examples of", "have no answer, 'm1' first")),
        ("no header", ("run.json", "cannot be read")),
        ("broken header", ("run.json", "not valid JSON")),
        ("other schema", ("run.json", "schema version")),
        ("other release", ("release 2025", "release 2026", "--code-file")),
        ("unknown scores", ("unknown score_source 'hunch'", "logprob")),
        ("no file", ("predictions", "does not exist")),
    ],
)
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, parts: tuple[str, ...]) -> None:
    path = write_all(tmp_path)
    plant(path, fault)
    assert run([str(path), "--n-boot", "100"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line
    assert not path.with_name("scores.json").exists()


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ("none", None),
        ("other prompt version", "made with prompt version -1"),
        ("other data", "test.jsonl is not the file that was answered"),
        ("no data", "test.jsonl is not there"),
        ("never finished", "run.json has no counts"),
    ],
)
def test_scored_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, note: str | None) -> None:
    path = write_all(tmp_path)
    plant(path, fault)
    assert run([str(path), "--n-boot", "100"]) == 0
    notes = read_scores(path.with_name("scores.json"))["scoring"]["notes"]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == len(said) == (note is not None)
    assert note is None or (note in notes[0] and note in said[0])


@pytest.mark.parametrize("fault", ["wrong id", "other codes", "not counted and missing"])
def test_restricted_ids_and_codes_are_in_no_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    path = write_all(tmp_path, restricted=True)
    plant(path, fault)
    assert run([str(path), "--n-boot", "100"]) == 2
    line = capsys.readouterr().err
    assert "(not shown)" in line and not any(name in line for name in ("'t9'", "'m1'", "M17.1"))


def test_data_that_moved_is_compared_where_it_is_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_all(tmp_path)
    moved = (tmp_path / "test.jsonl").rename(tmp_path / "moved.jsonl")
    assert run([str(path), "--n-boot", "100", "--data", str(moved)]) == 0
    plant(path, "wrong id")
    assert run([str(path), "--n-boot", "100", "--data", str(moved)]) == 2
    assert "id 't9' is not in" in capsys.readouterr().err


def test_only_the_examples_that_were_asked_are_expected(tmp_path: Path) -> None:
    path = write_all(tmp_path)
    change_header(path, settings={"scenarios": ["typo"], "limit": 1}, counts={"n": 1})
    path.write_text(path.read_text().splitlines(keepends=True)[1])
    assert run([str(path), "--n-boot", "100"]) == 0


def write_validation(folder: Path, names: str, **facts: Any) -> Path:
    predictions = [predict("I10", "I10", id=name)._replace(patient=f"p{name}") for name in names]
    return write_run(folder, predictions, **facts)


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("same file", ("are the predictions to score",)),
        ("copy", ("are the predictions to score",)),
        ("shared ids", ("shares 1 ids", "'c' first")),
        ("shared patients", ("shares 1 patients", "'pc' first")),
        ("other engine", ("engine 'floor', but 'transformers'",)),
        ("other release", ("release 2025",)),
    ],
)
def test_validation_that_is_not_apart_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, parts: tuple[str, ...]
) -> None:
    path = write_validation(tmp_path / "test", "abc")
    validation = write_validation(tmp_path / "validation", "de")
    match fault:
        case "same file":
            validation = path
        case "copy":
            validation.write_bytes(path.read_bytes())
        case "shared ids":
            validation = write_validation(tmp_path / "validation", "cd")
        case "shared patients":
            validation.write_text(validation.read_text().replace('"pd"', '"pc"'))
        case "other engine":
            change_header(validation, engine="floor")
        case "other release":
            change_header(validation, release="2025")
    assert run([str(path), "--validation", str(validation), "--n-boot", "100"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line


def test_hash_of_the_validation_is_kept(tmp_path: Path) -> None:
    path, validation = write_validation(tmp_path / "test", "abc"), write_validation(tmp_path / "validation", "de")
    assert run([str(path), "--validation", str(validation), "--n-boot", "100"]) == 0
    scores = read_scores(path.with_name("scores.json"))
    assert scores["scoring"]["validation_sha256"] == hash_file(validation)
    assert scores["thresholded"]["chosen_on"] == str(validation)
