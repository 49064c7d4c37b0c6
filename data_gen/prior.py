"""How often each code comes up: from weights of chapters and codes, or as real admissions have them."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Collection, Sequence

from data_gen.admissions import carry_codes, read_admissions
from data_gen.plan import Plan, Prior
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.entry import say
from icd10cm.errors import ConfigError


class Urn:
    """Codes to draw from, each as often as its weight; those of weight 0 never come."""

    def __init__(self, codes: Sequence[str], weights: Sequence[float]) -> None:
        drawn = [(code, weight) for code, weight in zip(codes, weights, strict=True) if weight > 0]
        self._codes = [code for code, _ in drawn]
        # summed once: a draw is one bisection, however many codes there are
        self._sums = list(itertools.accumulate(weight for _, weight in drawn))

    def __len__(self) -> int:
        """Number of codes that can come."""
        return len(self._codes)

    def draw(self, rng: random.Random) -> str:
        """Return one code. Raises `IndexError` when there is none."""
        return rng.choices(self._codes, cum_weights=self._sums)[0]


class Allotment:
    """How many texts of each code are for train.

    Args:
        codeset: the release.
        codes: all codes of the data set; their mean weight is what gets `plan.train_variants`.
        plan: how many variants, the prior and the seed.
        unseen: codes that have no text in train.

    Raises:
        ConfigError, DataError: as `weigh_codes`.
    """

    def __init__(self, codeset: CodeSet, codes: Sequence[str], plan: Plan, unseen: Collection[str] = ()) -> None:
        self._plan = plan
        self._unseen = unseen
        self._shares: dict[str, float] = {}
        prior = plan.prior
        if prior.is_given and codes:
            weights = weigh_codes(codeset, codes, prior)
            mean = sum(weights) / len(weights)
            shares = (min(max(weight / mean, prior.least_share), prior.most_share) for weight in weights)
            self._shares = dict(zip(codes, shares, strict=True))

    def count_train(self, code: str, variation: str) -> int:
        """Return how many texts of a code and variation train should have, rounded up or down at random but once for all."""
        wanted = 0 if code in self._unseen else self._plan.train_variants.get(variation, 0)
        share = self._shares.get(code)
        if share is None or not wanted:
            return wanted
        number, rest = divmod(wanted * share, 1)
        return int(number) + (random.Random(f"{self._plan.seed}:prior:{variation}:{code}").random() < rest)

    def count_all(self, code: str, variation: str) -> int:
        """Return how many texts of a code all splits together should have."""
        return self.count_train(code, variation) + self._plan.count_held_out() if self._plan.count_variants(variation) else 0


def weigh_codes(codeset: CodeSet, codes: Sequence[str], prior: Prior) -> list[float]:
    """Return the weight of each of `codes`, 0 or more; only their proportions mean anything.

    Raises:
        ConfigError: no code of the release begins with one of `code_weights`, or all `codes` weigh 0.
        DataError: `diagnoses_file` cannot be used.
    """
    weights = _count_codes(codeset, codes, prior)
    if prior.code_weights:
        factors = _read_code_weights(codeset, prior)
        weights = [weight * _find_longest(code, factors) for code, weight in zip(codes, weights, strict=True)]
    if prior.chapter_weights:
        chapters = [codeset.chapter(code) for code in codes]
        totals: Counter[int] = Counter()
        for chapter, weight in zip(chapters, weights, strict=True):
            totals[chapter] += weight  # type: ignore[assignment]
        weights = [
            weight * prior.chapter_weights.get(chapter, 0) / (totals[chapter] or 1)
            for chapter, weight in zip(chapters, weights, strict=True)
        ]
    if codes and not any(weights):
        raise ConfigError("prior: every code of the slice has weight 0; give some code or chapter of it a weight")
    return weights


def check_priors(codeset: CodeSet, codes: Sequence[str], plan: Plan) -> None:
    """Find what is wrong with the priors before anything is asked or written, and say what their files hold in vain.

    Raises:
        ConfigError, DataError: as `weigh_codes`.
    """
    for prior in (plan.prior, plan.multiple.prior, plan.note.prior):
        if prior.is_given:
            weigh_codes(codeset, codes, prior)
    for path in plan.list_clinical_files():
        admissions = read_admissions(path)
        _, n_lost, n_codes = carry_codes(admissions, codeset)
        if n_lost:
            total = admissions.codes.total()
            what = f"{n_lost:,} of {total:,} diagnoses, with {n_codes:,} codes that release {codeset.release} lacks"
            say(f"{path}: left out {what}")


def _count_codes(codeset: CodeSet, codes: Sequence[str], prior: Prior) -> list[float]:
    if prior.diagnoses_file is None:
        return [1.0] * len(codes)
    counts, _, _ = carry_codes(read_admissions(prior.diagnoses_file), codeset)
    sizes = Counter(codeset.category(code) for code in codes)
    return [counts[code] + prior.smoothing / sizes[codeset.category(code)] for code in codes]


def _read_code_weights(codeset: CodeSet, prior: Prior) -> dict[str, float]:
    """Return the weights by beginnings in dotted form."""
    factors = {add_dot(prefix): weight for prefix, weight in prior.code_weights.items()}
    billable = "\n".join(("", *codeset.codes))
    unknown = [prefix for prefix in factors if f"\n{prefix}" not in billable]
    if unknown:
        raise ConfigError(
            f"prior.code_weights: no billable code of release {codeset.release} begins with "
            f"{', '.join(map(repr, unknown))}; correct or remove what is wrong"
        )
    return factors


def _find_longest(code: str, factors: dict[str, float]) -> float:
    return next((factors[code[:end]] for end in range(len(code), 0, -1) if code[:end] in factors), 1.0)
