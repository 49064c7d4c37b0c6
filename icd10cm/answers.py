"""Completion -> codes: what a model wrote, normalised, checked against the release, with what was refused kept.

>>> from icd10cm import CodeSet
>>> read_answer("E11.621, i10, E11.62, high blood pressure", CodeSet.load())
Answer(codes=('E11.621', 'I10'), rejected=('E11.62',), unparsed=False)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from icd10cm.codeset import CODE_SHAPE, CodeSet, add_dot

_PIECES = re.compile(r"[,;|\n\t]+|\s+and\s+")
_INSIDE_TEXT = re.compile(r"(?<![A-Za-z0-9.])[A-Z](?=[A-Z]*[0-9])[0-9A-Z]{2}(?:\.?[0-9A-Z]{1,4})?(?![A-Za-z0-9])")
_PUNCTUATION = " \t\r\n.:*'\"`()[]{}<>-"


class Answer(NamedTuple):
    """What a completion says.

    Attributes:
        codes: distinct billable codes, dotted, in the order written.
        rejected: what has the shape of a code but is not a billable code of the release, as written, duplicates kept.
        unparsed: nothing in the completion has the shape of a code.
    """

    codes: tuple[str, ...]
    rejected: tuple[str, ...]
    unparsed: bool


def read_answer(completion: str, codes: CodeSet) -> Answer:
    """Read a completion of any model: bare lists in any case, with or without dots, or codes inside sentences."""
    found: dict[str, None] = {}
    rejected: list[str] = []
    for piece in _PIECES.split(completion):
        whole = piece.strip(_PUNCTUATION)
        candidates = [whole] if looks_like_code(whole) else _INSIDE_TEXT.findall(piece)
        for candidate in candidates:
            code = add_dot(candidate)
            if codes.is_billable(code):
                found[code] = None
            else:
                rejected.append(candidate)
    return Answer(tuple(found), tuple(rejected), unparsed=not found and not rejected)


def drop_cut_code(completion: str) -> str:
    """Return a completion that the token limit cut off without its last, perhaps unfinished, code."""
    return completion.rpartition(",")[0]


def looks_like_code(text: str) -> bool:
    """Whether `text` as a whole has the shape of a code: dotted or not, any case, at least one digit."""
    return bool(CODE_SHAPE.fullmatch(add_dot(text))) and any(character.isdigit() for character in text)
