"""Other codes that a model held probable where it wrote one, read from the most probable tokens at each place of the answer.

An alternative begins like the code written, goes on with another token, and is then a billable code or can only become one.
It is as much less probable than the code as its token is less probable than the one written; no further request is needed.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from icd10cm.codeset import CodeSet, add_dot

MOST_TOKENS = 20
"""The most tokens that servers list for one place."""

_BREAK = re.compile(r"[,;|\s]")
_CODE_LIKE = re.compile(r"[A-Za-z0-9.]+")


class Token(NamedTuple):
    """A token of an answer.

    Attributes:
        text: as decoded.
        logprob: of it.
        others: the most probable tokens at its place with their log-probabilities, itself perhaps among them.
    """

    text: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


Alternatives = dict[str, tuple[tuple[str, float], ...]]
"""Code written to its alternatives, each with the odds against it: log-probability less that of what was written."""


def find_alternatives(tokens: Sequence[Token], written: Iterable[str], codes: CodeSet) -> Alternatives:
    """Return the alternatives of each code of an answer, most probable first; none of them is a code of the answer.

    Args:
        tokens: of the answer, in order.
        written: codes that were read from it.
        codes: the release.
    """
    known = set(written)
    found: dict[str, dict[str, float]] = {code: {} for code in known}
    for code, begun, token in _follow(tokens, known):
        for text, logprob in token.others:
            other = complete_code(begun + text, codes)
            if other is not None and other not in known and math.isfinite(logprob):
                odds = min(0.0, round(logprob - token.logprob, 4))
                found[code][other] = max(odds, found[code].get(other, -math.inf))
    return {code: tuple(sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))) for code, others in found.items()}


def complete_code(text: str, codes: CodeSet) -> str | None:
    """Return the billable code that `text` is or can only become; None where it is none or several.

    >>> from icd10cm import CodeSet
    >>> [complete_code(text, CodeSet.load()) for text in ("E11.621", "I1", "I10, ", "E11.62", "A00.0 B")]
    ['E11.621', None, 'I10', None, 'A00.0']
    """
    stripped = text.lstrip(" \n\t,;|")
    begun = _BREAK.split(stripped, maxsplit=1)[0]
    if not begun or not begun.isascii():
        return None
    if codes.is_billable(begun):
        return add_dot(begun)
    if begun != stripped or len(begun) < 3:
        return None
    start = begun.upper()
    low = bisect.bisect_left(codes.codes, start)
    few = list(itertools.takewhile(lambda code: code.startswith(start), codes.codes[low : low + 2]))
    return few[0] if len(few) == 1 else None


def _follow(tokens: Sequence[Token], written: set[str]) -> Iterable[tuple[str, str, Token]]:
    """Yield for each token that spells part of a code: the code, what was written of it before, the token."""
    places = _locate(tokens, written)
    start = 0
    for token in tokens:
        end = start + len(token.text)
        for code, (begin, stop) in places.items():
            # a token that begins with the separator in front of a code decides about the code's beginning
            if start < stop and end > begin:
                yield code, _slice(tokens, begin, start), token
        start = end


def _locate(tokens: Sequence[Token], written: set[str]) -> Mapping[str, tuple[int, int]]:
    """Return where each code stands in the answer, its first mention."""
    whole = "".join(token.text for token in tokens)
    places: dict[str, tuple[int, int]] = {}
    for piece in _CODE_LIKE.finditer(whole):
        code = add_dot(piece[0])
        if code in written:
            places.setdefault(code, piece.span())
    return places


def _slice(tokens: Sequence[Token], begin: int, end: int) -> str:
    return "".join(token.text for token in tokens)[begin : max(begin, end)]
