"""Codes at odds with the patient's sex or age, by what the tabular list itself says.

CMS's own lists (the Medicare Code Editor's sex and age edits) are in `icd10cm.rules.medicare`; CMS ended its sex edit for
discharges from October 2024, and so a conflict is a reason to look, not an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from icd10cm.codeset import find_chapter
from icd10cm.rules.case import EXTERNAL_CAUSES, PERINATAL, PREGNANCY, Case, Knowledge
from icd10cm.rules.finding import Finding, Severity

SEXES = {"F": "female", "M": "male"}

_FEMALE = re.compile(
    r"\b(?:female|wom[ae]n|pregnan\w*|ovar(?:y|ian|ies)|uter(?:us|ine)|cervix(?: uteri)?|cervical (?:cytolog|dysplas|high)\w*"
    r"|fallopian|vagin(?:a|al|itis)|vulv\w*|menstru\w*|menopaus\w*|menorrh\w*|endometri\w*|puerper\w*|matern\w*"
    r"|obstetric\w*|delivery|abortion|antenatal|intrauterine|turner's)\b",
    re.I,
)
_MALE = re.compile(
    r"\b(?:male|prostat(?:e|ic|itis)|test(?:is|es|icular|icle\w*)|penis|penile|scrot\w*|sperm\w*|epididym\w*|prepuce|phimosis"
    r"|balan(?:itis|oposthitis)|hypospadias|vasectomy|foreskin|klinefelter\S*|seminal)\b",
    re.I,
)
_OF_EITHER = re.compile(
    r"family history|genetic susceptibility|carrier|liveborn infant|in utero|contact with|exposure|underdosing|poisoning"
    r"|adverse effect|agents?\b|not .*pregnan|donor|feminization|counseling|partner|male and female"
    r"|female and male|karyotype|mechanical complication|infection .* due to|artificial",
    re.I,
)
_CHAPTERS_OF_EITHER = (PERINATAL, EXTERNAL_CAUSES)


class AgeRange(NamedTuple):
    """Ages in years, both ends included, for the codes that begin with any of `prefixes`; `node` says so."""

    prefixes: tuple[str, ...]
    low: float
    high: float
    node: str
    says: str


AGES = (
    AgeRange(("Z68.1", "Z68.2", "Z68.3", "Z68.4"), 20, 200, "Z68", "BMI adult codes"),
    AgeRange(("Z68.5",), 2, 19.999, "Z68", "BMI pediatric codes"),
    AgeRange(("Z00.110",), 0, 0.1, "Z00.110", "under 8 days"),
    AgeRange(("Z00.111",), 0, 0.1, "Z00.111", "8 to 28 days"),
    AgeRange(("Z00.12",), 0.05, 17.999, "Z00.12", "child"),
    AgeRange(("Z00.0",), 15, 200, "Z00.0", "adult"),
    AgeRange(("Z38",), 0, 0.1, "Z38", "liveborn infants"),
    AgeRange(("P",), 0, 1, PERINATAL, "newborn records only"),
    AgeRange(("O", "Z34", "Z3A", "Z37", "Z33"), 9, 64, PREGNANCY, "maternal records only"),
)
"""Ages that the tabular list states or implies; 9 to 64 years for maternity is the range of the Medicare Code Editor."""


def find_sex_conflicts(case: Case) -> Iterator[Finding]:
    """A code of one sex on the record of the other."""
    if case.sex is None:
        return
    for code in case.known:
        sex, node = find_sex(code, case.knowledge)
        if sex is not None and sex != case.sex:
            message = f"{code} is a code for {SEXES[sex]} patients, the record says {SEXES[case.sex]}"
            text = case.knowledge.tabular.titles.get(node, "")
            yield Finding("sex", Severity.WARNING, (code,), message, node, text)


def find_age_conflicts(case: Case) -> Iterator[Finding]:
    """A code of another age."""
    if case.age is None:
        return
    tabular = case.knowledge.tabular
    for code in case.known:
        for ages in AGES:
            if code.startswith(ages.prefixes):
                if not ages.low <= case.age <= ages.high:
                    texts = [note.text for note in tabular.notes(ages.node, "note") if ages.says.lower() in note.text.lower()]
                    text = texts[0] if texts else tabular.titles.get(ages.node, "")
                    message = f"{code} is for another age than {case.age:g}: {ages.says}"
                    yield Finding("age", Severity.WARNING, (code,), message, ages.node, text)
                break


def find_sex(code: str, knowledge: Knowledge) -> tuple[str | None, str]:
    """Return `F` or `M` and the node whose title says so; None and an empty node for a code of either sex."""
    chapter = str(find_chapter(code))
    if chapter in _CHAPTERS_OF_EITHER:
        return None, ""
    if chapter == PREGNANCY:
        return "F", PREGNANCY
    for node in knowledge.profile(code).ancestors[:-1]:
        title = knowledge.tabular.titles.get(node, "")
        if _OF_EITHER.search(title):
            return None, ""
        female, male = _FEMALE.search(title), _MALE.search(title)
        if female and male:
            return None, ""
        if female or male:
            return ("F" if female else "M"), node
    return None, ""
