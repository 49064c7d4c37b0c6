"""Where a title has short forms: the lexicon of `icd10cm.lexicon` turned round, and what a user's lists add to it."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data_gen.folding import fold_text
from icd10cm.lexicon import Abbreviation, read_short_forms

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
_SMALL_LONGS = frozenset(("with", "without", "and", "due to", "other", "unspecified", ", unspecified"))
_CONNECTOR = re.compile(r"\b(?:with|without|due to|of|in|and)\b")
_LEFT_BEHIND = "left", "in"
"""`Foreign body accidentally left in body` names no side."""

_SURE_SHARE = 0.9
_REMEMBERED = 1024
"""Titles whose short forms are kept: a title is looked up for every text that is written and checked."""


class ShortForm(NamedTuple):
    """A stretch of a title that has short forms.

    Attributes:
        start: where it starts in the title, in characters.
        end: where it ends.
        long: the long form, as in the lexicon.
        shorts: its short forms.
        weights: how often each of them is chosen; empty when all alike.
    """

    start: int
    end: int
    long: str
    shorts: tuple[str, ...]
    weights: tuple[float, ...] = ()

    @property
    def is_small(self) -> bool:
        """Whether it is a word like `with` that says nothing of the condition."""
        return self.long in _SMALL_LONGS


class Lexicon:
    """The short forms of one data set.

    Args:
        lists: a user's short forms, beside those of the project.
        min_share: those that mean their long form in a smaller share of uses are never written, nor are single letters
            that do not nearly always mean it; they still count as meanings of the short form.
    """

    def __init__(self, lists: Sequence[Sequence[Abbreviation]] = (), min_share: float = 0.5) -> None:
        self._shorts: dict[str, dict[str, float]] = {}
        self._longs: dict[str, str] = {}
        self._meanings: dict[str, dict[str, None]] = {}
        for short, long in read_short_forms():
            self._add(short, long, 1.0)
        for form in average_shares(lists):
            self._note_meaning(form.short, form.long)
            least = min_share if len(form.short) > 1 else max(min_share, _SURE_SHARE)
            if form.share >= least and is_shorter(form.short, form.long):
                self._add_new(form.short, form.long.lower(), form.share)
        self._most_tokens = max(len(key.split(" ")) for key in self._shorts)
        self.find_short_forms = functools.lru_cache(_REMEMBERED)(self._find_short_forms)

    def is_short(self, folded: str) -> bool:
        """Whether a folded text is a short form of anything."""
        return folded in self._meanings

    def list_meanings(self, folded: str) -> Iterable[str]:
        """Return the folded long forms of a folded short form."""
        return self._meanings.get(folded, ())

    def _add(self, short: str, long: str, weight: float) -> None:
        key = _join_tokens(long)
        self._longs.setdefault(key, long)
        self._shorts.setdefault(key, {})[short] = weight
        self._note_meaning(short, long)

    def _add_new(self, short: str, long: str, weight: float) -> None:
        """Add a short form unless it is there, in whatever case."""
        if short.casefold() not in map(str.casefold, self._shorts.get(_join_tokens(long), ())):
            self._add(short, long, weight)

    def _note_meaning(self, short: str, long: str) -> None:
        self._meanings.setdefault(fold_text(short), {})[fold_text(long)] = None

    def _find_short_forms(self, title: str) -> tuple[ShortForm, ...]:
        """Return every stretch of `title` with a short form, from left to right and the longest first; they may overlap.

        A term of several words is left out where it is only a part of a longer term: no `USA pectoris`, no `systolic CHF`
        out of `unstable angina pectoris` and `systolic (congestive) heart failure`. Single words always count.
        """
        tokens = [(found[0].lower(), found.start(), found.end()) for found in _TOKEN.finditer(title)]
        hits = []
        for first in range(len(tokens)):
            for last in range(min(len(tokens), first + self._most_tokens), first, -1):
                key = " ".join(token for token, _, _ in tokens[first:last])
                # a form that starts at a comma is a part of its own: `, unspecified` but not `, unspecified eye`
                follower = tokens[last][0] if last < len(tokens) else ""
                if key in self._shorts and (key[0] != "," or follower in ("", ",")) and (key, follower) != _LEFT_BEHIND:
                    hits.append(ShortForm(tokens[first][1], tokens[last - 1][2], self._longs[key], *self._list_shorts(key)))
        terms = [hit for hit in hits if " " in hit.long and not _CONNECTOR.search(hit.long)]
        return tuple(hit for hit in hits if " " not in hit.long.strip(", ") or not any(_holds(term, hit) for term in terms))

    def _list_shorts(self, key: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
        weights = self._shorts[key]
        return tuple(weights), () if len(set(weights.values())) == 1 else tuple(weights.values())


def average_shares(lists: Sequence[Sequence[Abbreviation]]) -> list[Abbreviation]:
    """Return each meaning of each short form once, with its share of uses over all lists that know the short form.

    >>> average_shares([[Abbreviation("CO", "carbon dioxide", 0.6)], [Abbreviation("co", "company", 0.5)]])[0].share
    0.3
    """
    knowing = Counter(short for forms in lists for short in {form.short.casefold() for form in forms})
    first: dict[tuple[str, str], Abbreviation] = {}
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    for form in itertools.chain.from_iterable(lists):
        key = form.short.casefold(), form.long.casefold()
        first.setdefault(key, form)
        shares[key] += form.share / knowing[key[0]]
    return [form._replace(share=min(1.0, shares[key])) for key, form in first.items()]


def is_shorter(short: str, long: str) -> bool:
    """Whether a short form saves letters and is more than a word of the long one (`B` of `hepatitis B`)."""
    words = fold_text(short).split()
    return len(short) < len(long) and not set(words) <= set(fold_text(long).split())


def _join_tokens(long: str) -> str:
    return " ".join(_TOKEN.findall(long.lower()))


def _holds(longer: ShortForm, hit: ShortForm) -> bool:
    return longer.start <= hit.start and hit.end <= longer.end and longer.end - longer.start > hit.end - hit.start
