"""A noun phrase in other word orders: `Acute kidney failure` as `kidney failure, acute`, `failure, kidney, acute` …"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from data_gen.phrases import split_units

_MOST_WORDS_IN_FRONT = 4
_MOST_WORDS_BEFORE = 6
_MOST_WORDS_TWICE = 3
_JOINED = re.compile(r"(?:and|or|and/or)")
_HAS_JOINED = re.compile(r"\b(?:and|or)\b")
_BRACKETS = re.compile(r"(?:^| )\(([a-z][a-z-]+)\)(?: |$)")
_SYNONYM = re.compile(r"(.+) \[([a-z]+(?: [a-z]+)+)\]")
_SIDE = re.compile(r"(left|right|bilateral|unilateral) (?=\w)")
_VAGUE = re.compile(r"\b(?:other|unspecified|uncertain|degree|type|multiple|parts?|sites?)\b")
_DEPENDENT = frozenset(("for", "with", "against", "while", "as", "to", "into", "in", "by", "from", "during"))
"""Words that what stands behind them cannot be cut from."""

_DETACHED = re.compile(r"(?:other|unspecified)\b", re.IGNORECASE)
_ADJECTIVE = re.compile(
    r"(?:.*(?:ic|al|ar|ary|ory|ous|ive|ed|ible|able|ile|oid|ant|ent|ing|ior)|other|unspecified|mild|severe|moderate|major|minor"
    r"|left|right|long term|long-term|early|late|benign|malignant|high|low|pure|morbid|mixed|incomplete|complete|open|closed"
    r"|acute|chronic|subacute|simple|single|multiple|diffuse|upper|lower|middle|old|first|second|third|fourth|fifth|great|full"
    r"|\w+ \d\w?)",
    re.IGNORECASE,
)
ANATOMY = (
    "knee|eye|hand|foot|ankle|hip|shoulder|elbow|wrist|arm|leg|forearm|thigh|finger|thumb|toe|ear|heart|kidney|lung|liver|back"
    "|chest|neck|head|throat|breast|skin|spine|bladder|stomach|colon|brain|rib|quadrant|flank|jaw|eyelid|limb|extremity|thyroid"
    "|blood|lid|scalp|lip|nail|tongue|tooth|sinus|ovary|uterus|prostate|pancreas|spleen|penis|scrotum|vagina|vulva|retina"
    "|urinary tract|respiratory tract"
)
"""Body parts, as alternatives of a regular expression."""

_COMPOUND = re.compile(
    rf"(?P<before>(?:[\w-]+ )*?)(?P<place>(?:(?:left|right|upper|lower|low) )*(?:{ANATOMY})) (?P<what>[a-z]{{4,}})",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=8192)
def list_forms(phrase: str) -> tuple[str, ...]:
    """Return the phrase in other orders, none for a single word: comma inversion, `of` turned, side and brackets moved."""
    found = dict.fromkeys(_turn_phrase(phrase))
    for moved in _move_brackets(phrase):
        found[moved] = None
    synonym = _SYNONYM.fullmatch(phrase)
    if synonym and not re.search(r"\b(?:of|by|bone)\b", phrase):
        found[f"{synonym[2]} [{synonym[1]}]"] = None
        found[f"{synonym[2]} ({synonym[1]})"] = None
    found.pop(phrase, None)
    return tuple(found)


def _turn_phrase(phrase: str) -> Iterator[str]:
    head, *tail = phrase.split(" of ")
    if not tail:
        yield from _invert_phrase(head)
        yield from _turn_compound(head)
        return
    whole = " of ".join(tail).removeprefix("the ")
    for inverted in _invert_phrase(head):
        yield f"{inverted}, of {whole}"
        if not _VAGUE.match(whole):
            yield f"{whole}, {inverted}"
    if len(tail) == 2 and tail[0].endswith("degree"):
        yield f"{tail[1]} {head}, {tail[0]}"
        yield f"{head} of {tail[1]}, {tail[0]}"
        yield f"{tail[0]} {head} of {tail[1]}"
        return
    if not _VAGUE.match(whole) and len(whole.split(" ")) <= _MOST_WORDS_BEFORE:
        yield f"{whole}, {head}"
    first, rest = _split_first(head)
    if rest and _is_adjective(first) and not _DETACHED.match(first):
        yield f"{rest} of {whole}, {first}"
        if len(tail) == 1 and _is_short(whole):
            yield f"{whole} {rest}, {first}"
    if _HAS_JOINED.search(phrase):
        return
    if len(tail) == 1 and _is_short(whole):
        if "(" not in head:
            yield f"{whole} {head}"
        if _is_adjective(first) and not _DETACHED.match(first) and len(split_units(rest)) == 1 and rest != "effect":
            yield f"{first} {whole} {rest}"
    elif len(tail) == 2 and not _VAGUE.search(tail[0]):
        yield f"{tail[1]} {tail[0]}, {head}"
        yield f"{tail[1]}, {head} of {tail[0]}"
        if _is_short(phrase):
            yield f"{tail[1]} {tail[0]} {head}"
    side = _SIDE.match(tail[-1])
    if side:
        bare = " of ".join([head, *tail[:-1], tail[-1][side.end() :]])
        yield f"{bare}, {side[1]}"


def _invert_phrase(phrase: str) -> Iterator[str]:
    """Yield `failure, acute kidney` and `kidney failure, acute` for `acute kidney failure`; swap a pair joined by `and`."""
    units = split_units(phrase)
    if len(units) < 2 or not _DEPENDENT.isdisjoint(units) or "," in phrase or units[-1] == "effect":
        return
    joined = [place for place, unit in enumerate(units) if _JOINED.fullmatch(unit)]
    if joined:
        yield from _swap_pair(units, joined)
        places = [1] if joined[0] > 1 and _is_adjective(units[0]) else []
    else:
        places = [place for place in range(1, min(len(units), _MOST_WORDS_IN_FRONT + 1)) if _may_part(units, place)]
    for place in places:
        front = _set_behind(units[:place])
        yield f"{' '.join(units[place:])}{front}"
        if place + 1 in places and len(units) <= _MOST_WORDS_TWICE:
            yield f"{' '.join(units[place + 1 :])}, {units[place]}{front}"


def _set_behind(units: list[str]) -> str:
    """Return words as they stand behind the rest of their phrase: after a comma, or as the bracket they are."""
    return f"{' ' if units[0][0] in '([' else ', '}{' '.join(units)}"


def _may_part(units: list[str], place: int) -> bool:
    """Whether a comma inversion may cut before `units[place]`: before the last word, or after an adjective."""
    return place == len(units) - 1 or _is_adjective(units[place - 1]) or units[place - 1].endswith(")")


def _swap_pair(units: list[str], joined: list[int]) -> Iterator[str]:
    """Yield the phrase with the words on both sides of its only `and` swapped, where these are a pair of equals."""
    place = joined[0]
    if len(joined) > 1 or place == 0 or place == len(units) - 1:
        return
    left, right = units[place - 1], units[place + 1]
    if len(units) == 3 or _strip_brackets(left)[-2:] == _strip_brackets(right)[-2:]:
        yield " ".join([*units[: place - 1], right, units[place], left, *units[place + 2 :]])


def _is_adjective(unit: str) -> bool:
    return _ADJECTIVE.fullmatch(_strip_brackets(unit)) is not None and unit != "being"


def _strip_brackets(unit: str) -> str:
    return unit.split(" (")[0].lower()


def _turn_compound(phrase: str) -> Iterator[str]:
    """Yield `pain in left upper quadrant` for `left upper quadrant pain`."""
    found = _COMPOUND.fullmatch(phrase)
    if found is None or _HAS_JOINED.search(phrase) or f"{found['place']} {found['what']}".lower() == "heart failure":
        return
    small = "in" if found["what"].lower() in ("pain", "tenderness", "cramps") else "of"
    yield f"{found['before']}{found['what']} {small} {found['place']}"
    if found["before"]:
        yield f"{found['what']} {small} {found['place']}, {found['before'].strip()}"


def _move_brackets(phrase: str) -> Iterator[str]:
    """Yield the phrase with its one bracketed word in place without brackets, and behind in brackets."""
    found = list(_BRACKETS.finditer(phrase))
    if len(found) != 1 or " of " in phrase[: found[0].start()]:
        return
    before, after = phrase[: found[0].start()], phrase[found[0].end() :]
    yield " ".join(part for part in (before, found[0][1], after) if part)
    if after and " of " not in after:
        yield f"{before} {after} ({found[0][1]})".strip()


def _split_first(phrase: str) -> tuple[str, str]:
    units = split_units(phrase)
    return units[0], " ".join(units[1:])


def _is_short(phrase: str) -> bool:
    return len(phrase.split(" ")) <= 4 and not phrase.startswith("the ") and not _HAS_JOINED.search(phrase)
