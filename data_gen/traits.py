"""Whom a code is of: sex, age, week of pregnancy, and whether an injury is new, healing or long past."""

from __future__ import annotations

import re
from typing import NamedTuple

from icd10cm.codeset import find_chapter
from icd10cm.rules.case import PREGNANCY, Case, Knowledge
from icd10cm.rules.encounter import find_phase
from icd10cm.rules.patient import AGES, find_sex

_LIFE = (0.0, 200.0)
_PAST_INFANCY = (2.0, 200.0)
_CONGENITAL = 17
"""The chapter, beside the perinatal one, all of whose codes an infant has too."""

_TITLE_AGES = (
    (re.compile(r"\b(?:newborn|neonat\w*)\b", re.IGNORECASE), (0.0, 1.0)),
    (re.compile(r"\bof infancy\b", re.IGNORECASE), (1.2, 1.9)),
    (re.compile(r"\b(?:senile|age-related|presby\w+|postmenopausal|menopausal)\b", re.IGNORECASE), (40.0, 200.0)),
    (re.compile(r"\b(?:in childhood|of childhood|infantile|juvenile)\b|\(child\)", re.IGNORECASE), (1.5, 18.0)),
    (re.compile(r"^adult\b|\bin adults?\b|\badult personality\b", re.IGNORECASE), (18.0, 200.0)),
    (re.compile(r"\bretinopathy of prematurity\b", re.IGNORECASE), (0.0, 2.0)),
)
_PREFIX_AGES = (
    (("N93.1",), (2.0, 11.0)),
    (("F98.2",), (1.5, 8.0)),
    (("A33", "Z05"), (0.0, 0.1)),
    (("A50.0", "A50.1", "A50.2"), (0.0, 1.9)),
    (("A0", "A41", "A49", "A50", "B00", "B25", "B34", "B37", "B95", "B96", "B97", "U07.1"), _LIFE),
    (("Z23", "Z28", "R01"), _LIFE),
    (("Z41.2",), (0.0, 1.9)),
    (("O", "Z03.7", "Z29.13", "Z30", "Z31", "Z33", "Z34", "Z36", "Z37", "Z3A", "N97"), (14.0, 49.0)),
    (("Q00", "Q60.6"), (0.0, 1.0)),
    (("E84.11", "J84.84"), (1.5, 6.0)),
    (("J05", "R56.00", "R56.01"), (0.5, 10.0)),
    (("G93.7", "M89.1", "M92", "M93.0", "S49.0", "S49.1", "S59.0", "S59.1", "S59.2", "S79.0", "S79.1"), (2.0, 17.0)),
    (("S89.0", "S89.1", "S89.2", "S89.3", "S99.0", "S99.1", "S99.2"), (2.0, 17.0)),
    (("C22.2", "E55.0"), (1.5, 12.0)),
    (("D81", "E75", "G31.82", "G71.01", "M08"), (1.5, 30.0)),
    (("Z79.81",), (20.0, 200.0)),
    (("E28.31", "N64.3", "N94.3", "N96", "Z32", "Z64.0", "Z64.1", "Z13.32", "Z76.81"), (14.0, 50.0)),
    (("G43.82", "G43.83"), (12.0, 55.0)),
    (("E30", "E71.52", "F80", "F84.3", "M41.12", "N90.61", "N92.2", "Z02.84", "Z04.42", "Z69.010", "Z72.810"), (2.0, 19.0)),
    (("N91", "N92.0", "N92.1", "N92.3", "N92.5", "N92.6", "N94.6", "Z79.3"), (12.0, 55.0)),
    (("E11", "F52", "N46", "N52", "N94", "R87"), (12.0, 200.0)),
    (("C15", "C16", "C18", "C19", "C20", "C25", "C50", "C53", "C54", "D07"), (20.0, 200.0)),
    (("I10", "I11", "I12", "I13", "I48", "K70"), (20.0, 200.0)),
    (("E76", "E84"), (1.5, 60.0)),
    (("Q91", "Q92", "Q93"), (0.0, 35.0)),
    (("R62.0", "R62.5", "Z00.2", "Z00.3", "Z00.7", "Z76.1", "Z76.2"), (1.5, 17.0)),
    (("A48.51", "R04.81", "R10.83", "R68.11", "R68.12", "R68.13"), (0.0, 1.0)),
    (("F32.81",), (12.0, 55.0)),
    (("Q20", "Q21", "Q22", "Q23", "Q9"), (0.0, 60.0)),
    (("F91", "F93", "F94", "F98", "K52.21", "K52.22", "R63.31", "R63.32", "Z62", "Z73.81"), (2.0, 19.0)),
    (("F1", "F2", "F3", "F60", "Z56", "Z72"), (12.0, 200.0)),
    (("C34", "C61", "F01", "F02", "F03", "G20", "G30", "I70", "I71", "J43", "J44", "N40"), (50.0, 200.0)),
    (("M80.0", "M81.0", "R54", "R97.2"), (50.0, 200.0)),
    (("I20", "I21", "I25", "I63", "I65", "K57", "M15", "M16", "M17", "M18", "M19.0", "M47", "M48", "Z12"), (35.0, 200.0)),
)  # fmt: skip
"""Ages of those who usually have a code, closer than what the tabular list or a title says."""

