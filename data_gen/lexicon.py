"""Where a title has short forms: the lexicon of `icd10cm.lexicon`, turned round."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from icd10cm.lexicon import read_short_forms

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
_SMALL_LONGS = frozenset(("with", "without", "and", "due to", "other", "unspecified", ", unspecified"))
_CONNECTOR = re.compile(r"\b(?:with|without|due to|of|in|and)\b")


class ShortForm(NamedTuple):
    """A stretch of a title that has short forms.

    Attributes:
        start: where it starts in the title, in characters.
        end: where it ends.
        long: the long form, as in the lexicon.
        shorts: its short forms.
    """

    start: int
    end: int
    long: str
    shorts: tuple[str, ...]

    @property
    def is_small(self) -> bool:
        """Whether it is a word like `with` that says nothing of the condition."""
        return self.long in _SMALL_LONGS


@functools.lru_cache(maxsize=1024)
def find_short_forms(title: str) -> tuple[ShortForm, ...]:
    """Return every stretch of `title` with a short form, from left to right and the longest first; they may overlap.

    A term of several words is left out where it is only a part of a longer term: no `USA pectoris`, no `systolic CHF`
    out of `unstable angina pectoris` and `systolic (congestive) heart failure`. Single words always count.
    """
    lexicon, longest = _read_lexicon()
    tokens = [(found[0].lower(), found.start(), found.end()) for found in _TOKEN.finditer(title)]
    hits = []
    for first in range(len(tokens)):
        for last in range(min(len(tokens), first + longest), first, -1):
            entry = lexicon.get(" ".join(token for token, _, _ in tokens[first:last]))
            # a form that starts at a comma is a part of its own: `, unspecified` but not `, unspecified eye`
            if entry and not (entry[0][0] == "," and last < len(tokens) and tokens[last][0] != ","):
                hits.append(ShortForm(tokens[first][1], tokens[last - 1][2], *entry))
    terms = [hit for hit in hits if " " in hit.long and not _CONNECTOR.search(hit.long)]
    return tuple(hit for hit in hits if " " not in hit.long.strip(", ") or not any(_holds(term, hit) for term in terms))


def _holds(longer: ShortForm, hit: ShortForm) -> bool:
    return longer.start <= hit.start and hit.end <= longer.end and longer.end - longer.start > hit.end - hit.start


@functools.cache
def _read_lexicon() -> tuple[dict[str, tuple[str, tuple[str, ...]]], int]:
    """Return tokenised long form to (long form, short forms), and the most tokens of a long form."""
    shorts: dict[str, list[str]] = {}
    for short, long in read_short_forms():
        shorts.setdefault(long, []).append(short)
    lexicon = {" ".join(_TOKEN.findall(long.lower())): (long, tuple(found)) for long, found in shorts.items()}
    return lexicon, max(len(key.split(" ")) for key in lexicon)
