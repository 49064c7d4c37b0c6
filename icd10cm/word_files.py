"""Lists of words that a user brings: one row a line, in columns split by commas or tabs.

What is wrong with a list is said in one line that names the file, the line and what was expected.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from icd10cm.errors import DataError


def read_rows(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not empty, counted from 1, and its columns, of which none is empty.

    Args:
        path: UTF-8; the first line decides whether tabs or commas split the columns.
        expected: what the columns are, for the message of an error.

    Raises:
        DataError: the file cannot be read, is not UTF-8, has no row, or a row has an empty column or an open quotation.
    """
    lines = _read_text(path, expected).splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise DataError(f"{path}: is empty; expected {expected}")
    separator = "\t" if "\t" in numbered[0][1] else ","
    for number, line in numbered:
        columns = [column.strip() for column in _split(line, separator, path, number)]
        if not all(columns):
            raise_fault(path, number, f"column {columns.index('') + 1} is empty", expected)
        yield number, columns


def raise_fault(path: Path, number: int, fault: str, expected: str) -> None:
    """Raise the `DataError` for a line."""
    raise DataError(f"{path}, line {number}: {fault}; expected {expected}")


def _read_text(path: Path, expected: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {number}: not UTF-8; save the file as UTF-8; expected {expected}") from None


def _split(line: str, separator: str, path: Path, number: int) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(f'{path}, line {number}: {error}; a " within a quotation is written twice') from None
