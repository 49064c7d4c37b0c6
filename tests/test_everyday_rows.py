"""What the embedded model is trained on last: what wards see, and nothing that the data set holds out."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from data_gen.checks import PLAIN_NAME
from data_gen.examples import Example, read_examples, write_examples
from icd10cm.run_header import hash_file

ROOT = Path(__file__).parent.parent


def build_row(scenario: str, text: str, *codes: str, source: str = "rules:x", split: str = "train") -> Example:
    return Example(id=f"{split}-{text}", scenario=scenario, text=text, codes=codes, split=split, source=source, release="2026")


TRAIN = [
    build_row("base", "Gout, unspecified", "M10.9"),
    build_row("typo", "Goutt", "M10.9"),
    build_row("typo", "gout held", "M10.9"),
    build_row("paraphrased", "gout", "M10.9", source=PLAIN_NAME),
    build_row("paraphrased", "syncope", "R55", source=PLAIN_NAME),
    build_row("multiple", "goutt; hypertension", "M10.9", "I10"),
    build_row("multiple", "1. hypertnsion 2. gout", "I10", "M10.9"),
    build_row("multiple", "Gout held; hypertension", "M10.9", "I10"),
    build_row("multiple", "gout\nburn", "M10.9", "T30.0"),
    build_row("typo", "brun", "T30.0"),
    build_row("base", "Burn", "T30.0"),
    build_row("note", "Pt with gout.", "M10.9"),
]
HELD_OUT = [
    build_row("typo", "GOUT held", "M10.9", split="test"),
    build_row("base", "gout, unspecified", "M10.9", split="test"),
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of fresh rows, and one whose held-out texts stay so."""
    fresh, held_out = tmp_path / "fresh", tmp_path / "data"
    for folder in (fresh, held_out):
        folder.mkdir()
        header = {"schema_version": 1, "stage": "data_gen.generate", "release": "2026", "outputs": {}}
        (folder / "run.json").write_text(json.dumps(header))
    write_examples(fresh / "train.parquet", TRAIN)
    write_examples(held_out / "test.parquet", HELD_OUT)
    write_examples(held_out / "validation.parquet", [HELD_OUT[1]._replace(split="validation")])
    return fresh, held_out


def test_ward_codes_names_and_lists_come_held_out_texts_do_not(folders: tuple[Path, Path], tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "everyday_rows.py"))
    script["choose_rows"].__globals__["N_REST"] = 1
    fresh, held_out = folders
    out = tmp_path / "rows"
    assert script["run"]([str(fresh), "--held-out", str(held_out), "--output", str(out)]) == 0
    texts = [row.text for row in read_examples(out / "train.parquet")]
    for text, times in {"Gout, unspecified": 1, "Goutt": 1, "gout": 3, "syncope": 3, "gout\nburn": 1}.items():
        assert texts.count(text) == times, text
    assert not {"gout held", "Gout held; hypertension", "Pt with gout."} & set(texts)
    # a burn is in one list: one row of it is drawn
    assert sum(text in ("brun", "Burn") for text in texts) == 1
    header = json.loads((out / "run.json").read_text())
    assert header["outputs"]["test.parquet"] == hash_file(held_out / "test.parquet") == hash_file(out / "test.parquet")
    assert header["everyday_rows"] == len(texts) and header["drawn_from"] == hash_file(fresh / "train.parquet")


def test_a_missing_folder_is_one_line(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "everyday_rows.py"))
    assert script["run"]([str(tmp_path / "none"), "--held-out", str(folders[1]), "--output", str(tmp_path / "rows")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "none/train.parquet" in told and not (tmp_path / "rows").exists()
