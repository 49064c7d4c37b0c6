"""What an update teaches: the codes that a release adds or changes, and others rehearsed so that they are not forgotten."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from data_gen.build import Built, fold_titles
from data_gen.casing import cap_words
from data_gen.examples import Example
from data_gen.folding import fold_text
from icd10cm.codeset import CodeSet
from icd10cm.errors import ConfigError
from icd10cm.releases import Comparison


class Lesson(NamedTuple):
    """The codes of an update.

    Attributes:
        taught: reason (`added`, `retitled`, `successors`) to codes of the new release; a code has one reason.
        rehearsed: codes that did not change, sorted.
        former: former title to the one code of the new release that it now stands for.
    """

    taught: dict[str, tuple[str, ...]]
    rehearsed: tuple[str, ...]
    former: dict[str, str]

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code, sorted."""
        return tuple(sorted([*self.rehearsed, *(code for codes in self.taught.values() for code in codes)]))

    @property
    def n_taught(self) -> int:
        """Number of codes taught."""
        return sum(map(len, self.taught.values()))


def choose_codes(
    comparison: Comparison, old: CodeSet, new: CodeSet, codes: Sequence[str], rehearsal: float, seed: int
) -> Lesson:
    """Return what to teach and what to rehearse among `codes` of the new release.

    Raises:
        ConfigError: none of `codes` changed.
    """
    within = set(codes)
    reasons = {
        "added": comparison.added,
        "retitled": [change.code for change in comparison.retitled if not change.only_spelling],
        "successors": [code for successors in comparison.successors.values() for code in successors],
    }
    seen: set[str] = set()
    taught: dict[str, tuple[str, ...]] = {}
    for reason, candidates in reasons.items():
        taught[reason] = tuple(sorted(within & set(candidates) - seen))
        seen.update(taught[reason])
    if not seen:
        raise ConfigError(
            f"no code of the slice changed from release {comparison.old} to {comparison.new}; the model needs no update"
        )
    categories = {new.category(code) for code in seen}
    near = [code for code in codes if code not in seen and new.category(code) in categories]
    far = [code for code in codes if code not in seen and new.category(code) not in categories]
    rng = random.Random(f"{seed}:rehearsal")
    wanted = round(rehearsal * len(seen))
    # neighbours are mixed up first; half of the rehearsal is theirs, more where nothing else is left
    n_near = min(len(near), max(-(-wanted // 2), wanted - len(far)))
    rehearsed = [*rng.sample(near, n_near), *rng.sample(far, min(len(far), wanted - n_near))]
    former = {change.old: change.code for change in comparison.retitled if change.code in seen}
    former |= {old.title(code): left[0] for code, left in comparison.successors.items() if len(left) == 1 and left[0] in seen}
    return Lesson(taught, tuple(sorted(rehearsed)), former)


def write_former(new: CodeSet, lesson: Lesson, built: Built) -> list[Example]:
    """Return training rows of the former titles that mean nothing else in the new release."""
    if not lesson.former:
        return []
    taken = {fold_text(example.text) for rows in built.examples.values() for example in rows} | fold_titles(new)
    rows = []
    for title, code in sorted(lesson.former.items()):
        if fold_text(title) in taken:
            continue
        for number, text in enumerate(dict.fromkeys((title, title.upper(), cap_words(title)))):
            name = f"former-{code}-{fold_text(title).replace(' ', '-')}-{number}"
            rows.append(Example(name, "base", text, (code,), "train", "cms:former", new.release))
    return rows


def describe_lesson(comparison: Comparison, lesson: Lesson) -> str:
    """Return in a line what changed and what is taught of it."""
    listed = ", ".join(f"{len(codes):,} {reason}" for reason, codes in lesson.taught.items())
    return (
        f"release {comparison.old} -> {comparison.new}: +{len(comparison.added):,} -{len(comparison.deleted):,} codes, "
        f"{len(comparison.retitled):,} retitled; in the slice: {listed} to teach, {len(lesson.rehearsed):,} rehearsed"
    )
