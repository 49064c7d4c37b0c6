"""Completion -> codes: what a model wrote, normalised, checked against the release, with what was refused kept.

>>> from icd10cm import CodeSet
>>> read_answer("E11.621, i10, E11.62, high blood pressure", CodeSet.load())
Answer(codes=('E11.621', 'I10'), rejected=('E11.62',), unparsed=False)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from icd10cm.codeset import CODE_SHAPE, CodeSet, add_dot

_SEPARATOR = re.compile(r"[,;|\n\t]|\band\b")
_INSIDE_TEXT = re.compile(rf"(?<![A-Za-z0-9.]){CODE_SHAPE.pattern}(?:[-–]{CODE_SHAPE.pattern})?(?!\.?[A-Za-z0-9])")
"""A code, or a range of codes, which names no single one (`E08-E13`)."""
_LIKE_A_CODE = re.compile(r"[A-Z](?:[0-9][0-9A-Z.]|[A-Z][0-9])[0-9A-Z.]*", re.IGNORECASE | re.ASCII)
"""What stands in a list for a code, even where a dot is in the wrong place or it is too long."""
_PUNCTUATION = ".:*'\"`()[]{}<>#_!?•-–—"


class Answer(NamedTuple):
    """What a completion says.

    Attributes:
        codes: distinct billable codes, dotted, in the order written.
        rejected: what was meant as a code but is not a billable code of the release, as written, duplicates kept.
        unparsed: nothing in the completion was meant as a code.
    """

    codes: tuple[str, ...]
    rejected: tuple[str, ...]
    unparsed: bool


def read_answer(completion: str, codes: CodeSet) -> Answer:
    """Read a completion of any model: bare lists in any case, with or without dots, or codes inside sentences.

    Among other words, what only looks like a code (vitamin B12, T2DM, H1N1) counts as a word: no category begins like it.
    """
    found: dict[str, None] = {}
    rejected: list[str] = []
    for piece in _SEPARATOR.split(completion):
        words = [word for spaced in piece.split() if (word := spaced.strip(_PUNCTUATION))]
        is_list = all(_LIKE_A_CODE.fullmatch(word) for word in words)
        for candidate in words if is_list else _INSIDE_TEXT.findall(piece):
            code = add_dot(candidate)
            if codes.is_billable(code):
                found[code] = None
            elif is_list or "." in candidate or codes.category(code) in codes:
                rejected.append(candidate)
    return Answer(tuple(found), tuple(rejected), unparsed=not found and not rejected)


def drop_cut_code(completion: str) -> str:
    """Return a completion that the token limit cut off without its last, perhaps unfinished, code."""
    ends = [separator.start() for separator in _SEPARATOR.finditer(completion)]
    return completion[: ends[-1]] if ends else ""
