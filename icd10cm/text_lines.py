"""Lines of a text file that a user names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from icd10cm.errors import DataError


def open_lines(path: Path) -> Iterator[str]:
    """Yield the lines; what is no UTF-8 becomes a replacement sign. Raises `DataError` where the file cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
