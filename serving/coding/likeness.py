"""How much of what a code says a piece of text says, too: by words, short forms, synonyms and near spellings. No model."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from icd10cm.lexicon import read_short_forms, read_synonyms
from icd10cm.search.entries import TERM_KINDS, split_roles, split_words
from icd10cm.search.query import Meanings, arrange_meanings
from icd10cm.tabular import Tabular

_WORD = re.compile(r"[^\W_]+")
_SHORT = 4
"""Letters below which words must be the same."""
_STEM = 6
_STEM_WORTH, _SPELLING_WORTH = 0.9, 0.7
_NEAR = 0.5
"""Share of trigrams from which two words count as spellings of one."""
_LONGEST_FORM = 4
_FROM_TERMS = 0.8
"""What a word of an inclusion term counts against one of the title."""


class Word(NamedTuple):
    """A word of a text: where it stands, and what it may stand for, itself first."""

    start: int
    end: int
    meanings: tuple[str, ...]


class Lexicon:
    """What the code set says in words."""

    def __init__(self, codes: CodeSet, tabular: Tabular):
        self._codes, self._tabular = codes, tabular

    def read_words(self, text: str, spans: Iterable[tuple[int, int]]) -> list[Word]:
        """Return the words of a text inside `spans`, in order."""
        found = []
        for start, end in spans:
            places = [match.span() for match in _WORD.finditer(text, start, end)]
            plain = [" ".join(split_words(text[slice(*place)])) for place in places]
            extra = self._find_meanings(plain)
            for place, word, more in zip(places, plain, extra, strict=True):
                found.append(Word(*place, (word, *more)))
        return found

    def weigh_words(self, code: str, words: Iterable[str]) -> dict[str, float]:
        """Return what each of `words` has in common with `code`; those that have nothing are left out."""
        profile, by_trigram = self._index_profile(code)
        weights = {}
        for word in set(words):
            # words without a trigram in common have nothing in common, and most have none
            near = {other for trigram in by_trigram.keys() & _cut_trigrams(word) for other in by_trigram[trigram]}
            worth = max((profile[other] * _compare(word, other) for other in near), default=0.0)
            if worth > 0:
                weights[word] = worth
        return weights

    @functools.cached_property
    def _meanings(self) -> Meanings:
        return arrange_meanings(read_short_forms(), read_synonyms())

    @functools.cached_property
    def _counts(self) -> tuple[int, Mapping[str, int]]:
        titles = [heading.title for heading in self._codes.headings.values()]
        return len(titles), Counter(" ".join(titles).lower().split())

    @functools.lru_cache(maxsize=4096)  # noqa: B019  one for the life of the process
    def _index_profile(self, code: str) -> tuple[Mapping[str, float], Mapping[str, Sequence[str]]]:
        """Return the profile of a code, and each trigram of it to the words that hold it."""
        profile = self._build_profile(code)
        by_trigram: dict[str, list[str]] = {}
        for word in profile:
            for trigram in _cut_trigrams(word):
                by_trigram.setdefault(trigram, []).append(word)
        return profile, by_trigram

    def _build_profile(self, code: str) -> Mapping[str, float]:
        """Return the words of the title and of the inclusion terms of a code and what is above it, with their weights."""
        profile: dict[str, float] = {}
        for worth, text in self._list_texts(code):
            roles = split_roles(text)
            for share, words in ((1.0, roles.core), (1.0, roles.either), (0.2, roles.neutral)):
                for word in words:
                    profile[word] = max(profile.get(word, 0.0), worth * share * self._weigh(word))
        return profile

    def _list_texts(self, code: str) -> Iterator[tuple[float, str]]:
        yield 1.0, self._codes.title(code)
        for node in self._tabular.ancestors(code):
            if node == code or node == code[: len(node)]:
                for kind in TERM_KINDS:
                    yield from ((_FROM_TERMS, note.text) for note in self._tabular.notes(node, kind))

    def _weigh(self, word: str) -> float:
        n, counts = self._counts
        return math.log(1 + n / (1 + counts.get(word, 0)))

    def _find_meanings(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """Return for each word what it stands for, alone or with those beside it."""
        extra: list[dict[str, None]] = [{} for _ in words]
        for at in range(len(words)):
            for size in range(1, min(_LONGEST_FORM, len(words) - at) + 1):
                key = tuple(part for word in words[at : at + size] for part in word.split())
                for meant in self._meanings.get(key, ()):
                    for place in range(at, at + size):
                        extra[place].update(dict.fromkeys(meant))
        return [tuple(found) for found in extra]


def score_span(telling: Iterable[Word], weights: Mapping[str, float], n_other: int) -> float:
    """Return how like a code a span is: weights of what its words mean, each meaning once, less a little for others.

    Args:
        telling: its words of which a meaning has a weight.
        weights: of meanings.
        n_other: how many words it has besides.
    """
    seen = {meaning for word in telling for meaning in word.meanings}
    return sum(weights.get(meaning, 0.0) for meaning in seen) - 0.5 * n_other


@functools.lru_cache(maxsize=65536)
def _compare(one: str, other: str) -> float:
    """Return 0 to 1: whether two words are the same, of one stem, or spellings of one."""
    if one == other:
        return 1.0
    if min(len(one), len(other)) < _SHORT or one.isdigit() or other.isdigit():
        return 0.0
    if one[:_STEM] == other[:_STEM] and min(len(one), len(other)) >= _STEM:
        return _STEM_WORTH
    mine, theirs = _cut_trigrams(one), _cut_trigrams(other)
    alike = 2 * len(mine & theirs) / (len(mine) + len(theirs))
    return _SPELLING_WORTH * alike if alike >= _NEAR else 0.0


@functools.lru_cache(maxsize=65536)
def _cut_trigrams(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))
