"""The pieces of a text that can be evidence: clauses, list items, lines, and neighbours of one sentence put together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

Span = tuple[int, int]
"""Begin and end in characters of the whole text."""

LONGEST_PIECE = 160
"""Characters of a span that is put together; a single clause may be longer."""
_MOST_JOINED = 3
_MOST_WORDS = 30

_SENTENCE_BREAK = re.compile(r"\n\s*|(?<=[.!?])\s+|;|:(?=\s)|[•●▪]")
_CLAUSE_BREAK = re.compile(
    r",(?!\d)|\s(?:and|but|however|without|w/o|denies|denied|negative for)\s|\s[-–—]\s|\s\+\s|\s&\s", re.IGNORECASE
)
_HEADING = re.compile(r"^[ \t]*([^\n:]{1,60}?)[ \t]*:[ \t]*$", re.MULTILINE)
"""A line that only says what follows is about."""
_WORD = re.compile(r"\S+")
_EDGE = " \t\r\n\f\v\u00a0\u2028\u2029,;:.!?•●▪*–—-"


def list_candidates(text: str, span: Span) -> list[Span]:
    """Return the pieces of `text` inside `span`, each once, in order; none begins or ends with a blank.

    >>> text = "T2DM w/ foot ulcer, HTN."
    >>> [text[start:end] for start, end in list_candidates(text, (0, len(text)))]
    ['T2DM w/ foot ulcer', 'T2DM w/ foot ulcer, HTN', 'HTN']
    """
    found: dict[Span, None] = {}
    headings = {match.end(1) for match in _HEADING.finditer(text, *span)}
    for sentence in _cut(text, span, _SENTENCE_BREAK):
        pieces = [short for piece in _cut(text, sentence, _CLAUSE_BREAK) for short in _cut_long(text, piece)]
        for first, begin in enumerate(pieces):
            for last in pieces[first : first + _MOST_JOINED]:
                if last is begin and last[1] in headings:
                    continue
                if last is begin or last[1] - begin[0] <= LONGEST_PIECE:
                    found[begin[0], last[1]] = None
    return list(found)


def _cut(text: str, span: Span, breaks: re.Pattern[str]) -> Iterator[Span]:
    """Yield what stands between `breaks`, without blanks and signs at the ends; nothing without a letter or a digit."""
    start, end = span
    inner = [(start, start), *(match.span() for match in breaks.finditer(text, start, end)), (end, end)]
    for (_, begin), (stop, _) in itertools.pairwise(inner):
        piece = _strip(text, begin, stop)
        if any(map(str.isalnum, text[slice(*piece)])):
            yield piece


def _cut_long(text: str, span: Span) -> Iterator[Span]:
    words = [match.span() for match in _WORD.finditer(text, *span)]
    for first in range(0, len(words), _MOST_WORDS):
        piece = _strip(text, words[first][0], words[min(first + _MOST_WORDS, len(words)) - 1][1])
        if piece[0] < piece[1]:
            yield piece


def _strip(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    begin = start + len(piece) - len(piece.lstrip(_EDGE))
    return (begin, start + len(piece.rstrip(_EDGE))) if begin < end else (begin, begin)
