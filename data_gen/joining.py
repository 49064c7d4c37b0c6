"""Texts of several conditions of one patient: lists and sentences, and discharge summaries."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from data_gen.checks import RowChecks
from data_gen.folding import fold_text
from data_gen.notes import Condition, write_note
from data_gen.parallel import map_in_order
from data_gen.patients import Patients
from data_gen.plan import JoinedPlan
from data_gen.readable import is_readable
from data_gen.variations.multiple import join_texts
from icd10cm.codeset import CodeSet

_ATTEMPTS = 6
_FEWEST_PER_PROCESS = 2000
Pools = Mapping[str, Mapping[str, Sequence[str]]]
"""Split to code to its texts, the title first."""


class Joined(NamedTuple):
    """A text of several conditions.

    Attributes:
        text: as typed.
        codes: in the order of the coder: principal diagnosis first.
        split: where it goes.
        number: its number within the split.
    """

    text: str
    codes: tuple[str, ...]
    split: str
    number: int


class _Attempt(NamedTuple):
    text: str
    codes: tuple[str, ...]
    folded: str
    fault: str | None


class Joiner:
    """Writes texts of several conditions; a member is a title or a variant of the same split.

    Args:
        scenario: `multiple` or `note`.
        codeset: the release.
        checks: whether a text holds a code.
        patients: split to who draws its codes.
        plan: how many rows.
        pools: the texts of the members.
        seed: every text has a random generator of its own, from this seed, its split and number.
    """

    def __init__(
        self,
        scenario: str,
        codeset: CodeSet,
        checks: RowChecks,
        patients: Mapping[str, Patients],
        plan: JoinedPlan,
        pools: Pools,
        seed: int,
    ) -> None:
        self._scenario = scenario
        self._codeset = codeset
        self._checks = checks
        self._patients = patients
        self._plan = plan
        self._pools = pools
        self._seed = seed

    def write_rows(self, taken: set[str], workers: int, rejected: Counter[str]) -> Iterator[Joined]:
        """Yield the rows of test, validation and train; `taken` has the folded texts of other rows, and gets these."""
        places = [
            (split, number) for split in ("test", "validation", "train") for number in range(self._plan.count_rows(split))
        ]
        firsts = map_in_order(self._write_first, places, min(workers, 1 + len(places) // _FEWEST_PER_PROCESS))
        for (split, number), first in zip(places, firsts, strict=True):
            fine = first.fault is None and first.folded not in taken
            for attempt in [first] if fine else self._write_attempts(split, number):
                fault = attempt.fault or ("is another row's text" if attempt.folded in taken else None)
                if fault is None:
                    taken.add(attempt.folded)
                    yield Joined(attempt.text, attempt.codes, split, number)
                    break
                rejected[f"{self._scenario}: {fault}"] += 1

    def _find_fault(self, text: str, codes: tuple[str, ...]) -> str | None:
        if len(codes) < min(2, self._plan.min_conditions):
            return "no two conditions of the slice go together"
        titles = " ".join(self._codeset.title(code) for code in codes)
        return "carries a code" if self._checks.has_code(text, titles) else None

    def _write_first(self, place: tuple[str, int]) -> _Attempt:
        return next(self._write_attempts(*place))

    def _write_attempts(self, split: str, number: int) -> Iterator[_Attempt]:
        for text, codes in self._propose(split, number):
            yield _Attempt(text, codes, fold_text(text), self._find_fault(text, codes))

    def _propose(self, split: str, number: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        rng = random.Random(f"{self._seed}:{self._scenario}:{split}:{number}")
        pool = self._pools[split]
        for _ in range(_ATTEMPTS):
            codes = self._patients[split].draw(rng)
            if self._scenario == "multiple":
                yield (join_texts([_choose_member(pool[code], rng) for code in codes], rng) if codes else ""), codes
            else:
                yield (self._write_note(codes, split, rng) if codes else ""), codes

    def _write_note(self, codes: Sequence[str], split: str, rng: random.Random) -> str:
        pool = self._pools[split]
        traits = [self._patients[split].find_traits(code) for code in codes]
        conditions = [
            Condition(code, self._codeset.title(code), _choose_member(pool[code], rng), _choose_readable(pool[code], rng))
            for code in codes
        ]
        sex = next((sex for sex, _ in traits if sex), None)
        ages = max(low for _, (low, _) in traits), min(high for _, (_, high) in traits)
        return write_note(conditions, sex, rng, ages)


def _choose_member(pool: Sequence[str], rng: random.Random) -> str:
    """Return the title, in lower case most of the time, or one of the split's variants."""
    if len(pool) > 1 and rng.random() < 0.6:
        return rng.choice(pool[1:])
    return pool[0].lower() if rng.random() < 0.7 else pool[0]


def _choose_readable(pool: Sequence[str], rng: random.Random) -> str:
    """Return a member that names its condition where nothing else of the text does."""
    member = _choose_member(pool, rng)
    return member if is_readable(pool[0], member) else pool[0].lower()
