"""Letter case as people type it."""

from __future__ import annotations

import random
import re

_SMALL_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "by", "due", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with", "without")
)
_WORD = re.compile(r"\S+")


def cap_words(text: str) -> str:
    """Return `text` with each word's first letter in upper case and the rest as it is: `Pain In Throat`."""
    return _WORD.sub(lambda word: _cap_word(word[0]), text)


def cap_headline(text: str) -> str:
    """Return `text` as a headline, small words in lower case: `Pain in Throat`."""
    return _WORD.sub(lambda word: word[0].lower() if word.start() and word[0] in _SMALL_WORDS else _cap_word(word[0]), text)


def cap_first(text: str) -> str:
    """Return `text` with its first character in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def lower_plain(text: str) -> str:
    """Return `text` in lower case, except lone capitals (`I`) and words with one inside (`STEMI`, `IIIA`, `mTOR`)."""
    first, *rest = text.split(" ")
    return " ".join([_lower_word(first), *(word if len(word) == 1 else _lower_word(word) for word in rest)])


def type_case(text: str, rng: random.Random) -> str:
    """Return `text` in the case somebody typed it: mostly lower, often sentence case, now and then upper or as it was."""
    draw = rng.random()
    if draw < 0.45:
        return text.lower()
    if draw < 0.60:
        return lower_plain(text)
    if draw < 0.85:
        return cap_first(lower_plain(text))
    return text.upper() if draw < 0.92 else text


def _lower_word(word: str) -> str:
    lower = word.lower()
    return lower if lower[1:] == word[1:] else word


def _cap_word(word: str) -> str:
    for place, character in enumerate(word):
        if character.isalpha():
            return word[:place] + character.upper() + word[place + 1 :]
    return word
