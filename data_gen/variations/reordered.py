"""The words of a title in another order, as clinicians and the Alphabetic Index turn them.

`Type 2 diabetes mellitus with foot ulcer` becomes `foot ulcer in type 2 diabetes mellitus`, `diabetes mellitus, type 2,
with foot ulcer`. Every content word stays; only small words (of, with, in, due to, causing …) come and go.
"""

from __future__ import annotations

import functools
import random
import re
from collections import Counter

from data_gen.casing import type_case
from data_gen.folding import fold_text
from data_gen.phrases import group_clauses, parse_title, split_units

_SMALL_WORDS = frozenset("a an and as at by causing caused due for from in into of on the to with induced associated after following".split())
_SIDE = re.compile(r"(left|right|bilateral|unilateral)\b ?")
_SIDE_PART = re.compile(r"(?:left|right|bilateral|unilateral)\b")
_LOOSE_PART = re.compile(
    r"(?:unspecified|mild|moderate|severe|recurrent|acute|chronic|bilateral|unilateral|uncomplicated|initial|subsequent)\b"
)
_ENCOUNTER = re.compile(r"(?:initial|subsequent) encounter|sequela")
_JOINED = re.compile(r"\b(?:and|or|and/or)\b")
_LEADING = re.compile(r"(?:other|unspecified|unsp)\b", re.IGNORECASE)


def vary(title: str, rng: random.Random) -> str | None:
    """Return `title` with its words in another order; None when this attempt gave the same order or nothing can move."""
    core, clauses, parts = parse_title(title)
    forms = _list_core_forms(core)
    groups = group_clauses(clauses)
    moved = _choose(forms, rng) if forms and rng.random() < 0.6 else core
    body, parts = _place_clauses(moved, groups, list(parts), rng)
    text = _place_parts(body, parts, rng)
    if not _same_words(title, text) or fold_text(text) == fold_text(title):
        return None
    return type_case(text, rng)


def _place_clauses(core: str, groups: list[str], parts: list[str], rng: random.Random) -> tuple[str, list[str]]:
    """Return the core with its clauses around it, and the comma parts not used up."""
    if not groups:
        return core, parts
    draw = rng.random()
    if draw < 0.5:
        turned = _turn_clause(core, groups, rng)
        if turned is not None:
            return turned, parts
    if draw < 0.65 and len(groups) > 1:
        rng.shuffle(groups)
    elif draw < 0.75 and len(parts) == 1 and _SIDE_PART.match(parts[0]) and "," not in core:
        return f"{core}, {parts[0]}, {' '.join(groups)}", []
    comma = "," if "," in core or rng.random() < 0.15 else ""
    return f"{core}{comma} {' '.join(groups)}", parts


def _turn_clause(core: str, groups: list[str], rng: random.Random) -> str | None:
    """Return the first clause before the core: `foot ulcer in type 2 diabetes mellitus`."""
    place = rng.randrange(len(groups))
    connector, phrase = _split_connector(groups[place])
    rest = groups[:place] + groups[place + 1 :]
    nested = [clause for clause in rest if clause.startswith("without ")]
    links = _LINKS.get(connector)
    if links is None or (connector == "with" and _JOINED.match(phrase)):
        return None
    link = rng.choice(links)
    if link == "due to" and "diabetes" not in core.lower() and "hypertensi" not in core.lower():
        link = "with"
    if link == "-induced" and (" " in phrase or len(rest)):
        link = "causing"
    if rng.random() < 0.4 and (forms := _list_core_forms(phrase)):
        phrase = _choose(forms, rng)
    if place == 0 and rest and rng.random() < 0.6:
        phrase, rest = f"{phrase} {' '.join(rest)}", []
    elif nested and place == 0:
        phrase, rest = f"{phrase} {' '.join(rest)}", []
    tail = f" {' '.join(rest)}" if rest else ""
    if link == "-induced":
        return f"{phrase}-induced {core}{tail}"
    if link == "":
        return f"{phrase} {core}{tail}"
    return f"{phrase}{link if link == ',' else f' {link}'} {core}{tail}"


def _split_connector(clause: str) -> tuple[str, str]:
    for connector in _LINKS:
        if clause.startswith(f"{connector} "):
            return connector, clause[len(connector) + 1 :]
    return "", clause


