"""Short forms as clinicians write them: `T2DM w/ foot ulcer`, from the lexicon, longest match first.

A random part of what can be shortened is, so one title gives several texts; one long form has one short form within a text.
A title without any entry in the lexicon is clipped (`homic idea`), and its source says so.
"""

from __future__ import annotations

import random
import re

from data_gen.casing import cap_first, lower_plain
from data_gen.lexicon import ShortForm
from data_gen.vocabulary import read_words
from data_gen.words import Words, read_own_words

_LONG_WORD = re.compile(r"(?<![\w/-])[A-Za-z][a-z]{6,}(?![\w'-])")
_KEPT_WORD = re.compile(r"un|non|with|hyper|hypo|left|right|bilateral|mellitus|pectoris|asthmaticus", re.IGNORECASE)
_VOWELS = "aeiouy"
_SHORTEST_CLIP = 5


def vary(title: str, rng: random.Random, words: Words | None = None) -> str | None:
    """Return `title` with some of it in short forms, None when it has no word that can be shortened."""
    hits = (words or read_own_words()).lexicon.find_short_forms(title)
    picked = _pick_hits(hits, rng) if hits else []
    if not hits or rng.random() < (0.25 if len(hits) > 2 else 0.5):
        picked += _clip_words(title, hits, picked, rng)
    return _type_case(title, _choose_shorts(picked, rng), rng) if picked else None


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


def _clip_words(title: str, hits: tuple[ShortForm, ...], picked: list[ShortForm], rng: random.Random) -> list[ShortForm]:
    """Return a clipped form of one long word without an entry in the lexicon, sometimes of two where nothing is picked."""
    words = [
        word
        for word in _LONG_WORD.finditer(title)
        if not _KEPT_WORD.match(word[0])
        and not any(hit.start == word.start() and hit.end == word.end() for hit in hits)
        and not any(hit.start < word.end() and word.start() < hit.end for hit in picked)
    ]
    chosen = rng.sample(words, min(len(words), 1 if picked else rng.randint(1, 2)))
    return [ShortForm(word.start(), word.end(), word[0], (_clip_word(word[0], rng),)) for word in chosen]


def _clip_word(word: str, rng: random.Random) -> str:
    """Return the first half of `word` or more, up to a consonant: `gastroin`; less (`obst`, `chlor`) says too little."""
    first = max(_SHORTEST_CLIP, -(-len(word) // 2))
    ends = [place for place in range(first, min(len(word) - 2, first + 4)) if word[place - 1] not in _VOWELS]
    own = read_own_words().lexicon
    ends = [place for place in ends if not (word[:place].lower() in read_words() or own.is_short(word[:place].lower()))]
    before_vowel = [place for place in ends if word[place] in _VOWELS]
    return word[: rng.choice(before_vowel or ends or [first])]


def _choose_shorts(picked: list[ShortForm], rng: random.Random) -> list[tuple[int, int, str]]:
    """Return (start, end, short form) from left to right, the same short form for the same words."""
    chosen: dict[str, str] = {}
    stretches = []
    for hit in sorted(picked):
        short = chosen.setdefault(hit.long, _choose_short(hit, rng))
        if hit.long[0] == ",":
            short = rng.choice((" ", " ", ", ")) + short if short[0] != "(" else f" {short}"
        stretches.append((hit.start, hit.end, short))
    return stretches


def _choose_short(hit: ShortForm, rng: random.Random) -> str:
    return rng.choices(hit.shorts, hit.weights)[0] if hit.weights else rng.choice(hit.shorts)


def _type_case(title: str, stretches: list[tuple[int, int, str]], rng: random.Random) -> str:
    """Return the title with its stretches replaced: short forms as they are written, or the whole in one case."""
    pieces: list[str] = []
    end = 0
    plain = lower_plain(title)
    for start, stop, short in stretches:
        pieces += plain[end:start], short
        end = stop
    text = "".join(pieces) + plain[end:]
    draw = rng.random()
    if draw < 0.45:
        return text
    if draw < 0.65:
        return cap_first(text)
    return text.lower() if draw < 0.92 else text.upper()
