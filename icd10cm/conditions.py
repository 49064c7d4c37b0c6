"""Where a text plainly sets its conditions apart: lines, list items, sentences, `and also`. Commas, `and`, `&` join."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""Begin and end in characters of the whole text."""

_LINE_END = re.compile(r"[\n\r]+")
_SEMICOLON = re.compile(r";+")
_HEADING = re.compile(r"[A-Za-z/ ]{1,24}:")
_MARK = r"(?:\(?\d{1,2}[.)]|#\d{0,2}|[-*\u2022\u2013])\s+"
_FIRST_MARK = re.compile(_MARK)
_NEXT_NUMBER = re.compile(r"[;,]?\s+(?:\(?\d{1,2}[.)]|#\d{1,2})\s+")
_SIGN_OR_STOP = re.compile(r"\s[+/]\s|(?:(?<=[A-Za-z)\]]{2})|(?<=[a-z] \d))\.\s+(?=[A-Z])")
_WORDS = re.compile(r"[,;]?\s+(?:and also|as well as|along with)\s+|,\s+also\s+", re.IGNORECASE)
_LEADING_WORDS = re.compile(r"(?:and also|and|also|as well as)\s+", re.IGNORECASE)


def split_conditions(text: str) -> list[str]:
    """Return the conditions that a text sets apart, without list markers and headings such as `Dx:`; at least one.

    What sets apart: line ends; in a line the first of these that it has: list markers (`1.` `#2` `-`), semicolons, sentence
    ends and `+` or `/` between blanks; then words such as `and also`. A semicolon in an item that has its marker belongs to it.
    No title of the release has any of these.

    >>> split_conditions("Dx: 1) CHF 2) bladder cancer; trigone")
    ['CHF', 'bladder cancer; trigone']
    >>> split_conditions("CHF; gout, as well as skin & soft tissue infection")
    ['CHF', 'gout', 'skin & soft tissue infection']
    """
    return [text[start:end] for start, end in locate_conditions(text)]


def locate_conditions(text: str) -> list[Span]:
    """Return where the conditions stand that `split_conditions` returns; the whole text where it has none."""
    items: list[Span] = []
    for first, last in _cut(text, (0, len(text)), _LINE_END.finditer(text)):
        start, end = _skip(text, (first, first + len(text[first:last].rstrip("; "))), _HEADING)
        item = _skip(text, (start, end), _FIRST_MARK)
        if item[0] > start:
            items += _cut(text, item, _NEXT_NUMBER.finditer(text, *item))
        else:
            items += _cut(text, item, list(_SEMICOLON.finditer(text, *item)) or _SIGN_OR_STOP.finditer(text, *item))
    led = [_skip(text, item, _LEADING_WORDS) for item in items]
    return [piece for item in led for piece in _cut(text, item, _WORDS.finditer(text, *item))] or [(0, len(text))]


def _skip(text: str, span: Span, pattern: re.Pattern[str]) -> Span:
    """Return the span without what it begins with where that is of a pattern."""
    matched = pattern.match(text, *span)
    return strip_span(text, matched.end(), span[1]) if matched else span


def _cut(text: str, span: Span, breaks: Iterable[re.Match[str]]) -> Iterator[Span]:
    """Yield what stands between breaks, without blanks at the ends; nothing that is blank."""
    edges = [span[0], *itertools.chain.from_iterable(found.span() for found in breaks), span[1]]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = strip_span(text, start, end)
        if piece[0] < piece[1]:
            yield piece


def strip_span(text: str, start: int, end: int) -> Span:
    """Return the span without the blanks at its ends."""
    inside = text[start:end]
    begin = start + len(inside) - len(inside.lstrip())
    return begin, max(begin, start + len(inside.rstrip()))
