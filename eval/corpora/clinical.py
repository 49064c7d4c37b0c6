"""Whether texts are clinical notes: those that speak to the patient instead, cut out of the notes, are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from icd10cm.errors import DataError

HEADING = r"(?i)\b(chief complaint|history of present illness|past medical history|hospital course|discharge diagnos[ei]s)"
"""A heading of a discharge summary; understood by Python and by DuckDB."""

PATIENT_COLUMNS = frozenset(
    ("discharge_instructions", "discharge_instruction", "instructions", "patient_summary", "after_visit_summary", "letter")
)
"""Columns of data sets that hold what the patient is told."""

SAMPLE = 300
_ENOUGH, _FEW_HEADINGS = 0.5, 2
_TO_PATIENT = re.compile(
    r"\bdear (?:mr|ms|mrs|miss|dr|patient|parents|_)"
    r"|\byou (?:were|was|came|presented|have been) (?:admitted|hospitali|seen|treated|brought|to the)"
    r"|\bit was a pleasure (?:taking|caring|to)|\bwe wish you\b",
    re.IGNORECASE,
)
_find_headings = re.compile(HEADING).findall


def is_clinical(text: str) -> bool:
    """Whether a text has at least two headings of a discharge summary."""
    return len({heading.lower() for heading in _find_headings(text)}) >= _FEW_HEADINGS


def speaks_to_patient(text: str) -> bool:
    """Whether a text addresses the patient and has not the headings of a clinical note."""
    return bool(_TO_PATIENT.search(text)) and not is_clinical(text)


def check_columns(columns: Sequence[str], path: Path, text_column: str = "text") -> None:
    """Refuse a table that has what the patient is told where the note should be. Raises `DataError`."""
    found = sorted(PATIENT_COLUMNS & {name.lower() for name in columns})
    if text_column not in columns and found:
        raise DataError(
            f"{path}: holds what the patient is told (column {', '.join(found)}) and not the clinical note; "
            "codes are assigned from the note: give MIMIC-IV-Note's discharge.csv.gz, or the column of the note"
        )


def check_sample(texts: Sequence[str], path: Path, need_headings: bool) -> None:
    """Refuse texts that are not clinical notes; no text of them is in the message.

    Args:
        texts: a sample, at most `SAMPLE`.
        path: where they are from.
        need_headings: whether most texts must have the headings of a discharge summary, as MIMIC-IV's do.

    Raises:
        DataError: most of them speak to the patient, or (`need_headings`) most lack the headings.
    """
    if not texts:
        return
    to_patient = sum(map(speaks_to_patient, texts)) / len(texts)
    if to_patient >= _ENOUGH:
        raise DataError(
            f"{path}: {to_patient:.0%} of the first {len(texts):,} texts speak to the patient (discharge instructions) and "
            "have no headings of a clinical note; codes are assigned from the note: give the whole discharge summaries"
        )
    clinical = sum(map(is_clinical, texts)) / len(texts)
    if need_headings and clinical < _ENOUGH:
        raise DataError(
            f"{path}: only {clinical:.0%} of the first {len(texts):,} texts have the headings of a discharge summary; "
            "give MIMIC-IV-Note's discharge.csv.gz (corpus own takes texts of any kind)"
        )
