"""What kind of mistake a wrong answer is, from the structure of the codes and their titles.

>>> find_kind(prediction, CodeSet.load())
'wrong_laterality'
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eval.predictions import Prediction
from eval.scoring.cases import collect_written
from icd10cm.codeset import CodeSet, find_chapter
from icd10cm.releases import find_retired

KINDS = {
    "error": "the engine gave no answer",
    "unparsed": "the answer holds nothing that has the shape of a code",
    "truncated": "the token limit cut the answer off",
    "nonexistent": "a code that the release does not have, nor had one before it",
    "retired": "a code of an earlier release that is not valid any more",
    "not_billable": "a heading of the release, too short to be submitted",
    "wrong_category": "another category (first three characters)",
    "wrong_detail": "the right category, but another condition, site or severity in it",
    "wrong_laterality": "right but for the side: left, right, bilateral or not said",
    "wrong_encounter": "right but for the seventh character, such as initial or subsequent encounter",
    "too_few": "nothing wrong, but at least one code is missing",
    "too_many": "all the right codes, and others besides",
}
"""Kind of mistake to its definition, worst first. A wrong answer counts once: as the first of these that is true of it.

With several codes each missing code is held against the nearest wrong one, and the worst of these pairs counts.
"""

COUNTED_STATUSES = ("unparsed", "error", "truncated")
"""Statuses counted apart in every group."""

_REFUSALS = {"nonexistent": "n_invalid", "retired": "n_retired", "not_billable": "n_nonbillable"}
_SIDES = frozenset({"left", "right", "bilateral", "unilateral", "both"})
_NOT_SAID = frozenset({"unspecified", "side", "sides", "of", "in", "the", "and"})
_WORD = re.compile(r"[a-z0-9]+")
_FULL_LENGTH = len("S72.001A")


class Pair(NamedTuple):
    """A missing code and the wrong one that was written in its place, as far as one can tell.

    Attributes:
        right: the missing code.
        wrong: the wrong one.
        kind: what is wrong with it, a key of `KINDS`.
    """

    right: str
    wrong: str
    kind: str


class Mistake(NamedTuple):
    """What is wrong with an answer.

    Attributes:
        kind: a key of `KINDS`; None for an exactly right answer.
        pairs: missing codes with the wrong ones in their place.
        alone: whether it misses one code and has one wrong code, so that the pair is no guess.
    """

    kind: str | None
    pairs: tuple[Pair, ...]
    alone: bool


def find_kind(prediction: Prediction, codes: CodeSet) -> str | None:
    """Return the kind of mistake, a key of `KINDS`; None for an exactly right answer."""
    return find_mistake(prediction, codes).kind


def find_mistake(prediction: Prediction, codes: CodeSet) -> Mistake:
    """Return what is wrong with an answer."""
    right, written = set(prediction.codes), collect_written(prediction)
    missing, extra = right - written, written - right
    pairs = tuple(pair_nearest(missing, extra, codes)) if missing and extra else ()
    return Mistake(_name_kind(prediction, missing, extra, pairs, codes), pairs, len(missing) == len(extra) == 1)


def _name_kind(prediction: Prediction, missing: set[str], extra: set[str], pairs: Sequence[Pair], codes: CodeSet) -> str | None:
    if prediction.status != "ok":
        return prediction.status
    if prediction.rejected and extra:
        return _find_worst({classify_refused(text, codes) for text in prediction.rejected})
    if pairs:
        return _find_worst({pair.kind for pair in pairs})
    return "too_few" if missing else "too_many" if extra else None


def classify_refused(text: str, codes: CodeSet) -> str:
    """Return what a code that is not billable is: `retired`, `not_billable` or `nonexistent`.

    A code that needs more characters since a later release counts as retired, though the release has it as a heading.
    """
    if find_retired(text):
        return "retired"
    return "not_billable" if text in codes else "nonexistent"


def count_refused(predictions: Sequence[Prediction], codes: CodeSet) -> dict[str, int]:
    """Return `n_invalid`, `n_retired`, `n_nonbillable`: answers with at least one such code; one may have several."""
    found = Counter(
        kind for prediction in predictions for kind in {classify_refused(text, codes) for text in prediction.rejected}
    )
    return {name: found[kind] for kind, name in _REFUSALS.items()}


def count_statuses(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Return `n_unparsed`, `n_error` and `n_truncated`."""
    found = Counter(prediction.status for prediction in predictions)
    return {f"n_{status}": found[status] for status in COUNTED_STATUSES}


