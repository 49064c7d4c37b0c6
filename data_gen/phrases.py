"""A title taken apart: what it names, the clauses that hang on it, and the parts between its commas.

>>> parse_title("Type 2 diabetes mellitus with mild nonproliferative diabetic retinopathy without macular edema, left eye")
Title(core='Type 2 diabetes mellitus', clauses=('with mild nonproliferative diabetic retinopathy',
'without macular edema'), parts=('left eye',))
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_CONNECTOR = re.compile(
    # `contact with`, `drugs acting on`: what follows belongs to the word before
    r"(?<!\bacting)(?<!\bcontact)(?<!\bexposure)(?<!\bassociated)(?<!\bcolliding)(?<!\boriginating)(?<!\bprimarily) "
    r"(?=(?:(?:and |or )?with(?:out)?(?! (?:and|or)\b)|due to|secondary to|associated with|following|resulting from"
    r"|(?:not )?(?:involving|including)|resolved following|in|by|on(?! chronic)|injured(?= in\b)|at|during|after|from"
    r"|affecting|complicating|causing) )"
)
_NESTED = re.compile(
    r"with(?:out)? return to|(?:not )?(?:involving|including)|resolved|in|by|on|at|during|after|from|affecting"
)
_SERIES = re.compile(r"(?:and|or|nor|but|and/or)\b")
_SHORT_SERIES = re.compile(r"(?!not applicable)(?:\S+ ){0,2}\S+ (?:and|or) ")
_FUSED = re.compile(
    r"\b(?:(?:type|stage|class|grade|phase|level|group|degree|episode|fetus|part|trimester) (?=(?:[0-9IVX]+[ab]?|[A-Z])\b)"
    r"|(?:first|second|third) (?=degree\b)"
    r"|diabetes (?=mellitus\b)|angina (?=pectoris\b)|status (?=asthmaticus|epilepticus|migrainosus)|(?:long|short) (?=term\b)"
    r"|(?:end|high|low|full|free|late|early|mid|left|right) (?=(?:stage|output|back|thickness|main|onset|upper|lower|heart)\b)"
    r"|(?:upper|lower) (?=(?:quadrant|extremity|limb|lobe|end|arm|leg|back|eyelid|respiratory|jaw)\b)"
    r"|(?:acute|acquired) (?=on chronic\b)|on (?=chronic\b)|heart (?=failure\b)"
    r"|(?:non-)?ST (?=elevation\b)|elevation (?=\((?:N?STEMI)\))"
    r"|(?:urinary|respiratory|gastrointestinal|biliary|genital) (?=tract\b)"
    r"|(?:iron|protein|vitamin|blood) (?=deficiency|loss|pressure|vessel)"
    r"|(?:foreign|human) (?=bod|immuno)|(?:body mass) (?=index\b)|(?:shift|jet) (?=work|lag)|REM (?=sleep\b)"
    r"|(?:lupus|rheumatoid|pityriasis|lichen|erythema|herpes|molluscum|myasthenia|placenta|vasa|pes|hallux|genu|coxa|cubitus|talipes"
    r"|spina|tinea|acne|corpus|cor|fetor|globus|situs|ductus|salmonella|escherichia|staphylococcus|streptococcus) (?=[a-z]+)"
    r"|(?:bulimia|anorexia|alopecia) (?=[a-z]+)"
    r"|other (?=(?:and )?(?:specified|unspecified)\b)|not (?=\w))",
    re.IGNORECASE,
)
_FUSE = "\u00a0"


class Title(NamedTuple):
    """The pieces of a title: joined by a space, then by comma and space, they are the title again.

    Attributes:
        core: up to the first connector.
        clauses: each with its connector first: `with foot ulcer`.
        parts: what follows the commas.
    """

    core: str
    clauses: tuple[str, ...]
    parts: tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def parse_title(title: str) -> Title:
    """Return the pieces of a title."""
    first, *parts = _split_commas(title)
    core, *clauses = _split_outside(first, _CONNECTOR)
    return Title(core, tuple(clauses), tuple(parts))


def group_clauses(clauses: tuple[str, ...]) -> list[str]:
    """Return clauses as groups that may be moved: `in`, `by`, `involving` … stay behind the clause before them."""
    groups: list[str] = []
    for clause in clauses:
        depends = groups and (groups[-1].endswith("collision") or "involving" in groups[-1])
        if groups and (depends or _NESTED.match(clause)):
            groups[-1] += f" {clause}"
        else:
            groups.append(clause)
    return groups


def split_units(phrase: str) -> list[str]:
    """Return the words of a noun phrase, with what must stay together (`type 2`, `heart failure`, brackets) as one."""
    fused = _FUSED.sub(lambda found: found[0][:-1] + _FUSE, phrase)
    units: list[str] = []
    for word in fused.split(" "):
        if units and (word[0] in "([" or _is_open(units[-1])):
            units[-1] += f" {word}"
        else:
            units.append(word)
    return [unit.replace(_FUSE, " ") for unit in units]


def _is_open(text: str) -> bool:
    return text.count("(") > text.count(")") or text.count("[") > text.count("]")


def _split_commas(title: str) -> list[str]:
    """Split at commas outside brackets, but never inside a series: `type IIIA, IIIB, or IIIC` is one part."""
    pieces: list[str] = []
    for piece in title.split(", "):
        if pieces and _is_open(pieces[-1]):
            pieces[-1] += f", {piece}"
            continue
        if not pieces or not (_SERIES.match(piece) or _SHORT_SERIES.match(piece)):
            pieces.append(piece)
            continue
        pieces[-1] += f", {piece}"
        while len(pieces) > 1 and len(pieces[-1].split(", ")[0].split(" ")) <= 3:
            last = pieces.pop()
            pieces[-1] += f", {last}"
    return pieces


def _split_outside(text: str, pattern: re.Pattern[str]) -> list[str]:
    """Split at matches of `pattern` that are not in brackets."""
    pieces: list[str] = []
    for piece in pattern.split(text):
        if pieces and (_is_open(pieces[-1]) or pieces[-1].endswith((" and", " or", " and/or"))):
            pieces[-1] += f" {piece}"
        else:
            pieces.append(piece)
    return pieces
