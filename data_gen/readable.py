"""Whether a variant still names its condition to a reader who sees nothing else of it."""

from __future__ import annotations

import difflib
import re

_WORD = re.compile(r"[a-z]+")
_LONG = 5
_LIKE = 0.75


def is_readable(title: str, text: str) -> bool:
    """Whether the long words of a title are all in `text`, misspelled or not, and its words in their order.

    >>> title = "Volvulus of colon"
    >>> is_readable(title, "vlvls of colon"), is_readable(title, "volvuluss of colon"), is_readable(title, "colon, volvulus of")
    (False, True, False)
    """
    said = _WORD.findall(title.lower())
    words = _WORD.findall(text.lower())
    places = [said.index(word) for word in words if said.count(word) == 1]
    return places == sorted(places) and all(_has(words, word) for word in said if len(word) >= _LONG)


def _has(words: list[str], wanted: str) -> bool:
    return wanted in words or any(
        word[0] == wanted[0]
        and abs(len(word) - len(wanted)) <= 2
        and not wanted.startswith(word)
        and difflib.SequenceMatcher(None, word, wanted).ratio() >= _LIKE
        for word in words
    )
