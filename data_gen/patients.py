"""Which codes one patient may have at once: of different categories, one sex, one age, and nothing that the rules object to."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from data_gen.comorbidity import build_companions
from data_gen.dependent import comes_later, is_fit
from data_gen.plan import JoinedPlan
from data_gen.prior import Urn, weigh_codes
from data_gen.traits import TraitReader, Traits
from icd10cm.codeset import CodeSet
from icd10cm.rules import Checker
from icd10cm.rules.case import is_external_cause
from icd10cm.tabular import Tabular

RULES = (
    "duplicate", "ancestor", "external_cause_first", "manifestation_first", "excludes1", "laterality", "encounter",
)  # fmt: skip
"""The rules of `icd10cm.rules` that a list of codes of one patient keeps."""

_ATTEMPTS_PER_CODE = 20
_ROUNDS = 8


class Patients:
    """Draws the codes of one patient after another.

    Args:
        codeset: the release.
        tabular: its tabular list.
        codes: what to draw from.
        plan: how many conditions, whether they must be plausible, how often each comes up and what comes with it.

    Raises:
        ConfigError, DataError: the prior cannot be used (see `data_gen.prior.weigh_codes`).
    """

    def __init__(self, codeset: CodeSet, tabular: Tabular, codes: Sequence[str], plan: JoinedPlan) -> None:
        self._codeset = codeset
        self._codes = codes
        self._plan = plan
        self._checker = Checker(codeset, tabular, RULES)
        self._traits = TraitReader(self._checker.knowledge)
        weights = weigh_codes(codeset, codes, plan.prior)
        self._urn = Urn(codes, weights) if plan.prior.is_given else None
        self._by_category = _group_by_category(codeset, codes, weights)
        self._companions = build_companions(plan.prior.diagnoses_file, self._by_category)
        self._has_first = not all(map(comes_later, codes))

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
            chosen = self._keep_fit(code for code in chosen if code not in objected)
        return ()

    def _fill(self, chosen: list[str], wanted: int, rng: random.Random) -> None:
        """Append codes to `chosen` until there are `wanted`, or no more are found."""
        categories = {self._codeset.category(code) for code in chosen}
        patient = Traits()
        for code in chosen:
            patient = patient.join(self._traits.read(code)) or patient
        for _ in range(wanted * _ATTEMPTS_PER_CODE):
            if len(chosen) >= wanted:
                return
            code = self._draw_next(chosen, rng)
            if self._codeset.category(code) in categories or not self._has_place(code, chosen):
                continue
            joined = patient.join(self._traits.read(code))
            if joined is None:
                continue
            chosen.append(code)
            categories.add(self._codeset.category(code))
            patient = joined

    def _has_place(self, code: str, chosen: Sequence[str]) -> bool:
        if not chosen:
            return not (comes_later(code) if self._has_first else is_external_cause(code))
        return is_fit(code, chosen)

    def _keep_fit(self, codes: Iterable[str]) -> list[str]:
        """Return the codes that still have what they hang on."""
        kept: list[str] = []
        for code in codes:
            if self._has_place(code, kept):
                kept.append(code)
        return kept

    def find_traits(self, code: str) -> tuple[str | None, tuple[float, float]]:
        """Return the sex (`F`, `M` or None for either) and the ages, in years, of those who may have a code."""
        traits = self._traits.read(code)
        return traits.sex, traits.ages

    def _draw_next(self, chosen: Sequence[str], rng: random.Random) -> str:
        """Return a code of a companion of one already chosen as often as the plan says, otherwise any."""
        if chosen and self._plan.comorbidity and rng.random() < self._plan.comorbidity:
            category = self._companions.draw(self._codeset.category(rng.choice(chosen)), rng)
            if category is not None:
                return self._by_category[category].draw(rng)
        return self._draw_code(rng)

    def _draw_code(self, rng: random.Random) -> str:
        return self._urn.draw(rng) if self._urn else rng.choice(self._codes)


def _group_by_category(codeset: CodeSet, codes: Sequence[str], weights: Sequence[float]) -> dict[str, Urn]:
    """Return category to its codes, for the categories with a code of a weight above 0."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for code, weight in zip(codes, weights, strict=True):
        if weight > 0:
            groups.setdefault(codeset.category(code), []).append((code, weight))
    return {category: Urn(*zip(*group, strict=True)) for category, group in groups.items()}