_LINKS: dict[str, tuple[str, ...]] = {
    "with": ("in", "with", "with", "due to", "associated with"),
    "and with": ("with",),
    "due to": ("causing", "causing", "with", "-induced"),
    "secondary to": ("causing", "with"),
    "associated with": ("with", "associated with"),
    "following": ("causing", ","),
    "after": (",",),
    "in": ("with", "with", ","),
    "involving": (",", ""),
    "affecting": (",", "with"),
    "by": (",", ""),
    "during": (",",),
    "complicating": ("with",),
}
"""Connector of a clause to what may stand between the clause and the core once the clause comes first."""


def _place_parts(body: str, parts: list[str], rng: random.Random) -> str:
    """Return the body with the comma parts around it, often in another order."""
    if not parts:
        return body
    if rng.random() < 0.35 and len(parts) > 1:
        rng.shuffle(parts)
    if rng.random() < 0.45:
        place = rng.randrange(len(parts))
        part = parts.pop(place)
        after = f", {', '.join(parts)}" if parts else ""
        if _ENCOUNTER.match(part):
            return f"{part}{rng.choice((', ', ': ', ' - '))}{body}{after}"
        if _LOOSE_PART.match(part) or _SIDE_PART.match(part):
            return f"{part}{rng.choice((' ', ' ', ', '))}{body}{after}"
        return f"{part}{rng.choice((', ', ' - ', ': '))}{body}{after}"
    separator = ", " if rng.random() < 0.8 else rng.choice((" - ", "; ", " "))
    return separator.join([body, *parts])


@functools.lru_cache(maxsize=4096)
def _list_core_forms(phrase: str) -> tuple[str, ...]:
    """Return the noun phrase in other orders: comma inversion, `of` turned, side to the end; none for a single word."""
    found: dict[str, None] = {}
    head, *tail = phrase.split(" of ")
    whole = " of ".join(tail)
    suffix = f" of {whole}" if tail else ""
    for inverted in _invert_phrase(head):
        found[f"{inverted},{suffix}" if suffix else inverted] = None
    if tail:
        found[f"{whole}, {head}"] = None
        if len(tail) == 1 and len(whole.split(" ")) <= 4 and not _JOINED.search(phrase) and not whole.startswith("the "):
            found[f"{whole} {head}"] = None
        if len(tail) == 2 and not _JOINED.search(phrase):
            found[f"{tail[1]} {tail[0]}, {head}"] = None
            if len(phrase.split(" ")) <= 8:
                found[f"{tail[1]} {tail[0]} {head}"] = None
            found[f"{tail[1]}, {head} of {tail[0]}"] = None
        side = _SIDE.match(tail[-1])
        if side and tail[-1] != side[0]:
            found[f"{' of '.join([head, *tail[:-1], tail[-1][side.end() :]])}, {side[1]}"] = None
    elif side := re.search(r" (left|right)$", phrase):
        found[f"{side[1]} {phrase[: side.start()]}"] = None
    found.pop(phrase, None)
    return tuple(found)


def _invert_phrase(phrase: str) -> list[str]:
    """Return `failure, acute kidney` and `kidney failure, acute` for `acute kidney failure`; pairs joined by and are swapped."""
    units = split_units(phrase)
    if len(units) < 2:
        return []
    joined = [place for place, unit in enumerate(units) if _JOINED.fullmatch(unit)]
    if joined:
        return _swap_pair(units, joined)
    places = range(1, min(len(units), 5))
    if _LEADING.match(units[0]) and len(units) > 2:
        places = range(1, 2)
    inverted = [f"{' '.join(units[place:])}, {' '.join(units[:place])}" for place in places]
    if len(units) >= 3:
        inverted.append(f"{units[-1]}, {', '.join(reversed(units[:-1]))}" if len(units) == 3 else "")
    return [text for text in inverted if text]


def _swap_pair(units: list[str], joined: list[int]) -> list[str]:
    """Return the phrase with the words on both sides of its only `and` swapped, where these are a pair of equals."""
    place = joined[0]
    equals = len(units) == 3 or (place == 1 and units[0].lower()[-2:] == units[2].lower()[-2:])
    if len(joined) > 1 or place == 0 or place == len(units) - 1 or not equals:
        return []
    return [" ".join([*units[: place - 1], units[place + 1], units[place], units[place - 1], *units[place + 2 :]])]


def _choose(forms: tuple[str, ...], rng: random.Random) -> str:
    return forms[int(rng.random() * len(forms))]


def _same_words(title: str, text: str) -> bool:
    return _count_words(title) == _count_words(text)


def _count_words(text: str) -> Counter[str]:
    return Counter(word for word in fold_text(text).split() if word not in _SMALL_WORDS)
