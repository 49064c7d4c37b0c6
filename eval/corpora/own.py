"""Texts of the user's own, with codes, as records: JSONL, CSV or parquet with any names of columns."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.corpora.clinical import SAMPLE, check_sample
from eval.corpora.records import TEXTS, Ledger, Record, TextWriter, open_texts
from eval.corpora.rows import read_rows
from eval.corpora.settings import CorpusSettings
from eval.corpora.splits import SPLIT_NAMES
from icd10cm.config import suggest_name
from icd10cm.errors import DataError

ABOUT = "Texts of the user's own."
SOURCE = "own"

_SEPARATOR = re.compile(r"[,;|\s]+")
_NAMED = 5


def gather(settings: CorpusSettings, work: Path, ledger: Ledger) -> Iterator[Record]:
    """Yield a record per row, its text staged in `work`."""
    with open_texts(work / TEXTS) as texts:
        yield from list_records(settings, texts, ledger)


def find_files(settings: CorpusSettings) -> list[Path]:
    """Return the files that are read."""
    return settings.files


def list_records(settings: CorpusSettings, texts: TextWriter, ledger: Ledger) -> Iterator[Record]:
    """Yield a record per row that has a text and codes.

    Raises:
        DataError: a file is not readable, lacks a column or holds what patients are told; or, with `bad_rows: stop`, rows
            are bad: the kinds are counted and the first lines of each named.
    """
    problems = _Problems()
    lines: dict[str, str] = {}
    for path in settings.files:
        sample: list[str] = []
        for number, row in read_rows(path):
            if not sample:
                _check_columns(row, settings, str(path))
            where = f"{path.name}, line {number}"
            ledger.count("texts", "rows in the files")
            text = row.get(settings.text_column)
            codes = _list_codes(row.get(settings.codes_column))
            name = _find_name(row, settings, where)
            split = _read_cell(row, settings.split_column).lower()
            problem = _find_problem(text, codes, name, split, lines, settings)
            if problem:
                problems.add(problem, where)
                ledger.count("texts", f"dropped: {problem}")
                continue
            assert isinstance(text, str)
            if len(sample) < SAMPLE:
                sample.append(text)
            lines[name] = where
            patient = _read_cell(row, settings.patient_column)
            # where no patient is named, the same text stays in one split
            same = "" if patient else hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
            yield Record(texts.append(text), name, patient, codes, _list_attributes(row, settings), same, split)
        check_sample(sample, path, need_headings=False)
    if problems.lines and settings.bad_rows == "stop":
        raise DataError(f"{problems.describe()}; correct them, or leave them out with bad_rows: drop")
    if problems.lines:
        ledger.remarks.append(f"left out: {problems.describe()}")


class _Problems:
    """What is wrong with rows, and where."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    def add(self, problem: str, where: str) -> None:
        self.lines.setdefault(problem, []).append(where)

    def describe(self) -> str:
        return "; ".join(
            f"{len(lines):,} rows: {problem} ({', '.join(lines[:_NAMED])}{' …' if len(lines) > _NAMED else ''})"
            for problem, lines in self.lines.items()
        )


def _check_columns(row: dict[str, Any], settings: CorpusSettings, path: str) -> None:
    """Name every column of the settings that the first row has not."""
    named = {
        "id_column": settings.id_column, "text_column": settings.text_column, "codes_column": settings.codes_column,
        "patient_column": settings.patient_column, "split_column": settings.split_column,
    }  # fmt: skip
    wanted = [(key, name) for key, name in named.items() if name]
    wanted += [("attribute_columns", name) for name in settings.attribute_columns]
    absent = [f"{key}: no column {name!r}{suggest_name(name, row)}" for key, name in wanted if name not in row]
    if absent:
        raise DataError(f"{path}: {'; '.join(absent)}")


def _find_name(row: dict[str, Any], settings: CorpusSettings, where: str) -> str:
    return _read_cell(row, settings.id_column) if settings.id_column else where.replace(", line ", "-")


def _find_problem(
    text: Any, codes: Sequence[str], name: str, split: str, lines: dict[str, str], settings: CorpusSettings
) -> str:
    """Return what is wrong with a row; empty when nothing is."""
    if not isinstance(text, str) or not text.strip():
        return "no text"
    if not codes:
        return "no codes"
    if not name:
        return "no id"
    if name in lines:
        return "an id that another row has"
    if settings.split_column and split not in SPLIT_NAMES:
        return f"a split that is none of {', '.join(SPLIT_NAMES)}"
    return ""


def _list_codes(cell: Any) -> tuple[str, ...]:
    """Return the codes of a cell: a list, or a text that is split at commas, semicolons, bars and blanks."""
    items = (
        cell if isinstance(cell, list | tuple) else _SEPARATOR.split(cell.strip("[](){} \t\n")) if isinstance(cell, str) else ()
    )
    texts = (str(item).strip(" '\"") for item in items if item is not None)
    return tuple(text for text in texts if text)


def _read_cell(row: dict[str, Any], column: str | None) -> str:
    value = row.get(column) if column else None
    return "" if value is None else str(value).strip()


def _list_attributes(row: dict[str, Any], settings: CorpusSettings) -> tuple[tuple[str, str], ...]:
    pairs = ((name, _read_cell(row, name)) for name in sorted(settings.attribute_columns))
    return tuple((name, value) for name, value in pairs if value)