_OF_WOMEN = re.compile(
    r"\bpremenstrual\b|\bhormonal contraceptives?\b|\bvaginal\b|\bestrogen receptor modulators\b|\bin vitro\b|\brho\(d\)"
    r"|\b4[56], X\b(?! XY)|turner",
    re.IGNORECASE,
)
_OF_MEN = re.compile(
    r"ejaculat|hematospermia|\bpriapism\b|\bmucopolysaccharidosis, type II\b|\bbarth syndrome\b", re.IGNORECASE
)
_WEEKS = (0.0, 45.0)
_PUERPERIUM = (50.0, 60.0)
_TITLE_WEEKS = (
    (re.compile(r"\bfirst trimester\b", re.IGNORECASE), (0.0, 13.9)),
    (re.compile(r"\bsecond trimester\b", re.IGNORECASE), (14.0, 27.9)),
    (re.compile(r"\bthird trimester\b", re.IGNORECASE), (28.0, 45.0)),
    (re.compile(r"\bpuerperium\b|\bpostpartum\b|\blactation\b", re.IGNORECASE), _PUERPERIUM),
    (re.compile(r"\bpreterm\b", re.IGNORECASE), (20.0, 36.9)),
)
_PREFIX_WEEKS = (
    (("O00", "O01", "O02", "O03", "O04", "O07", "O08", "O20", "O21.0", "O21.1", "O31.0"), (0.0, 19.9)),
    (("O80", "O48"), (37.0, 45.0)),
    (("Z37", "O6", "O70", "O71", "O72", "O74", "O75", "O77", "O82"), (20.0, 45.0)),
    (("O85", "O86", "O87", "O89", "O90", "O91", "O92", "Z39"), _PUERPERIUM),
)
_WEEK = re.compile(r"Z3A\.([1-4]\d)")
_STEM_LENGTH = len("S52.501")


class Traits(NamedTuple):
    """What a code, or all codes of a patient, say of the patient.

    Attributes:
        sex: `F`, `M` or None for either.
        ages: lowest and highest age in years.
        weeks: first and last week of pregnancy; the puerperium comes after all of them.
        phase: `initial`, `subsequent` or `sequela` of an injury; None without one.
    """

    sex: str | None = None
    ages: tuple[float, float] = _LIFE
    weeks: tuple[float, float] = (_WEEKS[0], _PUERPERIUM[1])
    phase: str | None = None

    def join(self, other: Traits) -> Traits | None:
        """Return what both say together; None where no patient has both."""
        low, high = max(self.ages[0], other.ages[0]), min(self.ages[1], other.ages[1])
        first, last = max(self.weeks[0], other.weeks[0]), min(self.weeks[1], other.weeks[1])
        if low > high or first > last or _differ(self.sex, other.sex) or _differ(self.phase, other.phase):
            return None
        return Traits(self.sex or other.sex, (low, high), (first, last), self.phase or other.phase)


class TraitReader:
    """Reads traits of codes, each stem once.

    Args:
        knowledge: the release and its tabular list.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._case = Case((), (), None, None, None, None, knowledge)
        self._found: dict[str, Traits] = {}

    def read(self, code: str) -> Traits:
        """Return the traits of those who may have a code."""
        # the tabular list, where the sex is read, has no codes with a 7th character: those that differ in it are alike
        stem = code[:_STEM_LENGTH]
        found = self._found.get(stem)
        if found is None:
            title = self._knowledge.codes.title(code)
            found = self._found[stem] = Traits(
                find_sex(code, self._knowledge)[0] or _read_sex(title), _find_ages(code, title), _find_weeks(code, title)
            )
        return found._replace(phase=find_phase(self._case, code)) if len(code) > _STEM_LENGTH else found


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _read_sex(title: str) -> str | None:
    """Return the sex that a title takes for granted and no rule of CMS says."""
    return "F" if _OF_WOMEN.search(title) else "M" if _OF_MEN.search(title) else None


def _find_ages(code: str, title: str) -> tuple[float, float]:
    for prefixes, usual in _PREFIX_AGES:
        if code.startswith(prefixes):
            return usual
    for ages in AGES:
        if code.startswith(ages.prefixes):
            return ages.low, ages.high
    if code[0] not in "VWXYZ":
        for pattern, ages_of_title in _TITLE_AGES:
            if pattern.search(title):
                return ages_of_title
    return _LIFE if find_chapter(code) == _CONGENITAL else _PAST_INFANCY


def _find_weeks(code: str, title: str) -> tuple[float, float]:
    if week := _WEEK.match(code):
        return float(week[1]), float(week[1])
    if code.startswith("Z3A"):
        return _WEEKS
    for prefixes, weeks in _PREFIX_WEEKS:
        if code.startswith(prefixes):
            return weeks
    if str(find_chapter(code)) == PREGNANCY:
        for pattern, weeks in _TITLE_WEEKS:
            if pattern.search(title):
                return weeks
        if code < "O80":
            return _WEEKS
    return Traits().weeks
