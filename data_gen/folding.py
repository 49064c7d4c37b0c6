"""One text in two spellings is still one text: the form in which texts are compared across splits and codes."""

from __future__ import annotations

import functools
import re

SMALL_WORDS = frozenset(
    ("a", "affecting", "after", "an", "and", "as", "associated", "at", "by", "caused", "causing", "complicating", "due",
     "during", "following", "for", "from", "in", "induced", "into", "involving", "of", "on", "the", "to", "with")
)  # fmt: skip
"""Words that come and go when a text is turned around: what is left is its content."""

_find_words = re.compile(r"[^\W_]+").findall
_REMEMBERED = 256
"""A text is folded several times while it is written and checked; a fifth of the time of a run went into it."""


@functools.lru_cache(_REMEMBERED)
def fold_text(text: str) -> str:
    """Return `text` casefolded, with every run of punctuation and white space as one space.

    >>> fold_text("Asthma,  MILD (persistent)")
    'asthma mild persistent'
    """
    return " ".join(_find_words(text.casefold()))


@functools.lru_cache(_REMEMBERED)
def list_content_words(text: str) -> tuple[str, ...]:
    """Return the folded words of `text` in order without the small ones; `secondary to` is a way to say `due to`."""
    folded = fold_text(text).replace(" secondary to ", " due to ")
    return tuple(word for word in folded.split() if word not in SMALL_WORDS)
