"""Sides that disagree: right with left where a bilateral code exists, bilateral with one side, a side with none given."""

from __future__ import annotations

import re
from collections.abc import Iterator

from icd10cm.codeset import CodeSet
from icd10cm.rules.case import Case, Knowledge
from icd10cm.rules.finding import Finding, Severity

_SIDES = re.compile(r"\b(right|left|bilateral(?:ly)?|both)\b", re.I)
_DROPPED = re.compile(
    r"\b(?:right|left|bilateral(?:ly)?|both|unilateral|unspecified|sides?|eyes?|ears?|and|of|the)\b|[,()]", re.I
)
_PLURAL = re.compile(r"(?<=[a-z]{2})(?:es|s)\b")


def find_laterality_conflicts(case: Case) -> Iterator[Finding]:
    """Codes of one condition whose sides do not go together."""
    by_category: dict[str, list[str]] = {}
    for code in case.known:
        by_category.setdefault(code[:3], []).append(code)
    for together in by_category.values():
        for place, first in enumerate(together):
            for second in together[place + 1 :]:
                if finding := _compare(first, second, case.knowledge):
                    yield finding


def _compare(first: str, second: str, knowledge: Knowledge) -> Finding | None:
    codes = knowledge.codes
    (side, condition), (other_side, other_condition) = _describe(first, knowledge), _describe(second, knowledge)
    if side is None or other_side is None or side == other_side or condition != other_condition:
        return None
    sides = {side, other_side}
    pair = (first, second)
    texts = f"{codes.title(first)}; {codes.title(second)}"
    if "unspecified" in sides:
        vague, exact = pair if side == "unspecified" else pair[::-1]
        message = f"{vague} leaves the side open, {exact} names it: drop {vague} or name its side"
        return Finding("laterality", Severity.WARNING, pair, message, vague, texts, (exact,))
    if "bilateral" in sides:
        both, one = pair if side == "bilateral" else pair[::-1]
        message = f"{both} is both sides and already says {one}"
        return Finding("laterality", Severity.WARNING, pair, message, both, texts, (both,))
    bilateral = _find_bilateral(first, condition, codes)
    if bilateral is None:
        return None
    message = f"{first} and {second} are the two sides of one condition: there is a bilateral code, {bilateral}"
    return Finding("laterality", Severity.WARNING, pair, message, bilateral, codes.title(bilateral), (bilateral,))


def _describe(code: str, knowledge: Knowledge) -> tuple[str | None, str]:
    """Return the side a code names and its condition without the side."""
    known = knowledge.sides.get(code)
    if known is None:
        known = knowledge.sides[code] = _read_side(code, knowledge.codes)
    return known


def _read_side(code: str, codes: CodeSet) -> tuple[str | None, str]:
    title = codes.title(code)
    condition = _name_condition(code, title)
    sides = {match.lower() for match in _SIDES.findall(title)}
    if len(sides) == 1:
        side = sides.pop()
        return ("bilateral" if side in ("both", "bilaterally") else side), condition
    if not sides and "unspecified" in title.lower() and _has_sided_sibling(code, condition, codes):
        return "unspecified", condition
    return None, condition


def _name_condition(code: str, title: str) -> str:
    words = _PLURAL.sub("", _DROPPED.sub(" ", title.lower())).split()
    return " ".join([*sorted(words), code[7:]])


def _has_sided_sibling(code: str, condition: str, codes: CodeSet) -> bool:
    return any(
        _SIDES.search(codes.title(sibling)) and _name_condition(sibling, codes.title(sibling)) == condition
        for sibling in _list_siblings(code, codes)
    )


def _find_bilateral(code: str, condition: str, codes: CodeSet) -> str | None:
    for sibling in _list_siblings(code, codes):
        title = codes.title(sibling)
        sides = {match.lower() for match in _SIDES.findall(title)}
        if sides <= {"bilateral", "both", "bilaterally"} and sides and _name_condition(sibling, title) == condition:
            return sibling
    return None


def _list_siblings(code: str, codes: CodeSet) -> list[str]:
    """Return the codes under the same heading and the one above; of full codes, those with the same 7th character."""
    parent = codes.parent(code)
    if parent is None:
        return []
    if len(code) == len("S52.501A"):
        grandparent = codes.parent(parent)
        stems = codes.children(grandparent) if grandparent else ()
        return [full for stem in stems for full in codes.children(stem) if full[-1] == code[-1]]
    near = list(codes.children(parent))
    above = codes.parent(parent)
    if above is not None:
        near += [cousin for uncle in codes.children(above) for cousin in (uncle, *codes.children(uncle)) if cousin not in near]
    return near
