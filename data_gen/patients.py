"""Which codes one patient may have at once: of different categories, one sex, one age, and nothing that the rules object to."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from data_gen.plan import JoinedPlan
from icd10cm.codeset import CodeSet, find_chapter
from icd10cm.rules import Checker
from icd10cm.rules.case import is_external_cause
from icd10cm.rules.patient import AGES, find_sex
from icd10cm.tabular import Tabular

RULES = (
    "duplicate", "ancestor", "external_cause_first", "manifestation_first", "excludes1", "laterality", "encounter",
)  # fmt: skip
"""The rules of `icd10cm.rules` that a list of codes of one patient keeps."""

_LIFE = (0.0, 200.0)
_PAST_INFANCY = (2.0, 200.0)
_INFANT_CHAPTERS = (1, 17, 22)
"""Chapters, beside the perinatal one, whose codes an infant has too; those of others go with no perinatal code."""

_TITLE_AGES = (
    (re.compile(r"\b(?:newborn|neonat\w*)\b", re.IGNORECASE), (0.0, 1.0)),
    (re.compile(r"\b(?:senile|age-related|presby\w+|postmenopausal|menopausal)\b", re.IGNORECASE), (40.0, 200.0)),
)
_ATTEMPTS_PER_CODE = 20
_ROUNDS = 8
_STEM_LENGTH = len("S52.501")


class Patients:
    """Draws the codes of one patient after another.

    Args:
        codeset: the release.
        tabular: its tabular list.
        codes: what to draw from.
        plan: how many conditions, whether they must be plausible, and how often each chapter comes up.
    """

    def __init__(self, codeset: CodeSet, tabular: Tabular, codes: Sequence[str], plan: JoinedPlan) -> None:
        self._codeset = codeset
        self._codes = codes
        self._plan = plan
        self._checker = Checker(codeset, tabular, RULES)
        self._traits: dict[str, tuple[str | None, tuple[float, float]]] = {}
        self._by_chapter = _group_by_chapter(codeset, codes, plan.chapter_weights)
        self._weights = [plan.chapter_weights[chapter] for chapter in self._by_chapter]

    def draw(self, rng: random.Random) -> tuple[str, ...]:
        """Return codes of different categories, principal diagnosis first; fewer than wanted where no more go together."""
        wanted = rng.randint(self._plan.min_conditions, self._plan.max_conditions)
        return self._draw_plausible(wanted, rng) if self._plan.plausible else self._draw_any(wanted, rng)

    def _draw_any(self, wanted: int, rng: random.Random) -> tuple[str, ...]:
        chosen: dict[str, str] = {}
        for _ in range(wanted * 10):
            code = self._draw_code(rng)
            chosen.setdefault(self._codeset.category(code), code)
            if len(chosen) == wanted:
                break
        return tuple(chosen.values())

    def _draw_plausible(self, wanted: int, rng: random.Random) -> tuple[str, ...]:
        """Fill the list with what goes together by sex, age and category, then drop what the rules object to, and again."""
        chosen: list[str] = []
        for _ in range(_ROUNDS):
            self._fill(chosen, wanted, rng)
            objected = {finding.codes[-1] for finding in self._checker.check(chosen)}
            if not objected:
                return tuple(chosen)
            chosen = [code for code in chosen if code not in objected]
        return ()

    def _fill(self, chosen: list[str], wanted: int, rng: random.Random) -> None:
        """Append codes to `chosen` until there are `wanted`, or no more are found."""
        categories = {self._codeset.category(code) for code in chosen}
        traits = [self.find_traits(code) for code in chosen]
        sex = next((sex for sex, _ in traits if sex), None)
        low, high = max([_LIFE[0], *(low for _, (low, _) in traits)]), min([_LIFE[1], *(high for _, (_, high) in traits)])
        for _ in range(wanted * _ATTEMPTS_PER_CODE):
            if len(chosen) >= wanted:
                return
            code = self._draw_code(rng)
            if self._codeset.category(code) in categories or (not chosen and is_external_cause(code)):
                continue
            own_sex, (own_low, own_high) = self.find_traits(code)
            if (sex and own_sex and sex != own_sex) or max(low, own_low) > min(high, own_high):
                continue
            chosen.append(code)
            categories.add(self._codeset.category(code))
            sex, low, high = sex or own_sex, max(low, own_low), min(high, own_high)

    def find_traits(self, code: str) -> tuple[str | None, tuple[float, float]]:
        """Return the sex (`F`, `M` or None for either) and the ages, in years, of those who may have a code."""
        # the tabular list, where the sex is read, has no codes with a 7th character: those that differ in it are alike
        stem = code[:_STEM_LENGTH]
        found = self._traits.get(stem)
        if found is None:
            found = self._traits[stem] = find_sex(code, self._checker.knowledge)[0], _find_ages(code, self._codeset.title(code))
        return found

    def _draw_code(self, rng: random.Random) -> str:
        if not self._by_chapter:
            return rng.choice(self._codes)
        return rng.choice(rng.choices(list(self._by_chapter.values()), self._weights)[0])


def _group_by_chapter(codeset: CodeSet, codes: Sequence[str], weights: Mapping[int, float]) -> dict[int, list[str]]:
    """Return chapter to its codes, for the chapters with a weight above 0; empty when there are no weights."""
    groups: dict[int, list[str]] = {}
    for code in codes if weights else ():
        if weights.get(codeset.chapter(code), 0) > 0:
            groups.setdefault(codeset.chapter(code), []).append(code)
    return groups


def _find_ages(code: str, title: str) -> tuple[float, float]:
    for ages in AGES:
        if code.startswith(ages.prefixes):
            return ages.low, ages.high
    if code[0] not in "VWXYZ":
        for pattern, ages_of_title in _TITLE_AGES:
            if pattern.search(title):
                return ages_of_title
    return _LIFE if find_chapter(code) in _INFANT_CHAPTERS else _PAST_INFANCY
