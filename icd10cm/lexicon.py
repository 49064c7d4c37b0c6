"""Other words for the same: `lexicon.csv` has short forms in clinical use, `synonyms.csv` what lay people and notes say.

A short form may stand for several long ones, and a long one may have several short forms.
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path

LEXICON_FILE = Path(__file__).with_name("lexicon.csv")
SYNONYMS_FILE = Path(__file__).with_name("synonyms.csv")


@functools.cache
def read_short_forms() -> tuple[tuple[str, str], ...]:
    """Return short and long forms, in file order: `HTN` and `hypertension`."""
    return _read_pairs(LEXICON_FILE)


@functools.cache
def read_synonyms() -> tuple[tuple[str, str], ...]:
    """Return words and what titles say for them, in file order: `heart attack` and `myocardial infarction`."""
    return _read_pairs(SYNONYMS_FILE)


def _read_pairs(path: Path) -> tuple[tuple[str, str], ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple((left, right) for left, right in list(csv.reader(file))[1:])
