"""What every corpus is turned into before its codes are read: records, whose texts wait in a file, and a ledger of counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = "texts.parquet"
"""Staged texts, one column `text`, in the order of the source; a record names its row."""

_TEXT_SCHEMA = pa.schema([("text", pa.string())])
_STAGED_ROWS = 4096


class Record(NamedTuple):
    """One text of a corpus, without the text.

    Attributes:
        row: its row among the staged texts.
        id: unique within the corpus.
        patient: whom it is about; empty where nobody says.
        codes: diagnoses as they are written, principal first, whatever is wrong with them.
        attributes: (name, value) pairs, sorted.
        stay: the admission, where there is one; what keeps together in one split where no patient is named.
        split: the split that the corpus itself names; otherwise empty.
        procedures: ICD-10-PCS codes as they are written.
    """

    row: int
    id: str
    patient: str
    codes: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...] = ()
    stay: str = ""
    split: str = ""
    procedures: tuple[str, ...] = ()


class Ledger:
    """Counts of what was read, dropped and changed, by section, in the order in which it happened."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.sections: dict[str, dict[str, int]] = {}
        self.remarks: list[str] = []
        self.lost: dict[tuple[str, str], int] = {}

    def count(self, section: str, what: str, number: int = 1) -> None:
        """Add to a count; a first count of nothing is kept, since it says that somebody looked."""
        rows = self.sections.setdefault(section, {})
        rows[what] = rows.get(what, 0) + number

    def lose(self, code: str, reason: str) -> None:
        """Remember a code without a place in the release."""
        self.lost[code, reason] = self.lost.get((code, reason), 0) + 1


@contextmanager
def open_texts(path: Path) -> Iterator[TextWriter]:
    """Open the staged texts for writing; yields what appends to them."""
    with pq.ParquetWriter(path, _TEXT_SCHEMA, compression="lz4") as writer:
        texts = TextWriter(writer)
        yield texts
        texts.flush()


class TextWriter:
    """Appends texts to the staged file."""

    def __init__(self, writer: pq.ParquetWriter):
        """Write through `writer`."""
        self._writer, self._held, self._n = writer, list[str](), 0

    def append(self, text: str) -> int:
        """Add a text and return its row."""
        self._held.append(text)
        self._n += 1
        if len(self._held) == _STAGED_ROWS:
            self.flush()
        return self._n - 1

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._writer.write_table(pa.table([pa.array(self._held, pa.string())], schema=_TEXT_SCHEMA))
            self._held = []
