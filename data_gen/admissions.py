"""What a table of diagnoses says: how often each code was coded, and which categories in one admission.

The table is `diagnoses_icd.csv` of MIMIC-IV or one with the same columns. Its counts decide what is drawn; they are
written nowhere.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv

from icd10cm.codeset import CODE_SHAPE, CodeSet, add_dot
from icd10cm.errors import DataError
from icd10cm.releases import find_retired

_COLUMNS = ("hadm_id", "icd_code", "icd_version")
_VERSION = "10"


class Admissions(NamedTuple):
    """Counts over all admissions.

    Attributes:
        codes: dotted code, as it was coded, to number of admissions.
        pairs: two categories, sorted, to number of admissions with both.
    """

    codes: Counter[str]
    pairs: Counter[tuple[str, str]]


@functools.lru_cache(maxsize=4)
def read_admissions(path: Path) -> Admissions:
    """Return the counts of the ICD-10 rows of a CSV, plain or gzip; a file is read once.

    Raises:
        DataError: not a CSV, lacks a column, or has no ICD-10 row.
    """
    table = _read_table(path)
    by_admission: defaultdict[str, set[str]] = defaultdict(set)
    for admission, code, version in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
        if version.strip() == _VERSION and (dotted := _read_code(code)):
            by_admission[admission].add(dotted)
    if not by_admission:
        raise DataError(f"{path}: has no row with an ICD-10 code and icd_version {_VERSION}; give a table of ICD-10 diagnoses")
    admissions = Admissions(Counter(), Counter())
    for codes in by_admission.values():
        admissions.codes.update(codes)
        admissions.pairs.update(itertools.combinations(sorted({code[:3] for code in codes}), 2))
    return admissions


def carry_codes(admissions: Admissions, codeset: CodeSet) -> tuple[Counter[str], int, int]:
    """Return code of the release to number of admissions, and how many diagnoses of how many codes it has no code for.

    A retired code counts for its likeliest successor.
    """
    carried: Counter[str] = Counter()
    n_lost = n_codes = 0
    for code, number in admissions.codes.items():
        retired = None if codeset.is_billable(code) else find_retired(code)
        known = [other for other in (code, *(retired.successors if retired else ())) if codeset.is_billable(other)]
        if known:
            carried[known[0]] += number
        else:
            n_lost += number
            n_codes += 1
    return carried, n_lost, n_codes


# a table has millions of rows and some ten thousand codes
@functools.cache
def _read_code(text: str) -> str:
    """Return a code in dotted form; empty where it has not the shape of one."""
    dotted = add_dot(text)
    return dotted if CODE_SHAPE.fullmatch(dotted) else ""


def _read_table(path: Path) -> pa.Table:
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string()))
    try:
        table = pa.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable CSV ({' '.join(str(error).split())[:200]})") from None
    absent = [name for name in _COLUMNS if name not in table.column_names]
    if absent:
        raise DataError(f"{path}: has no column {', '.join(absent)}; MIMIC-IV's diagnoses_icd.csv has {', '.join(_COLUMNS)}")
    return table
