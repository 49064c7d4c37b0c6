"""Other words for the same: `lexicon.csv` has short forms in clinical use, `synonyms.csv` what lay people and notes say.

A short form may stand for several long ones, and a long one may have several short forms. A user may bring a list of short
forms with the share of their uses in which they mean each long form.
"""

from __future__ import annotations

import csv
import functools
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from icd10cm.word_files import raise_fault, read_rows

LEXICON_FILE = Path(__file__).with_name("lexicon.csv")
SYNONYMS_FILE = Path(__file__).with_name("synonyms.csv")
_NAMES = {"abbreviation": "short", "short": "short", "sense": "long", "long": "long"}
_PLAIN_COLUMNS = ("short", "long", "frequency")
_EXPECTED = "columns short, long and frequency (the last may be left out everywhere), split by commas or tabs"
_WRITTEN = re.compile(r"([^|]+)_(\d+)")


class Abbreviation(NamedTuple):
    """One meaning of a short form in a user's list.

    Attributes:
        short: as it is written.
        long: what it means.
        share: of the uses of the short form, those that mean this, 0 to 1; 1 where the list does not say.
    """

    short: str
    long: str
    share: float


@functools.cache
def read_short_forms() -> tuple[tuple[str, str], ...]:
    """Return short and long forms, in file order: `HTN` and `hypertension`."""
    return _read_pairs(LEXICON_FILE)


@functools.cache
def read_synonyms() -> tuple[tuple[str, str], ...]:
    """Return words and what titles say for them, in file order: `heart attack` and `myocardial infarction`."""
    return _read_pairs(SYNONYMS_FILE)


def read_abbreviations(path: Path) -> list[Abbreviation]:
    """Return the short forms of a user's list, in file order.

    The columns are short, long and perhaps frequency, with or without a header, or named by a header in any order: `short`
    or `abbreviation`, `long` or `sense`, `frequency`, and `variation`, the spellings with their counts (`A/P_2|a/p_4`), of
    which the most frequent is taken. Frequencies are shares of the uses of a short form or, where one is above 1, counts.
    An underscore in a short form stands for a slash.

    Raises:
        DataError: a row is broken; the message names the line.
    """
    columns: list[str] = []
    found: list[Abbreviation] = []
    for number, cells in read_rows(path, _EXPECTED):
        if not columns:
            names = [_NAMES.get(cell.lower(), cell.lower()) for cell in cells]
            if {"short", "long"} <= set(names):
                columns = names
                continue
            columns = list(_PLAIN_COLUMNS[: max(2, len(cells))])
        if len(cells) != len(columns):
            raise_fault(path, number, f"the number of columns is {len(cells)}, not {len(columns)}", _EXPECTED)
        row = dict(zip(columns, cells, strict=True))
        share = _read_frequency(row.get("frequency", "1"))
        if share is None:
            raise_fault(path, number, f"frequency {row['frequency']!r} is no number of 0 or more", _EXPECTED)
        short = _choose_spelling(row["short"], row.get("variation", "")).replace("_", "/")
        found.append(Abbreviation(short, row["long"], share or 0.0))
    return _divide_counts(found)


def _read_frequency(text: str) -> float | None:
    try:
        frequency = float(text)
    except ValueError:
        return None
    return frequency if 0 <= frequency < math.inf else None


def _choose_spelling(short: str, written: str) -> str:
    """Return how a short form is written most often, from `Disp_7|DISP_1`; as it is where nothing says so."""
    spellings = [(int(count), spelling) for spelling, count in _WRITTEN.findall(written)]
    most = max(spellings, key=lambda spelling: spelling[0], default=(0, short))[1]
    return most if _squeeze(most) == _squeeze(short) else short


def _squeeze(short: str) -> str:
    return re.sub(r"[\W_]", "", short).casefold()


def _divide_counts(found: list[Abbreviation]) -> list[Abbreviation]:
    """Return counts as shares of all uses of a short form."""
    if all(form.share <= 1 for form in found):
        return found
    uses: defaultdict[str, float] = defaultdict(float)
    for form in found:
        uses[form.short.casefold()] += form.share
    return [form._replace(share=form.share / (uses[form.short.casefold()] or 1)) for form in found]


def _read_pairs(path: Path) -> tuple[tuple[str, str], ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple((left, right) for left, right in list(csv.reader(file))[1:])
