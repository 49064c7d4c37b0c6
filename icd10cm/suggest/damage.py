"""Undo damage: the codes that one damage turns into a text, each with how probable the damage is.

Candidates are found by undoing every possible damage and looking the result up, so that no search reads the whole code
set. The weights are those of a noisy channel with all codes equally likely: a damage's share divided by the places and
signs it may have. A random sign in a random place leaves many codes equally near; no order of them can tell which it was.
"""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from icd10cm.suggest.spelling import READ_AS_DIGIT, READ_AS_LETTER, describe_look_alike, lie_together, look_alike

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGNS = "0123456789" + _LETTERS
LONGEST = 8
"""Signs in the longest code, with its dot."""
_UNSPECIFIED = re.compile(r"unspecified|\bNOS\b|without complication|uncomplicated", re.IGNORECASE)

# How often each damage happens to a code; only their relation counts. Measured in tests/test_suggest.py.
_SWAPPED, _MISSING, _EXTRA, _CHANGED = 0.2, 0.2, 0.4, 0.2
_DOUBLED, _ALIKE, _TOUCHING, _FORGOTTEN_X, _SUBDIVIDED = 0.4, 1.0, 0.01, 0.4, 0.4
_CUT_LAST, _CUT_SHORT = 0.03, 0.02

NO_PLACEHOLDER, CHANGED = "placeholder X missing", "one character differs"


class Candidate(NamedTuple):
    """A code that a damage may have turned into the text.

    Attributes:
        code: billable, dotted.
        reason: what the damage was, for a person.
        edits: signs to add, drop, change or swap.
        weight: relative probability that the damage happened to this code and gave this text.
    """

    code: str
    reason: str
    edits: int
    weight: float


def undo_one_damage(word: str, codes: CodeSet) -> Iterator[Candidate]:
    """Yield the codes that become `word` (upper case, dotted) by one missing, surplus, changed or swapped sign.

    A code comes several times where several damages lead to the same text; their weights add up.
    """
    yield from _undo_swap(word, codes)
    yield from _undo_surplus(word, codes)
    yield from _undo_missing(word, codes)
    yield from _undo_change(word, codes)


def _undo_swap(word: str, codes: CodeSet) -> Iterator[Candidate]:
    for at in range(len(word) - 1):
        left, right = word[at], word[at + 1]
        if left != right and _is_code(code := word[:at] + right + left + word[at + 2 :], codes):
            dot = "." in (left, right)
            reason = "dot in another place" if dot else "two characters swapped"
            yield Candidate(code, reason, 0 if dot else 1, _SWAPPED / (len(word) - 1))


def _undo_surplus(word: str, codes: CodeSet) -> Iterator[Candidate]:
    for at, sign in enumerate(word):
        if _is_code(code := word[:at] + word[at + 1 :], codes):
            doubled = sign in word[max(at - 1, 0) : at] + word[at + 1 : at + 2]
            weight = _EXTRA / len(_SIGNS) + (_DOUBLED / 2 if doubled else 0)
            reason = "one dot too many" if sign == "." else "one character too many"
            yield Candidate(code, reason, int(sign != "."), weight / len(word))


def _undo_missing(word: str, codes: CodeSet) -> Iterator[Candidate]:
    # What is missing at the end is for `complete` to say, in its own order; it needs three characters to begin from.
    for at in range(len(word) + (len(word) < 3)):
        for sign, code in _fill_gap(word[:at], word[at:], codes):
            if code.startswith(word) and len(word) > 2:
                continue
            if sign == "X" and at > 3:
                yield Candidate(code, NO_PLACEHOLDER, 1, _FORGOTTEN_X)
            elif sign == ".":
                yield Candidate(code, "dot missing", 0, _MISSING)
            else:
                yield Candidate(code, "one character missing", 1, _MISSING / len(code))


def _undo_change(word: str, codes: CodeSet) -> Iterator[Candidate]:
    for at, written in enumerate(word):
        for sign, code in _fill_gap(word[:at], word[at + 1 :], codes):
            if sign != written:
                alike = look_alike(written, sign)
                weight = _CHANGED / len(_SIGNS) + (_ALIKE if alike else _TOUCHING * lie_together(written, sign))
                # All changes are equally likely: these shares only settle in which order equals come.
                weight *= 1 + 0.01 * (written.isdigit() == sign.isdigit()) + 0.001 * at
                reason = describe_look_alike(written, sign) if alike else CHANGED
                yield Candidate(code, reason, 1, weight / len(word))


