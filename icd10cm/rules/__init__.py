"""check(codes): what a coder would remark about a list of codes, each remark with the note that says so.

>>> for finding in check(["E11.9", "E10.9"]):
...     print(finding.rule, finding.codes, finding.node, "|", finding.text)
excludes1 ('E11.9', 'E10.9') E11 | type 1 diabetes mellitus (E10.-)
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

from icd10cm.codeset import CodeSet, add_dot
from icd10cm.errors import ConfigError
from icd10cm.rules.case import Case, Knowledge
from icd10cm.rules.encounter import ENCOUNTERS, find_encounter_conflicts
from icd10cm.rules.excludes import find_excludes1
from icd10cm.rules.finding import Finding, Severity
from icd10cm.rules.laterality import find_laterality_conflicts
from icd10cm.rules.patient import find_age_conflicts, find_sex_conflicts
from icd10cm.rules.sequence import (
    find_code_first,
    find_external_cause_first,
    find_manifestation_first,
    find_use_additional,
)
from icd10cm.rules.validity import find_ancestors, find_duplicates, find_not_billable, find_release_mismatch, find_unknown
from icd10cm.tabular import Tabular

__all__ = ["RULES", "Checker", "Finding", "Severity", "check"]

RULES: dict[str, Callable[[Case], Iterator[Finding]]] = {
    "release": find_release_mismatch,
    "not_in_release": find_unknown,
    "not_billable": find_not_billable,
    "duplicate": find_duplicates,
    "ancestor": find_ancestors,
    "external_cause_first": find_external_cause_first,
    "manifestation_first": find_manifestation_first,
    "excludes1": find_excludes1,
    "laterality": find_laterality_conflicts,
    "encounter": find_encounter_conflicts,
    "sex": find_sex_conflicts,
    "age": find_age_conflicts,
    "code_first": find_code_first,
    "use_additional": find_use_additional,
}
"""Name of a rule to what finds its findings: one file, one line."""

_SEX_WORDS = {"f": "F", "female": "F", "m": "M", "male": "M", "u": None, "unknown": None, "other": None, "": None}
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Checker:
    """The rules over one release. Use `check` for the embedded one.

    Args:
        codes: the code set of the release.
        tabular: its tabular list; the embedded one when omitted. The two should be of one release.
        rules: names of the rules to apply, all of `RULES` when omitted.
    """

    def __init__(
        self, codes: CodeSet | None = None, tabular: Tabular | None = None, rules: Iterable[str] | None = None
    ) -> None:
        names = RULES if rules is None else list(rules)
        if unknown := [name for name in names if name not in RULES]:
            raise ConfigError(f"no rule {', '.join(map(repr, unknown))}; the rules are {', '.join(RULES)}")
        self.knowledge = Knowledge(codes or CodeSet.load(), tabular or Tabular.load())
        self._rules = [RULES[name] for name in names]

    def check(
        self,
        codes: Sequence[str],
        sex: str | None = None,
        age: float | None = None,
        encounter: str | None = None,
        date: datetime.date | str | None = None,
    ) -> list[Finding]:
        """Return what there is to say about a list of codes, most serious first.

        Args:
            codes: principal diagnosis first, in any usual spelling; nothing is removed or changed.
            sex: `F` or `M` (also `female`, `male`), None or `unknown` when it is not known.
            age: in years, fractions for infants.
            encounter: `initial`, `subsequent` or `sequela`, compared with the 7th characters.
            date: day of service, a date or `YYYY-MM-DD`.

        Raises:
            ConfigError: a value of `sex`, `age`, `encounter` or `date` that is none of these.
        """
        case = self._build_case(codes, sex, age, encounter, date)
        findings = [finding for rule in self._rules for finding in rule(case)]
        return sorted(findings, key=lambda finding: _RANK[finding.severity])

    def _build_case(
        self,
        codes: Sequence[str],
        sex: str | None,
        age: float | None,
        encounter: str | None,
        date: datetime.date | str | None,
    ) -> Case:
        given = [codes] if isinstance(codes, str) else codes
        listed = tuple(add_dot(code) for code in given)
        knowledge = self.knowledge
        known = tuple(dict.fromkeys(code for code in listed if knowledge.has_code(code)))
        if encounter is not None and encounter not in ENCOUNTERS:
            raise ConfigError(f"encounter {encounter!r} is none of {', '.join(ENCOUNTERS)}")
        if age is not None and not (isinstance(age, int | float) and 0 <= age <= 150):
            raise ConfigError(f"age {age!r} is not an age in years")
        return Case(listed, known, _read_sex(sex), age, encounter, _read_date(date), knowledge)


def check(
    codes: Sequence[str],
    sex: str | None = None,
    age: float | None = None,
    encounter: str | None = None,
    date: datetime.date | str | None = None,
) -> list[Finding]:
    """Check a list of codes against the embedded release; arguments and errors as in `Checker.check`."""
    return _load_checker().check(codes, sex, age, encounter, date)


@functools.cache
def _load_checker() -> Checker:
    return Checker()


def _read_sex(sex: str | None) -> str | None:
    if sex is None:
        return None
    word = str(sex).strip().lower()
    if word not in _SEX_WORDS:
        raise ConfigError(f"sex {sex!r} is neither F nor M; leave it out when it is unknown")
    return _SEX_WORDS[word]


def _read_date(date: datetime.date | str | None) -> datetime.date | None:
    if date is None or isinstance(date, datetime.date):
        return date
    try:
        return datetime.date.fromisoformat(date)
    except (TypeError, ValueError):
        raise ConfigError(f"date {date!r} is not a day written YYYY-MM-DD") from None
