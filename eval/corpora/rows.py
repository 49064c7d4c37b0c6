"""Rows of JSONL, CSV and parquet files with the number of their line."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from icd10cm.errors import DataError

READABLE = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
Row = tuple[int, dict[str, Any]]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield each row of a file with its line (its number, for parquet). Raises `DataError` that names file and line."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READABLE:
        raise DataError(f"{path}: files end in {', '.join(READABLE)}, the first four also in .gz")
    if suffix == ".parquet":
        return _read_parquet(path)
    return read_json_lines(path) if suffix in (".jsonl", ".ndjson") else _read_csv(path, "\t" if suffix == ".tsv" else ",")


def read_json_lines(path: Path) -> Iterator[Row]:
    """Yield each object of a JSONL file, plain or gzip, with its line; blank lines are passed over."""
    for number, line in enumerate(_read_text_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise DataError(f"{path}, line {number}: not valid JSON; write one object per line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: should be an object with keys, not a {type(row).__name__}")
        yield number, row


def _read_text_lines(path: Path) -> Iterator[str]:
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):  # noqa: B007
                yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}, line {number + 1}: cannot be read ({type(error).__name__}); it should be UTF-8") from None


def _read_csv(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_read_text_lines(path), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
        start = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(names):
                    raise DataError(
                        f"{path}, line {start}: has {len(cells)} cells, the first line {len(names)}; quote the texts"
                    )
                yield start, dict(zip(names, cells, strict=True))
            start = reader.line_num + 1
    except csv.Error:
        raise DataError(f"{path}, line {reader.line_num}: not a valid CSV row; quote texts and double quotes in them") from None


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({type(error).__name__})") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8", newline="")
