"""Misspellings: one to three slips of finger or ear per text, never in what carries the meaning.

Digits, laterality (left, right, bilateral), negations (without, not, non-) and the encounter stay as they are, and no slip
turns one word of a title into another word of any title (`ileum` into `ilium`, `hyper-` into `hypo-`).
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Container

from data_gen.casing import type_case
from data_gen.vocabulary import read_words
from data_gen.words import Severity, Words, read_own_words

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl", "p": "ol",
    "a": "qsz", "s": "adwx", "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jlim", "l": "kop",
    "z": "xas", "x": "zcd", "c": "xvdf", "v": "cbfg", "b": "vnhg", "n": "bmhj", "m": "njk",
}  # fmt: skip
_SOUNDS = tuple(
    (re.compile(heard), written)
    for heard, written in (
        ("ph", "f"), ("rrh", "rh"), ("rrh", "rr"), ("rh", "r"), ("ae", "e"), ("oe", "e"), ("ie", "ei"), ("ei", "ie"),
        ("(?<=[a-z])y(?=[a-z])", "i"), (r"ous\b", "us"), ("eous", "ious"), ("ious", "eous"), ("tion", "sion"), ("sion", "tion"),
        ("ence", "ance"), ("ance", "ence"), ("ent", "ant"), ("ant", "ent"), (r"ary\b", "ery"), (r"er\b", "or"), (r"or\b", "er"),
        (r"ar\b", "er"), ("c(?=[ei])", "s"), ("s(?=[ei])", "c"), ("ch(?=[aor])", "k"), ("psy", "sy"), ("th", "t"),
        (r"([lsmnptrcf])\1", r"\1"), ("(?<=[aeiou])([lmnprst])(?=[aeiou])", r"\1\1"), ("ui", "iu"), ("au", "ua"), ("eu", "ue"),
        ("ible", "able"), ("able", "ible"), ("c(?=[aou])", "k"), ("z", "s"), ("(?<=[^aeiou])a(?=[^aeiou])", "e"),
        ("(?<=[^aeiou])e(?=[^aeiou])", "a"), ("(?<=[^aeiou])e(?=[^aeiou])", "i"), ("(?<=[^aeiou])i(?=[^aeiou])", "e"),
        ("(?<=[^aeiou])o(?=[^aeiou])", "a"),
    )
)  # fmt: skip
"""What one hears, and what one writes for it."""

_PROTECTED = frozenset(
    (
        "left",
        "right",
        "bilateral",
        "unilateral",
        "without",
        "not",
        "none",
        "non",
        "no",
        "nor",
        "never",
        "except",
        "nontraumatic",
        "initial",
        "subsequent",
        "encounter",
        "sequela",
    )
)
_PROTECTED_START = re.compile(
    r"(?:hyper|hypo|non|un|in|im|inter|intra|anti|ante|post|pre|sub|supra|super|infra|poly|mono|a|ab|ad|dys|eu)"
)
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_NUMERAL = re.compile(r"[ivx]+[a-c]?", re.IGNORECASE)
"""`iiia`, of an open fracture: what decides its 7th character."""

_SHORTEST = 4
_SHARE_ATTESTED = 0.5
"""Of the slips in a word for which a list of misspellings has any, those that are taken from it."""


def vary(title: str, rng: random.Random, words: Words | None = None) -> str | None:
    """Return `title` with one to three slips, more in a longer one; None when no word in it can be misspelt."""
    words = words or read_own_words()
    text = title
    done = 0
    for _ in range(count_slips(title, words.severity, rng)):
        slipped = _join_words(text, rng) if rng.random() < 0.08 else misspell_word(text, title, rng, words)
        if slipped is not None:
            text = slipped
            done += 1
    return type_case(text, rng) if done else None


def count_slips(text: str, severity: Severity, rng: random.Random) -> int:
    """Return how many slips a text gets: up to three, one when light, twice as many when heavy."""
    usual = rng.randint(1, 1 + (len(text) > 30) + (len(text) > 70))
    return {"light": 1, "usual": usual, "heavy": 2 * usual}[severity]


def misspell_word(text: str, original: Container[str], rng: random.Random, words: Words) -> str | None:
    """Return `text` with one slip in a word that `original` has as well, None after a few attempts without one."""
    places = [word for word in _WORD.finditer(text) if _may_misspell(word[0], original)]
    for _ in range(4):
        if not places:
            return None
        place = rng.choice(places)
        wrong = _slip(place[0], rng, words)
        if wrong is not None:
            return text[: place.start()] + wrong + text[place.end() :]
    return None


def _may_misspell(word: str, original: Container[str]) -> bool:
    return _is_plain(word) and word in original


@functools.lru_cache(maxsize=1 << 16)
def _is_plain(word: str) -> bool:
    is_word = len(word) >= _SHORTEST and word[1:].islower() and not _NUMERAL.fullmatch(word)
    return is_word and word.lower() not in _PROTECTED


def _slip(word: str, rng: random.Random, words: Words) -> str | None:
    """Return `word` with one slip after its protected start, None when that gave no new word."""
    start = _PROTECTED_START.match(word.lower())
    first = max(1, start.end() if start and len(word) - start.end() >= _SHORTEST else 1)
    attested = [wrong for wrong in words.misspellings.get(word.lower(), ()) if wrong[:first] == word[:first].lower()]
    if attested and rng.random() < _SHARE_ATTESTED:
        return word[:first] + rng.choice(attested)[first:]
    slip = rng.choices(_SLIPS, _WEIGHTS)[0]
    wrong = slip(word, first, rng)
    for _ in range(8):
        if wrong is not None or slip is not _spell_by_ear:
            break
        wrong = slip(word, first, rng)
    return None if wrong is None or wrong == word or wrong.lower() in read_words() else wrong


def _hit_neighbour(word: str, first: int, rng: random.Random) -> str | None:
    place = rng.randrange(first, len(word))
    near = _NEIGHBOURS.get(word[place])
    return None if near is None else word[:place] + rng.choice(near) + word[place + 1 :]


def _swap_letters(word: str, first: int, rng: random.Random) -> str | None:
    if first > len(word) - 2:
        return None
    place = rng.randrange(first, len(word) - 1)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _drop_letter(word: str, first: int, rng: random.Random) -> str | None:
    # `com` and `una` are no longer `coma` and `ulna`
    if len(word) == _SHORTEST:
        return None
    place = rng.randrange(first, len(word))
    return word[:place] + word[place + 1 :]


def _double_letter(word: str, first: int, rng: random.Random) -> str | None:
    place = rng.randrange(first, len(word))
    return word[: place + 1] + word[place:] if word[place].isalpha() else None


def _insert_letter(word: str, first: int, rng: random.Random) -> str | None:
    place = rng.randrange(first, len(word))
    near = _NEIGHBOURS.get(word[place])
    return None if near is None else word[:place] + rng.choice(near) + word[place:]


def _spell_by_ear(word: str, first: int, rng: random.Random) -> str | None:
    heard, written = rng.choice(_SOUNDS)
    places = [found for found in heard.finditer(word) if found.start() >= first]
    if not places:
        return None
    place = rng.choice(places)
    return word[: place.start()] + place.expand(written) + word[place.end() :]


_SLIPS: tuple[Callable[[str, int, random.Random], str | None], ...] = (
    _hit_neighbour, _swap_letters, _drop_letter, _double_letter, _insert_letter, _spell_by_ear,
)  # fmt: skip
_WEIGHTS = (18, 20, 22, 12, 6, 22)


def _join_words(text: str, rng: random.Random) -> str | None:
    """Return `text` without the space between two plain words."""
    words = text.split(" ")
    places = [
        place
        for place in range(len(words) - 1)
        if all(part.isalpha() and len(part) > 2 and part.lower() not in _PROTECTED for part in words[place : place + 2])
    ]
    if not places:
        return None
    place = rng.choice(places)
    return " ".join([*words[:place], words[place] + words[place + 1], *words[place + 2 :]])
