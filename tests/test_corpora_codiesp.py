"""CodiEsp as examples: the prepared JSONL and the folder as it is published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_gen.examples import SPLITS, read_examples
from data_gen.restricted import is_restricted
from eval.corpora import prepare


def prepare_codiesp(folder: Path, output: Path, *more: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Prepare in this process; returns split to id to codes."""
    assert prepare.run(["--corpus", "codiesp", "--folder", str(folder), "--output-dir", str(output), *more]) == 0
    return {split: {e.id: e.codes for e in read_examples(output / f"{split}.parquet")} for split in SPLITS}


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_dev_is_the_test_and_a_tenth_of_train_the_validation(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "codiesp_en"
    found = prepare_codiesp(folder, tmp_path / "out")
    wanted = {
        part: {row["id"]: row for row in read_lines(folder / f"{part}.jsonl") if row["all_forward"]}
        for part in ("train", "dev")
    }
    assert found["test"] == {case: tuple(dict.fromkeys(row["codes_forward"])) for case, row in wanted["dev"].items()}
    assert (
        found["train"].keys() | found["validation"].keys() == wanted["train"].keys()
        and not found["train"].keys() & found["validation"]
    )
    assert 0.05 < len(found["validation"]) / len(wanted["train"]) < 0.15 and len(found["test"]) == 157
    examples = read_examples(tmp_path / "out" / "test.parquet")
    assert all(e.text == wanted["dev"][e.id]["text"] and e.patient == e.id for e in examples)
    card = (tmp_path / "out" / "corpus_card.md").read_text()
    assert "CC BY 4.0" in card and "| dropped: a code of it could not be carried forward (all_forward: true) | 274 |" in card
    assert not is_restricted(tmp_path / "out" / "test.parquet")


def test_dev_as_validation_and_cases_with_codes_that_were_lost(shared_data: Path, tmp_path: Path) -> None:
    found = prepare_codiesp(
        shared_data / "codiesp_en", tmp_path / "out", "--dev-split", "validation", "--all-forward", "false", "--seed", "5"
    )
    assert [len(found[split]) for split in SPLITS] == [498, 247, 0]
    assert (
        "| (kept though a code of it could not be carried forward) | 274 |" in (tmp_path / "out" / "corpus_card.md").read_text()
    )


def write_published(folder: Path, parts: dict[str, str]) -> Path:
    """Write a folder as Zenodo has it: part to the lines of its table, with a text per case."""
    for part, table in parts.items():
        (folder / part / "text_files_en").mkdir(parents=True)
        (folder / part / f"{part}D.tsv").write_text(table)
        for case in {line.split("\t")[0] for line in table.splitlines()}:
            (folder / part / "text_files_en" / f"{case}.txt").write_text(f"Case of {case}, naïve.\n", encoding="utf-8")
    return folder


PARTS = {"train": "S1\tn44.8\nS1\ti10\nS2\tr52\nS2\tR52\n", "dev": "S3\te11.9\nS3\tz99.999\n", "test": "S4\tj18.9\n"}


def test_the_folder_as_it_is_published(tmp_path: Path) -> None:
    folder = write_published(tmp_path / "codiesp", PARTS)
    found = prepare_codiesp(folder, tmp_path / "out")
    assert found == {
        "train": {"codiesp-train-S1": ("N44.8", "I10"), "codiesp-train-S2": ("R52",)},
        "validation": {"codiesp-dev-S3": ("E11.9",)},
        "test": {"codiesp-test-S4": ("J18.9",)},
    }
    assert read_examples(tmp_path / "out" / "test.parquet")[0].text == "Case of S4, naïve."
    header = json.loads((tmp_path / "out" / "run.json").read_text())
    assert header["counts"]["diagnoses"]["lost: not in the release"] == 1 and header["restricted"] is False
    assert [Path(name).name for name in header["inputs"]] == ["trainD.tsv", "devD.tsv", "testD.tsv"]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "train" / "text_files_en" / "S1.txt").unlink(), "S1.txt: no such file"),
        (lambda folder: (folder / "train" / "trainD.tsv").write_text("S1 n44.8\n"), "line 1: should be a case and a code"),
        (lambda folder: [path.unlink() for path in folder.rglob("*D.tsv")], "no CodiEsp here"),
        (lambda folder: (folder / "train.jsonl").write_text('{"id": "1", "text": "x"}\n'), "line 1: has no codes_forward"),
        (lambda folder: (folder / "train.jsonl").write_text('{"id": "1", \n'), "train.jsonl, line 1: not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_not_codiesp(damage, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_published(tmp_path / "codiesp", PARTS)
    damage(folder)
    assert prepare.run(["--corpus", "codiesp", "--folder", str(folder), "--output-dir", str(tmp_path / "out")]) == 2
    assert complaint in capsys.readouterr().err and not (tmp_path / "out").exists()