def _fill_gap(before: str, after: str, codes: CodeSet) -> Iterator[tuple[str, str]]:
    """Yield every sign that makes a code between `before` and `after`, with the code."""
    headings = codes.headings
    for sign in _list_fitting(before, after, codes):
        code = before + sign + after
        if (heading := headings.get(code)) is not None and heading.billable:
            yield sign, code


def _list_fitting(before: str, after: str, codes: CodeSet) -> str:
    """Return the signs that could stand between `before` and `after` in anything shaped like a code of a known category."""
    at, length = len(before), len(before) + 1 + len(after)
    if not 3 <= length <= LONGEST or length == 4:
        return ""
    if at == 3:
        return "." if before in codes.headings else ""
    if at > 3:
        return _SIGNS if before[3] == "." and _begins_a_code(before, codes) else ""
    return (_SIGNS if at else _LETTERS) if length == 3 or after[2 - at] == "." else ""


def _begins_a_code(text: str, codes: CodeSet) -> bool:
    at = bisect.bisect_left(codes.codes, text)
    return at < len(codes.codes) and codes.codes[at].startswith(text)


def _is_code(text: str, codes: CodeSet) -> bool:
    heading = codes.headings.get(text)
    return heading is not None and heading.billable


def fill_placeholders(word: str, codes: CodeSet) -> list[Candidate]:
    """Return the code that `word` becomes with two or three X before its 7th character: `W19.A` -> `W19.XXXA`."""
    missing = LONGEST - len(word)
    code = f"{word[:-1]}{'X' * missing}{word[-1:]}"
    return [Candidate(code, NO_PLACEHOLDER, missing, _FORGOTTEN_X)] if missing in (2, 3) and _is_code(code, codes) else []


def replace_placeholders(word: str, codes: CodeSet) -> Iterator[Candidate]:
    """Yield codes with a sign where `word` has its first placeholder: a code subdivided since, `T81.4XXA` -> `T81.40XA`."""
    stem, encounter = word[:-1].rstrip("X"), word[-1:]
    if len(word) != LONGEST or len(stem) == len(word) - 1 or _is_code(word, codes):
        return
    found = [near for near in complete(stem, codes, most=1000) if near.code[-1] == encounter and len(near.code) == LONGEST]
    for place, near in enumerate(found):
        yield Candidate(near.code, "subdivided: a character stands where the X was", 1, _SUBDIVIDED / (place + 1))


def complete(word: str, codes: CodeSet, most: int) -> list[Candidate]:
    """Return at most `most` codes that begin with `word`, at least a category: what its missing characters may be.

    Initial encounters come before subsequent ones, fewer characters before more, unspecified before the rest.
    """
    if len(word) < 3:
        return []
    first = bisect.bisect_left(codes.codes, word)
    last = bisect.bisect_left(codes.codes, word + "~", first)
    found = codes.codes[first:last]
    initial = [code for code in found if code[LONGEST - 1 :] <= "A"]
    ordered = heapq.nsmallest(most, initial if len(initial) >= most else found, key=functools.partial(_order_completion, codes))
    return [_describe_completion(word, code, place) for place, code in enumerate(ordered) if code != word]


def _order_completion(codes: CodeSet, code: str) -> tuple[str, int, int, str]:
    encounter = code[LONGEST - 1 :]
    vague = len(_UNSPECIFIED.findall(codes.headings[code].title)) + (code[4:7].rstrip("X")[-1:] == "9")
    return encounter if encounter > "9" else "", len(code), -vague, code


def _describe_completion(word: str, code: str, place: int) -> Candidate:
    missing = len(code.replace(".", "")) - len(word.replace(".", ""))
    if len(code) == LONGEST and code[len(word) : -1].strip(".X") == "":
        reason = "7th character missing" if missing == 1 else "placeholder X and 7th character missing"
    else:
        reason = f"heading {word}: more characters needed"
    return Candidate(code, reason, missing, (_CUT_LAST if missing == 1 else _CUT_SHORT) * (1 - place / 1e6))


def exchange_look_alikes(word: str) -> Iterator[tuple[str, str]]:
    """Yield `word` with letters read as digits (and its first digit as a letter) in every way, with what was done."""
    first = READ_AS_LETTER.get(word[:1], word[:1])
    choices = [first, *(sign + READ_AS_DIGIT.get(sign, "") for sign in word[1:])]
    for signs in itertools.product(*choices):
        if changed := [at for at, sign in enumerate(signs) if sign != word[at]]:
            yield "".join(signs), ", ".join(describe_look_alike(word[at], signs[at]) for at in changed)
