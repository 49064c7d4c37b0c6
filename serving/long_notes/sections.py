"""The sections of a discharge summary in the layout of MIMIC-IV, and which of them are worth keeping."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

SECTIONS = (
    "Discharge Diagnosis",
    "Brief Hospital Course",
    "History of Present Illness",
    "Past Medical History",
    "Chief Complaint",
    "Major Surgical or Invasive Procedure",
    "Pertinent Results",
)
"""Sections that matter for codes, the most telling first."""

_OTHERS = (
    "Name", "Unit No", "Admission Date", "Discharge Date", "Date of Birth", "Sex", "Service", "Allergies", "Attending",
    "Review of Systems", "Past Surgical History", "Social History", "Family History", "Physical Exam", "Admission Labs",
    "Discharge Labs", "Imaging", "Medications on Admission", "Discharge Medications", "Discharge Disposition", "Facility",
    "Discharge Condition", "Discharge Instructions", "Followup Instructions", "Transitional Issues",
)  # fmt: skip
"""Headings that end the section before them."""

_OTHER_NAMES = {
    "discharge diagnoses": "Discharge Diagnosis",
    "final diagnosis": "Discharge Diagnosis",
    "final diagnoses": "Discharge Diagnosis",
    "primary diagnosis": "Discharge Diagnosis",
    "hospital course": "Brief Hospital Course",
    "summary of hospital course": "Brief Hospital Course",
    "hpi": "History of Present Illness",
    "pmh": "Past Medical History",
    "pmhx": "Past Medical History",
    "past medical/surgical history": "Past Medical History",
    "cc": "Chief Complaint",
    "reason for admission": "Chief Complaint",
    "procedures": "Major Surgical or Invasive Procedure",
    "followup instruction": "Followup Instructions",
    "physical examination": "Physical Exam",
    "past surgical hx": "Past Surgical History",
}


class Section(NamedTuple):
    """A part of a note.

    Attributes:
        name: as in `SECTIONS` where it is one of them; empty before the first heading.
        text: with its heading.
        start: where it begins in the note, in characters.
    """

    name: str
    text: str
    start: int = 0


def split_sections(text: str, wanted: Sequence[str] = SECTIONS) -> list[Section]:
    """Return the sections of a note in order; one without a name where no heading is known.

    A heading stands at the beginning of a line and ends in a colon: `Past Medical History:`. Letter case does not matter.

    Args:
        text: the note.
        wanted: names of headings besides those known here.

    >>> [section.name for section in split_sections("Service: MEDICINE\\nHPI:\\nFell.\\nDischarge Diagnosis:\\nHip fracture")]
    ['Service', 'History of Present Illness', 'Discharge Diagnosis']
    """
    names = _OTHER_NAMES | {name.lower(): name for name in (*_OTHERS, *SECTIONS, *wanted)}
    heading = re.compile(rf"^[ \t]*({'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})[ \t]*:", re.I | re.M)
    found = list(heading.finditer(text))
    starts = [*(match.start() for match in found), len(text)]
    sections = [Section("", text[: starts[0]])]
    for match, end in zip(found, starts[1:], strict=True):
        sections.append(Section(names[match[1].lower()], text[match.start() : end], match.start()))
    return [section for section in sections if section.text.strip()]
