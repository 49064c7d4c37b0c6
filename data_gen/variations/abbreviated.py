"""Short forms as clinicians write them: `T2DM w/ foot ulcer`, from `lexicon.csv`, longest match first.

A random part of what can be shortened is, so one title gives several texts; one long form has one short form within a text.
A title without any entry in the lexicon is clipped (`homic idea`), and its source says so.
"""

from __future__ import annotations

import random
import re

from data_gen.casing import cap_first, lower_plain
from data_gen.lexicon import ShortForm, find_short_forms

_LONG_WORD = re.compile(r"(?<![\w/-])[A-Za-z][a-z]{6,}(?![\w'-])")
_KEPT_WORD = re.compile(r"(?:un|non|with|hyper|hypo|left|right|bilateral)", re.IGNORECASE)
_VOWELS = "aeiouy"


def vary(title: str, rng: random.Random) -> str | None:
    """Return `title` with some of it in short forms, None when it has no word that can be shortened."""
    hits = find_short_forms(title)
    if not hits:
        clipped = _clip_words(title, rng)
        return None if clipped is None else _type_case(clipped, rng)
    text = _shorten(title, _pick_hits(hits, rng), rng)
    if rng.random() < (0.25 if len(hits) > 2 else 0.5):
        text = _clip_words(text, rng, most=1) or text
    return _type_case(text, rng)


def _pick_hits(hits: tuple[ShortForm, ...], rng: random.Random) -> list[ShortForm]:
    """Return hits that do not overlap: the longest at each place most of the time, and at least one that says something."""
    share = rng.choice((0.35, 0.6, 0.8, 1.0))
    told = [hit for hit in hits if not hit.is_small] or list(hits)
    for _ in range(8):
        picked: list[ShortForm] = []
        for hit in hits:
            if (not picked or hit.start >= picked[-1].end) and rng.random() < share:
                picked.append(hit)
        if any(hit in told for hit in picked):
            return picked
    return [rng.choice(told)]


def _shorten(title: str, picked: list[ShortForm], rng: random.Random) -> str:
    chosen: dict[str, str] = {}
    pieces: list[str] = []
    end = 0
    for hit in picked:
        short = chosen.setdefault(hit.long, rng.choice(hit.shorts))
        before = title[end : hit.start]
        if hit.long[0] == ",":
            before += rng.choice((" ", " ", ", "))
        pieces += before, short
        end = hit.end
    return "".join(pieces) + title[end:]


def _clip_words(text: str, rng: random.Random, most: int = 2) -> str | None:
    """Return `text` with one or two long words clipped after a consonant (`gastr`) or without vowels (`thrmbs`)."""
    places = [word for word in _LONG_WORD.finditer(text) if not _KEPT_WORD.match(word[0])]
    if not places:
        return None
    for place in sorted(rng.sample(places, min(len(places), rng.randint(1, most))), key=re.Match.start, reverse=True):
        word = place[0]
        text = text[: place.start()] + (_clip_word(word, rng) or word) + text[place.end() :]
    return text


def _clip_word(word: str, rng: random.Random) -> str | None:
    """Return the first four to six letters of `word` up to a consonant, now and then its consonants alone."""
    if rng.random() < 0.15 and len(word) <= 10:
        bones = word[0] + "".join(letter for letter in word[1:] if letter not in _VOWELS)
        return bones[:6] if 3 <= len(bones) else None
    ends = [place for place in range(4, min(len(word) - 2, 8)) if word[place - 1] not in _VOWELS and word[place] in _VOWELS]
    return word[: rng.choice(ends)] if ends else word[:4]


def _type_case(text: str, rng: random.Random) -> str:
    """Return `text` with its short forms in capitals most of the time, all lower or all upper case otherwise."""
    draw = rng.random()
    if draw < 0.45:
        return lower_plain(text)
    if draw < 0.70:
        return cap_first(lower_plain(text))
    return text.lower() if draw < 0.92 else text.upper()