def count_kinds(kinds: Iterable[str | None]) -> dict[str, int]:
    """Return how often each kind occurs, in the order of `KINDS`, without those that don't; None is no mistake."""
    found = Counter(kinds)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def count_confusions(mistakes: Iterable[Mistake], n: int = 40) -> list[tuple[str, str, int]]:
    """Return the `n` most frequent confusions: right category, category written instead, how often.

    Which wrong code stands for which missing one is a guess where there are several of both. So a pair of different chapters
    counts only where the answer misses one code and has one wrong code.
    """
    found = Counter(
        (pair.right[:3], pair.wrong[:3])
        for mistake in mistakes
        for pair in mistake.pairs
        if pair.kind == "wrong_category" and (mistake.alone or _find_chapter(pair.right) == _find_chapter(pair.wrong))
    )
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(right, wrong, times) for (right, wrong), times in ordered[:n]]


def compare_codes(right: str, wrong: str, codes: CodeSet) -> str:
    """Return what is wrong with writing `wrong` for `right`, two different billable codes."""
    if codes.category(right) != codes.category(wrong):
        return "wrong_category"
    if len(right) == len(wrong) == _FULL_LENGTH and right[:-1] == wrong[:-1]:
        return "wrong_encounter"
    if right in codes and wrong in codes and _differ_in_side(codes.title(right), codes.title(wrong)):
        return "wrong_laterality"
    return "wrong_detail"


def pair_nearest(missing: Iterable[str], extra: Iterable[str], codes: CodeSet) -> list[Pair]:
    """Pair missing with wrong codes, mildest mistakes first, then those of the same chapter, then the others."""
    rights, wrongs = sorted(missing), sorted(extra)
    severity = {kind: place for place, kind in enumerate(reversed(KINDS))}
    same_category = [
        (severity[kind], right, wrong, kind)
        for right in rights
        for wrong in wrongs
        if right[:3] == wrong[:3] and (kind := compare_codes(right, wrong, codes))
    ]
    pairs: list[Pair] = []
    for _, right, wrong, kind in sorted(same_category):
        _take(pairs, rights, wrongs, Pair(right, wrong, kind))
    for right in list(rights):
        chapter = _find_chapter(right)
        near = next((wrong for wrong in wrongs if _find_chapter(wrong) == chapter), None)
        if near:
            _take(pairs, rights, wrongs, Pair(right, near, "wrong_category"))
    pairs += [Pair(right, wrong, "wrong_category") for right, wrong in zip(rights, wrongs, strict=False)]
    return pairs


_find_chapter = functools.cache(find_chapter)


def _take(pairs: list[Pair], rights: list[str], wrongs: list[str], pair: Pair) -> None:
    """Move a pair out of what is left, where both are still there."""
    if pair.right in rights and pair.wrong in wrongs:
        rights.remove(pair.right)
        wrongs.remove(pair.wrong)
        pairs.append(pair)


def _find_worst(kinds: set[str]) -> str:
    return next(kind for kind in KINDS if kind in kinds)


def _differ_in_side(one: str, other: str) -> bool:
    """Whether two titles say the same of different sides (`left knee`, `right knee`, `unspecified knee`)."""
    words, others = _WORD.findall(one.lower()), _WORD.findall(other.lower())
    return _SIDES & set(words) != _SIDES & set(others) and _drop_sides(words) == _drop_sides(others)


def _drop_sides(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if word not in _SIDES | _NOT_SAID)
