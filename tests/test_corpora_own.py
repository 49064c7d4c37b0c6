"""Texts of the user's own: any file, any names of columns, every bad row named."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_gen.examples import SPLITS, Example, read_examples
from data_gen.restricted import is_restricted
from eval.corpora import prepare

ROWS: list[dict[str, Any]] = [
    {"note": 'Seen for T2DM, "stable"\nand HTN', "icd": ["e119", "I10.", "i10"], "who": "p1", "ward": "A"},
    {"note": "Low back pain", "icd": ["M54.5"], "who": "p1", "ward": "B"},
    {"note": "naïve – cough", "icd": ["R05.9", "Z99.999"], "who": "p2", "ward": ""},
    *({"note": f"Visit {number} for asthma", "icd": ["J45.909"], "who": f"q{number}", "ward": "A"} for number in range(30)),
]
COLUMNS = ["--text-column", "note", "--codes-column", "icd", "--patient-column", "who", "--attribute-columns", "ward"]


def write_rows(path: Path, rows: list[dict[str, Any]], separator: str = ", ") -> Path:
    """Write rows as what the name of the file says."""
    if ".jsonl" in path.name:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(row | {"icd": separator.join(row["icd"])} for row in rows)
        content = text.getvalue().encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def prepare_own(output: Path, *arguments: object) -> list[Example]:
    """Prepare in this process; returns all examples."""
    words = ["--corpus", "own", "--output-dir", output, *arguments]
    assert prepare.run([str(word) for word in words]) == 0
    return [example for split in SPLITS for example in read_examples(output / f"{split}.parquet")]


def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line that preparing ends with."""
    words = ["--corpus", "own", "--output-dir", tmp_path / "never", *arguments]
    assert prepare.run([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (tmp_path / "never").exists()
    return line


@pytest.mark.parametrize("name", ["notes.jsonl", "notes.csv", "notes.csv.gz", "notes.parquet"])
@pytest.mark.parametrize("separator", [", ", ";", " | "])
def test_every_kind_of_file_says_the_same(name: str, separator: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / name, ROWS, separator)
    by_text = {e.text: e for e in prepare_own(tmp_path / "out", "--files", path, *COLUMNS)}
    assert by_text.keys() == {row["note"] for row in ROWS}
    first = by_text[ROWS[0]["note"]]
    assert first.codes == ("E11.9", "I10") and first.patient == "p1" and first.attributes == (("ward", "A"),)
    assert by_text["Low back pain"].codes == ("M54.50",) and by_text["Low back pain"].split == first.split
    assert by_text["naïve – cough"].codes == ("R05.9",) and by_text["naïve – cough"].attributes == ()
    line = {"notes.jsonl": 2, "notes.parquet": 2}.get(name, 4)
    assert by_text["Low back pain"].id == f"{name}-{line}"
    card = (tmp_path / "out" / "corpus_card.md").read_text()
    assert "| lost: not in the release | 1 |" in card and "| the same code again in a text | 1 |" in card
    assert "| Z99.999 | not in the release | <10 |" in card


def test_splits_of_the_file_and_ids(tmp_path: Path) -> None:
    names = ("Train", "dev", "TEST")
    rows = [row | {"key": number, "part": names[number % 3]} for number, row in enumerate(ROWS)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    examples = prepare_own(tmp_path / "out", "--files", path, *COLUMNS, "--id-column", "key", "--split-column", "part")
    assert {e.id: e.split for e in examples} == {str(n): ("train", "validation", "test")[n % 3] for n in range(len(rows))}
    told = json.loads((tmp_path / "out" / "run.json").read_text())["counts"]["leaks"]
    assert told["patients in more than one split"] == 1


def test_without_patients_the_same_text_stays_in_one_split(tmp_path: Path) -> None:
    rows = [row | {"note": f"text {number // 3}", "who": str(number)} for number, row in enumerate(ROWS)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    examples = prepare_own(tmp_path / "out", "--files", path, *COLUMNS[:4], "--restricted", "true")
    assert {example.patient for example in examples} == {""} and len({example.split for example in examples}) == 3
    assert len({(example.text, example.split) for example in examples}) == 11
    prepare_own(tmp_path / "named", "--files", path, *COLUMNS)
    told = [json.loads((tmp_path / name / "run.json").read_text())["counts"]["leaks"] for name in ("out", "named")]
    assert [leaks["texts in more than one split"] > 0 for leaks in told] == [False, True]
    assert is_restricted(tmp_path / "out" / "test.parquet")


BAD = [{}, {"note": " "}, {"icd": []}, {"id": "a"}, {"id": ""}, {"note": None}]


def test_bad_rows_are_named_by_line_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "note": "secret words", "icd": ["I10"]}]
    rows += [{"id": str(n), "note": "secret words", "icd": ["I10"]} | bad for n, bad in enumerate(BAD)]
    path = write_rows(tmp_path / "a.jsonl", rows)
    columns = ["--files", path, *COLUMNS[:4], "--id-column", "id"]
    line = refuse(tmp_path, capsys, *columns)
    assert "2 rows: no text (a.jsonl, line 3, a.jsonl, line 7)" in line and "1 rows: no codes (a.jsonl, line 4)" in line
    assert "1 rows: an id that another row has (a.jsonl, line 5)" in line and "1 rows: no id (a.jsonl, line 6)" in line
    assert "secret" not in line
    assert len(prepare_own(tmp_path / "out", *columns, "--bad-rows", "drop")) == 2
    counts = json.loads((tmp_path / "out" / "run.json").read_text())["counts"]["texts"]
    assert counts == {
        "rows in the files": 7, "dropped: no text": 2, "dropped: no codes": 1, "dropped: an id that another row has": 1,
        "dropped: no id": 1, "in the examples": 2,
    }  # fmt: skip
    assert "a.jsonl, line 3" in (tmp_path / "out" / "corpus_card.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", '{"note": "secret", "icd": ["I10"]}\n{"note": \n', "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '["secret"]\n', "a.jsonl, line 1: should be an object with keys, not a list"),
        ("a.jsonl", '{"notes": "secret", "icd": ["I10"]}\n', "text_column: no column 'note', did you mean 'notes'?"),
        ("a.csv", "note,icd\nsecret, and more,I10\n", "a.csv, line 2: has 3 cells, the first line 2; quote the texts"),
        ("a.csv", 'note,icd\n"sec"ret,I10\n', "a.csv, line 2: not a valid CSV row"),
        ("a.csv", 'note,icd\nx,I10\n"secret\n', "a.csv, line 3: not a valid CSV row"),
        ("a.csv", b"note,icd\nsecret \xff,I10\n", "cannot be read (UnicodeDecodeError)"),
        ("a.parquet", "secret", "not a readable parquet file"),
        ("a.xlsx", "secret", "files end in .jsonl"),
        ("a.jsonl", '{"note": "secret", "icd": ["Z99.999"]}\n', "no text is left (rows in the files 1, no code is left 1"),
        ("a.jsonl", '{"note": "Dear Ms. ___, you were admitted, secret", "icd": ["I10"]}\n', "speak to the patient"),
    ],
)
def test_files_that_cannot_be_read(
    name: str, content: str | bytes, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    line = refuse(tmp_path, capsys, "--files", path, *COLUMNS[:4])
    assert complaint in line and "secret" not in line


def test_settings_of_the_others_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refuse(tmp_path, capsys, "--procedures")
    assert "'procedures' has no effect on own" in line and "own needs 'files'" in line
    assert "unknown key 'text_colum', did you mean 'text_column'" in refuse(tmp_path, capsys, "--text-colum", "x")


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "a.jsonl", ROWS)
    words = ["--corpus", "own", "--output-dir", tmp_path / "out", "--files", path, *COLUMNS, "--dry-run"]
    assert prepare.run([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    assert (
        f"would write {len(ROWS)} texts" in shown
        and "texts: rows in the files: 33" in shown
        and not (tmp_path / "out").exists()
    )
