"""One text in two spellings is still one text: the form in which texts are compared across splits and codes."""

from __future__ import annotations

import re

_find_words = re.compile(r"[^\W_]+").findall


def fold_text(text: str) -> str:
    """Return `text` casefolded, with every run of punctuation and white space as one space.

    >>> fold_text("Asthma,  MILD (persistent)")
    'asthma mild persistent'
    """
    return " ".join(_find_words(text.casefold()))
