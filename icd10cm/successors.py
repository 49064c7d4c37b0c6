"""Successors of a retired code: the codes of a later release that say what it said, likeliest first.

Codes are retired almost only to be split. Their number says where they went: `E34.0` became `E34.00`, `E34.01`, `E34.09`, and
`T78.07XA`, whose placeholder made room, became `T78.070A`, `T78.071A`, `T78.079A`. The order comes from the titles: first the
code that says what the old one said and nothing more, which is what a coder without further facts would choose.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Sequence

from icd10cm.codeset import CodeSet

_FULL_LENGTH = 8
"""Characters of a code with its seventh character, the dot included."""
_LEAST_SHARED = 0.5
"""Share of words that two titles of a category must have in common where the numbers do not tell."""
_SAYS_NOTHING = re.compile(
    r"not having achieved remission|\bwithout [^,]*|unspecified as to [^,]*|unspecified(?! not\b)(?: \w+)?"
)
"""What a title adds where the old one left the matter open: that something is absent or not known."""
_NEUTRAL = frozenset(
    ("a", "an", "and", "as", "at", "by", "classified", "due", "elsewhere", "for", "in", "not", "of", "on", "or", "other",
     "specified", "the", "to", "unspecified", "with")
)  # fmt: skip
_ENCOUNTER = re.compile(r", (?:initial encounter|subsequent encounter|sequela)\b.*")
_find_words = re.compile(r"[^\W_]+").findall


def fold_title(title: str) -> str:
    """Return a title without what is only spelling: case, punctuation, white space, the s of `Marfan's`."""
    return " ".join(_find_words(re.sub(r"['’]s\b", "", title.casefold())))


def find_successors(deleted: Iterable[str], old: CodeSet, new: CodeSet, added: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return each retired code to the codes of `new` that replace it, likeliest first; empty where nothing of `new` is like it.

    Args:
        deleted: codes billable in `old` and not in `new`, dotted.
        old: the release that has them.
        new: a later release, or an earlier one.
        added: billable codes of `new` that are not billable in `old`, sorted.
    """
    by_title: dict[str, list[str]] = {}
    for code in added:
        by_title.setdefault(fold_title(new.title(code)), []).append(code)
    return {code: _find_one(code, old.title(code), new, added, by_title) for code in deleted}


def _find_one(code: str, title: str, new: CodeSet, added: Sequence[str], by_title: dict[str, list[str]]) -> tuple[str, ...]:
    category = new.category(code)
    moved = by_title.get(fold_title(title), [])
    near = _list_category(added, category)
    numbered = [other for other in near if _covers(code, other)]
    if not numbered:
        numbered = [other for other in _list_category(new.codes, category) if _covers(other, code)]
    if not numbered and not moved:
        numbered = [other for other in near if _share_ending(code, other) and _is_alike(title, new.title(other))]
    found = dict.fromkeys([*moved, *numbered])
    return tuple(sorted(found, key=lambda other: (*_measure_distance(title, new.title(other)), other)))


def _list_category(codes: Sequence[str], category: str) -> Sequence[str]:
    start = bisect.bisect_left(codes, category)
    return codes[start : bisect.bisect_left(codes, category + "~", start)]


def _covers(wide: str, narrow: str) -> bool:
    """Whether `narrow` is below `wide`, the placeholder X of a full-length code standing for any character."""
    if len(wide) < _FULL_LENGTH:
        return narrow.startswith(wide) and narrow != wide
    return len(narrow) == len(wide) and all(a in ("X", b) for a, b in zip(wide, narrow, strict=True))


def _share_ending(code: str, other: str) -> bool:
    """Whether two full-length codes have the same seventh character; True where one of them has none."""
    return len(code) < _FULL_LENGTH or len(other) < _FULL_LENGTH or code[-1] == other[-1]


def _is_alike(title: str, other: str) -> bool:
    ours, theirs = (_list_content(_ENCOUNTER.sub("", text)) for text in (title, other))
    return len(ours & theirs) >= _LEAST_SHARED * len(ours | theirs)


def _measure_distance(title: str, other: str) -> tuple[bool, int, int]:
    """Return how far a title is from the old one: another text at all, words added or lost, the wrong kind of remainder."""
    ours, theirs = _list_content(title), _list_content(other)
    added = _list_content(_SAYS_NOTHING.sub(" ", other.casefold())) - ours
    remainders = ("other", "unspecified") if "other" in _find_words(title.casefold()) else ("unspecified", "other")
    words = set(_find_words(other.casefold()))
    remainder = next((place for place, word in enumerate(remainders) if word in words), len(remainders))
    return fold_title(title) != fold_title(other), len(added) + len(ours - theirs), remainder


def _list_content(title: str) -> set[str]:
    return {_cut_plural(word) for word in fold_title(title).split() if word not in _NEUTRAL}


def _cut_plural(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def resolve_chain(successors: Iterable[str], later: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return `successors` with each that was itself retired later replaced, in place, by its own successors."""
    resolved: dict[str, None] = {}
    for code in successors:
        resolved.update(dict.fromkeys(later.get(code, (code,))))
    return tuple(resolved)
