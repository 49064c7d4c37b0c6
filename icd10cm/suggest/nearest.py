"""The valid codes nearest to a damaged one: malformed, truncated, misspelled or retired.

>>> [(near.code, near.reason) for near in suggest("W21.89A", limit=1)]
[('W21.89XA', 'placeholder X missing')]
>>> repair("e1l.621"), repair("E11.62"), repair("W21.89A")
('E11.621', None, 'W21.89XA')
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from icd10cm.releases import find_retired
from icd10cm.suggest.damage import (
    CHANGED,
    LONGEST,
    NO_PLACEHOLDER,
    Candidate,
    complete,
    exchange_look_alikes,
    fill_placeholders,
    replace_placeholders,
    undo_one_damage,
)
from icd10cm.suggest.spelling import describe_dot, find_words, fold_signs, keep_dots, place_dot, read_sure_digits

_RANGE = re.compile(r"[A-Z][0-9][0-9A-Z]\s*-\s*[0-9]{2}\W*", re.IGNORECASE | re.ASCII)
"""The usual way to write a block: F10-19."""
_FIRST_BELOW, _HEADING = 2, 2.0
_CERTAIN, _NO_DOT, _OTHER_DOT, _ALIKE = 9.0, 0.5, 0.02, 0.01


class Suggestion(NamedTuple):
    """A valid code near to a text.

    Attributes:
        code: billable code, dotted.
        reason: how it differs from the text, for a person.
        edits: letters and digits to add, drop, change or swap; 0 for a valid code, another spelling of one, a successor.
    """

    code: str
    reason: str
    edits: int


def suggest(text: str, codes: CodeSet | None = None, limit: int = 10) -> list[Suggestion]:
    """Return the billable codes nearest to what `text` says, nearest first; empty where nothing is near.

    A valid code comes first in its own list; a heading gives its billable codes, initial encounters and unspecified
    ones first; a retired code gives its successors. No text raises.

    Args:
        text: a code as someone wrote it, alone or among other words; its first 2,000 characters are read.
        codes: the release; the embedded one when omitted.
        limit: the most suggestions to return.
    """
    codes = CodeSet.load() if codes is None else codes
    words, alone = find_words(text)
    if not alone:
        words = [word for word in words if "." in word or word[:3].upper() in codes.headings]
    turns = itertools.zip_longest(*(_rank(word, codes, limit) for word in words))
    unique: dict[str, Suggestion] = {}
    for near in itertools.chain.from_iterable(turns):
        if near is not None:
            unique.setdefault(near.code, Suggestion(near.code, near.reason, near.edits))
    return list(unique.values())[: max(limit, 0)]


def repair(text: str, codes: CodeSet | None = None) -> str | None:
    """Return the one code that `text` can be read as; None when there is none, or a choice.

    Read without doubt are: a valid code in any case, without its dot, with the dot elsewhere, with O, I or l for a digit,
    or without its placeholder X where the 7th character is given and no other sign would do. A text with a missing,
    surplus or wrong character is never repaired otherwise, since several codes fit nearly always.
    """
    codes = CodeSet.load() if codes is None else codes
    words, alone = find_words(text)
    if len(words) != 1 or not alone or _RANGE.fullmatch(fold_signs(text).strip()):
        return None
    word = words[0]
    readings = _read_dot(word, codes) or _read_placeholders(word, codes)
    if not readings and _has_plain_dot(word):
        spelled = list(read_sure_digits(word))
        for read in (_read_dot, _read_placeholders):
            readings = readings or {code for digits in spelled for code in read(digits, codes)}
    return readings.pop() if len(readings) == 1 else None


def _has_plain_dot(word: str) -> bool:
    """Whether the dot of a word is in its place or left out."""
    return keep_dots(word) in (place_dot(word), place_dot(word).replace(".", ""))


def _read_dot(word: str, codes: CodeSet) -> set[str]:
    """Return what a word says once its dot is put right: with its dot elsewhere, also what a damage before it explains."""
    code = place_dot(word)
    if not codes.is_billable(code):
        return set()
    others = () if _has_plain_dot(word) else undo_one_damage(keep_dots(word), codes)
    return {code, *(other.code for other in others if other.reason != CHANGED)}


def _read_placeholders(word: str, codes: CodeSet) -> set[str]:
    """Return the code that a word is once its placeholders are filled in, unless other damage explains it too."""
    dotted = place_dot(word)
    if not _has_plain_dot(word) or complete(dotted, codes, most=1):
        return set()
    near = [*undo_one_damage(dotted, codes), *fill_placeholders(dotted, codes)]
    return {one.code for one in near} if all(one.reason == NO_PLACEHOLDER for one in near) else set()


def _rank(word: str, codes: CodeSet, limit: int) -> list[Candidate]:
    """Return the nearest codes to one word, likeliest first."""
    dotted = place_dot(word)
    if not 2 <= len(dotted) <= LONGEST + 2:
        return []
    total: dict[str, Candidate] = {}
    for candidate in _gather(word, dotted, codes, limit):
        known = total.get(candidate.code)
        if known is None:
            total[candidate.code] = candidate
        else:
            likelier = max(known, candidate, key=lambda one: one.weight)
            total[candidate.code] = likelier._replace(weight=known.weight + candidate.weight)
    return sorted(total.values(), key=lambda one: -one.weight)[: max(limit, 0)]


def _gather(word: str, dotted: str, codes: CodeSet, limit: int) -> Iterator[Candidate]:
    """Yield every reading of a word; a code may come several times."""
    nothing = True
    for candidate in itertools.chain(
        _read_as_it_is(word, dotted, codes),
        _complete_first(dotted, codes, limit),
        fill_placeholders(dotted, codes),
        replace_placeholders(dotted, codes),
        undo_one_damage(keep_dots(word), codes),
        _undo_behind_dot(keep_dots(word), dotted, codes),
        _undo_look_alikes(dotted, codes, limit),
    ):
        nothing = False
        yield candidate
    if nothing:
        yield from _find_same_beginning(dotted, codes, limit)


def _read_as_it_is(word: str, dotted: str, codes: CodeSet) -> Iterator[Candidate]:
    """Yield the valid code that a word is but for its dot, or the successors of the retired code that it is."""
    if codes.is_billable(dotted):
        yield Candidate(dotted, describe_dot(word), 0, _CERTAIN)
    elif retired := find_retired(dotted):
        reason = f"code retired in {retired.since}: its successor"
        for place, code in enumerate(reversed(retired.successors), 1):
            if codes.is_billable(code):
                yield Candidate(code, reason, 0, _CERTAIN * place)


def _complete_first(dotted: str, codes: CodeSet, limit: int) -> Iterator[Candidate]:
    """Yield the completions of a word, some of them before anything else: a heading asks for what is below it."""
    for place, candidate in enumerate(complete(dotted, codes, limit)):
        yield candidate._replace(weight=candidate.weight + _HEADING) if place < _FIRST_BELOW else candidate


def _undo_behind_dot(word: str, dotted: str, codes: CodeSet) -> Iterator[Candidate]:
    """Yield what one damage explains once the dot is put right."""
    if word != dotted:
        share = _OTHER_DOT if "." in word else _NO_DOT
        for candidate in undo_one_damage(dotted, codes):
            yield candidate._replace(weight=candidate.weight * share)


def _undo_look_alikes(dotted: str, codes: CodeSet, limit: int) -> Iterator[Candidate]:
    """Yield what a word says once letters are read as the digits they look like, with its missing characters."""
    for text, reason in exchange_look_alikes(dotted):
        edits = reason.count(",") + 1
        if codes.is_billable(text):
            yield Candidate(text, reason, edits, _ALIKE)
        for candidate in complete(text, codes, limit):
            both = f"{reason}, {candidate.reason}"
            yield Candidate(candidate.code, both, edits + candidate.edits, candidate.weight * _ALIKE)


def _find_same_beginning(dotted: str, codes: CodeSet, limit: int) -> Iterator[Candidate]:
    """Yield codes with the longest beginning that `dotted` shares with any, at least its category."""
    for end in range(len(dotted) - 1, 2, -1):
        if found := complete(dotted[:end], codes, limit):
            shared = dotted[:end].rstrip(".")
            for candidate in found:
                yield candidate._replace(reason=f"begins with {shared} too", edits=len(dotted) - end + candidate.edits)
            return
