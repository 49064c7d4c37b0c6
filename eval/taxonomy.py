"""What kind of mistake a wrong answer is, from the structure of the codes and their titles.

>>> find_kind(prediction, CodeSet.load())
'wrong_laterality'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from eval.metrics import collect_written
from eval.predictions import Prediction
from icd10cm.codeset import CodeSet, add_dot

KINDS = {
    "error": "the engine gave no answer",
    "unparsed": "the answer holds nothing that has the shape of a code",
    "truncated": "the token limit cut the answer off",
    "nonexistent": "a code that the release does not have",
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

_SIDES = frozenset({"left", "right", "bilateral", "unilateral", "both"})
_NOT_SAID = frozenset({"unspecified", "side", "sides", "of", "in", "the", "and"})
_WORD = re.compile(r"[a-z0-9]+")
_FULL_LENGTH = len("S72.001A")


def find_kind(prediction: Prediction, codes: CodeSet) -> str | None:
    """Return the kind of mistake, a key of `KINDS`; None for an exactly right answer."""
    true, written = set(prediction.codes), collect_written(prediction)
    if prediction.status != "ok":
        return prediction.status
    if true == written:
        return None
    refused = [add_dot(text) for text in prediction.rejected]
    if refused:
        return "not_billable" if all(text in codes for text in refused) else "nonexistent"
    missing, extra = sorted(true - written), sorted(written - true)
    if not extra:
        return "too_few"
    if not missing:
        return "too_many"
    return _find_worst(_pair_nearest(missing, extra, codes))


def count_kinds(predictions: Sequence[Prediction], codes: CodeSet) -> dict[str, int]:
    """Return how often each kind occurs, in the order of `KINDS`, without those that don't."""
    found = [find_kind(prediction, codes) for prediction in predictions]
    return {kind: found.count(kind) for kind in KINDS if kind in found}


def compare_codes(right: str, wrong: str, codes: CodeSet) -> str:
    """Return what is wrong with writing `wrong` for `right`, two different billable codes."""
    if codes.category(right) != codes.category(wrong):
        return "wrong_category"
    if len(right) == len(wrong) == _FULL_LENGTH and right[:-1] == wrong[:-1]:
        return "wrong_encounter"
    if right in codes and wrong in codes and _differ_in_side(codes.title(right), codes.title(wrong)):
        return "wrong_laterality"
    return "wrong_detail"


def _pair_nearest(missing: Sequence[str], extra: Sequence[str], codes: CodeSet) -> list[str]:
    """Pair missing with wrong codes, mildest mistakes first, and return the kind of each pair."""
    severity = {kind: place for place, kind in enumerate(reversed(KINDS))}
    possible = [(severity[compare_codes(right, wrong, codes)], right, wrong) for right in missing for wrong in extra]
    kinds, paired = [], set()
    for _, right, wrong in sorted(possible):
        if right not in paired and wrong not in paired:
            paired |= {right, wrong}
            kinds.append(compare_codes(right, wrong, codes))
    return kinds


def _find_worst(kinds: Sequence[str]) -> str:
    return next(kind for kind in KINDS if kind in kinds)


def _differ_in_side(one: str, other: str) -> bool:
    """Whether two titles say the same of different sides (`left knee`, `right knee`, `unspecified knee`)."""
    words, others = _WORD.findall(one.lower()), _WORD.findall(other.lower())
    return _SIDES & set(words) != _SIDES & set(others) and _drop_sides(words) == _drop_sides(others)


def _drop_sides(words: Sequence[str]) -> list[str]:
    return sorted(word for word in words if word not in _SIDES | _NOT_SAID)
