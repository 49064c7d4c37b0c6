"""What a person typed, read in every way it may be meant: words, their misspellings, and the short forms spelled out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from icd10cm.search.entries import split_words
from icd10cm.search.spelling import Speller
from icd10cm.search.words import Vocabulary

LONGEST_QUERY = 400
"""Characters of a query that are read; the longest title has 228."""
_MOST_WORDS = 40
_MOST_READINGS = 8
_COMMON = 20
"""A short form that is also a word of this many texts (`AS`, `all`) is only meant when written in capitals."""
_SPELLED_OUT, _SYNONYM, _JOINED, _CUT = 0.98, 0.95, 0.9, 0.9
_LONG = 7
_TOKEN = re.compile(r"[A-Za-z0-9]+")


class _Word(NamedTuple):
    """A word as typed, whether it is the last, and what it may be a misspelling of."""

    text: str
    last: bool
    corrections: tuple[tuple[str, float], ...]


class Group(NamedTuple):
    """One word of the query.

    Attributes:
        words: the words of the vocabulary it may mean, each with how well it matches.
        weight: what it tells.
    """

    words: dict[str, float]
    weight: float


class Reading(NamedTuple):
    """One way to read a stretch of the query: numbers of groups, all of which are meant, and how likely it is."""

    groups: tuple[int, ...]
    weight: float


class Query(NamedTuple):
    """A query.

    Attributes:
        groups: its words, those of spelled-out short forms included.
        stretches: from left to right the stretches of the text, each with one or more readings.
    """

    groups: list[Group]
    stretches: list[list[Reading]]


Meanings = Mapping[tuple[str, ...], Mapping[tuple[str, ...], float]]
"""Words of a short form or synonym to the words it stands for, each with how likely it is."""


def arrange_meanings(
    short_forms: Iterable[tuple[str, str]], synonyms: Iterable[tuple[str, str]] = (), compounds: Iterable[str] = ()
) -> Meanings:
    """Return pairs of a text and what it stands for by the words of the text.

    Compounds such as `pre-eclampsia` are what their parts stand for when written as one word.
    """
    arranged: dict[tuple[str, ...], dict[tuple[str, ...], float]] = {}
    joined = [(compound.replace("-", ""), compound) for compound in compounds]
    for pairs, likely in ((short_forms, _SPELLED_OUT), (synonyms, _SYNONYM), (joined, _SPELLED_OUT)):
        for said, meant in pairs:
            key, words = tuple(split_words(said)), tuple(split_words(meant))
            if key and words and key != words:
                arranged.setdefault(key, {}).setdefault(words, likely)
    return arranged


class Reader:
    """Reads queries with the words of a vocabulary and what other words stand for."""

    def __init__(self, vocabulary: Vocabulary, meanings: Meanings):
        self._vocabulary = vocabulary
        self._meanings = meanings
        self._longest = max(map(len, meanings), default=1)
        self._aliases = {key[0] for key in meanings if len(key) == 1}
        self._speller = Speller(vocabulary.counts, sorted({word for key in meanings for word in key}))

    def read(self, text: str) -> Query:
        """Read a query; without a word it has no stretches."""
        text = text[:LONGEST_QUERY]
        words = split_words(text)[:_MOST_WORDS]
        capitals = {token.lower() for token in _TOKEN.findall(text) if token.isupper()}
        corrections = [() if word in self._aliases else tuple(self._speller.correct(word)) for word in words]
        spelled = [self._choose_spelling(word, near) for word, near in zip(words, corrections, strict=True)]
        query = Query([], [])
        at = 0
        while at < len(words):
            for end in range(min(len(words), at + self._longest), at, -1):
                meant = self._look_up(words[at:end]) or self._look_up(spelled[at:end])
                if meant and (end > at + 1 or self._is_meant(words[at], meant, capitals)):
                    break
            else:
                end, meant = at + 1, {}
            stretch = [_Word(words[i], i == len(words) - 1, corrections[i]) for i in range(at, end)]
            query.stretches.append(self._read_stretch(query, stretch, meant))
            at = end
        return query

    def _choose_spelling(self, word: str, corrections: tuple[tuple[str, float], ...]) -> str:
        """Return what a word is taken for where phrases are looked up: the best correction of one that is no beginning."""
        sure = corrections and word not in self._vocabulary and not self._vocabulary.complete(word)
        return corrections[0][0] if sure else word

    def _look_up(self, words: list[str]) -> Mapping[tuple[str, ...], float]:
        """Return what words stand for, `kidney stones` as well as `kidney stone`, and two that are one: `hyper tension`."""
        found = self._meanings.get(tuple(words))
        if found is None and len(words[-1]) > 3 and words[-1].endswith("s"):
            found = self._meanings.get((*words[:-1], words[-1][:-1]))
        if found is None and len(words) == 2 and len(joined := "".join(words)) > _LONG and joined in self._vocabulary:
            return {(joined,): _JOINED}
        return found or {}

    def _is_meant(self, word: str, meant: Mapping[tuple[str, ...], float], capitals: set[str]) -> bool:
        is_synonym = all(likely == _SYNONYM for likely in meant.values())
        return is_synonym or word in capitals or self._vocabulary.counts.get(word, 0) < _COMMON

    def _read_stretch(self, query: Query, words: list[_Word], meant: Mapping[tuple[str, ...], float]) -> list[Reading]:
        """Return the readings of a stretch: what it stands for, its words as they are, an unknown word cut in two."""
        sure = min(
            (word.corrections[0][1] for word in words if word.corrections and word.text not in self._vocabulary), default=1.0
        )
        readings = [
            self._add_reading(query, [_Word(word, False, ()) for word in other], likely * sure)
            for other, likely in list(meant.items())[:_MOST_READINGS]
        ]
        if not meant or any(word.text in self._vocabulary or word.last or word.corrections for word in words):
            readings.append(self._add_reading(query, words, 1.0))
        if not meant and words[0].text not in self._vocabulary:
            for cut in self._vocabulary.cut(words[0].text):
                readings.append(self._add_reading(query, [_Word(part, words[0].last, ()) for part in cut], _CUT))
        return readings

    def _add_reading(self, query: Query, words: Iterable[_Word], likely: float) -> Reading:
        numbers = []
        for word in words:
            meant = self._vocabulary.expand(word.text, word.last, word.corrections)
            numbers.append(len(query.groups))
            query.groups.append(Group(meant, _weigh(meant, self._vocabulary)))
        return Reading(tuple(numbers), likely)


def _weigh(meant: dict[str, float], vocabulary: Vocabulary) -> float:
    """Return what the best of the words tells; the least of those equally good."""
    if not meant:
        return vocabulary.unknown_weight
    best = max(meant.values())
    return min(vocabulary.weights[word] for word, worth in meant.items() if worth == best)
