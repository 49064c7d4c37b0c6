"""Which words of a text are misspelt words of its title, and the text with them as they should be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from data_gen.folding import fold_text

_WORD = re.compile(r"[^\W_]+")
_MOST_EDITS = 2
_SHORTEST = 4


def undo_slips(title: str, text: str, shorts: Collection[str], details: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return `text` with its misspelt words as in `title`, and what was put right: misspelt word to word of the title.

    A misspelt word is none of the title, lies within two edits (a letter added, left out or changed, or two swapped) of a
    word that the title has and the text lacks, and has the same first letter.

    Args:
        title: as printed.
        text: as typed.
        shorts: folded words that may be short forms and are not taken for misspelt.
        details: words that must not be misspelt, and so are never what a misspelt word should be.
    """
    from rapidfuzz.distance import OSA

    said, written = Counter(fold_text(title).split()), Counter(fold_text(text).split())
    lacking = [word for word in (said - written).elements() if len(word) >= _SHORTEST and word not in details]
    undone: dict[str, str] = {}
    for wrong in written - said:
        near = [
            (distance, word)
            for word in lacking
            if word[0] == wrong[0] and (distance := OSA.distance(wrong, word, score_cutoff=_MOST_EDITS)) <= _MOST_EDITS
        ]
        if near and wrong not in shorts:
            undone[wrong] = min(near)[1]
            lacking.remove(undone[wrong])
    if not undone:
        return text, undone
    return _replace_words(text, undone), undone


def _replace_words(text: str, right: dict[str, str]) -> str:
    return _WORD.sub(lambda word: right.get(word[0].casefold(), word[0]), text)
