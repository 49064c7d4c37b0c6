"""Two of the ways at once: a text with short forms, or with its words in another order, that is also misspelt.

Only words that stand in the title as well are misspelt, so a short form (`CKD`) or a clipped word stays what it is.
"""

from __future__ import annotations

import random
import re

from data_gen.lexicon import Lexicon
from data_gen.variations import abbreviated, reordered, typo
from data_gen.words import Words, read_own_words

BASES = {"abbreviated": abbreviated.vary, "reordered": reordered.vary}
"""What a misspelt text is before it is misspelt."""

_list_words = re.compile(r"[^\W\d_]+(?:'[a-z]+)?").findall


def vary(title: str, rng: random.Random, words: Words | None = None) -> str | None:
    """Return `title` in short forms or another order, and misspelt; None when this attempt gave nothing."""
    return mix(rng.choice(list(BASES)), title, rng, words)


def mix(base: str, title: str, rng: random.Random, words: Words | None = None) -> str | None:
    """Return `title` rewritten by `base`, one of `BASES`, and misspelt; None when this attempt gave nothing."""
    words = words or read_own_words()
    text = before = BASES[base](title, rng, words)
    if text is None or before is None:
        return None
    said = {word.casefold() for word in _list_words(title)} - _list_kept_words(title, before, words.lexicon)
    plain = {word for word in _list_words(before) if word.casefold() in said}
    for _ in range(typo.count_slips(before, words.severity, rng)):
        text = typo.misspell_word(text, plain, rng, words) or text
    return text if text != before else None


def _list_kept_words(title: str, text: str, lexicon: Lexicon) -> set[str]:
    """Return the words of short forms that are in a text and have several, such as `abd pain`."""
    shorts = {short.casefold() for hit in lexicon.find_short_forms(title) for short in hit.shorts if " " in short}
    return {word for short in shorts if short in text.casefold() for word in _list_words(short)}
