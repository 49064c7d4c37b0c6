"""The words a search knows, and which of them a typed word may mean: itself, its kin, its completions."""

from __future__ import annotations

import bisect
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tantivy

_ROMAN = {"1": "i", "2": "ii", "3": "iii", "4": "iv", "5": "v"}
_NUMERALS = _ROMAN | {roman: number for number, roman in _ROMAN.items()}

_PLURAL, _KIN, _DERIVED, _NUMERAL = 0.98, 0.9, 0.85, 0.95
"""What a match in number, by stem, by Latin root or of a Roman numeral is worth."""
_COMPLETION, _UNFINISHED = 0.9, 0.5
"""What a completion is worth at best: of an unknown word, and of one that is itself a word."""
_SIDES, _SIDE_WEIGHT = ("left", "right", "bilateral"), 4.0
"""Frequent as they are, sides tell codes apart."""
_MOST_COMPLETIONS = 40
_ENDINGS = frozenset((
    "a", "ae", "al", "ar", "ary", "as", "atic", "e", "ea", "eal", "es", "ia", "iac", "ial", "ic", "ical", "ine", "is",
    "ism", "istic", "ous", "sis", "tic", "um", "us", "y",
))  # fmt: skip


class Vocabulary:
    """Words with the number of texts that hold them.

    Attributes:
        weights: word to what it tells: the logarithm of the texts over those that hold it.
    """

    def __init__(self, counts: Mapping[str, int], stems: Mapping[str, str], n_texts: int):
        """Prepare words for look-up.

        Args:
            counts: word to the number of texts that hold it.
            stems: word to its stem.
            n_texts: number of texts.
        """
        self.counts = counts
        self.weights = {word: math.log(1 + n_texts / count) for word, count in counts.items()}
        self.weights |= {side: max(self.weights[side], _SIDE_WEIGHT) for side in _SIDES if side in counts}
        self.unknown_weight = math.log(1 + n_texts / 50)
        self._stems = stems
        self._sorted = sorted(counts)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for word, stem in self._stems.items():
            by_stem.setdefault(stem, []).append(word)
        return by_stem

    @functools.cached_property
    def _by_root(self) -> dict[str, list[str]]:
        by_root: dict[str, list[str]] = {}
        for word in self._sorted:
            by_root.setdefault(find_root(word), []).append(word)
        return by_root

    def __contains__(self, word: object) -> bool:
        return word in self.counts

    def expand(self, word: str, unfinished: bool = True, corrections: Iterable[tuple[str, float]] = ()) -> dict[str, float]:
        """Return the words that `word` may mean, each with how well it matches, 0 to 1.

        Args:
            word: lower case.
            unfinished: whether it may be the beginning of a word although it is itself known.
            corrections: the words it may be a misspelling of, each with how likely.
        """
        known = word in self.counts
        found = self.find_kin(word)
        if word.isdigit():
            return found
        if unfinished or not found:
            worth = _UNFINISHED if known else _COMPLETION
            for longer in self.complete(word):
                found.setdefault(longer, worth * (0.75 + 0.25 * len(word) / len(longer)))
        for near, likely in corrections:
            for kin, worth in self.find_kin(near).items():
                found[kin] = max(found.get(kin, 0.0), likely * worth)
        return found

    def find_kin(self, word: str) -> dict[str, float]:
        """Return the word itself and those of the same stem or root, as numerals of both kinds, with how well each matches."""
        found = {word: 1.0} if word in self.counts else {}
        if word in _NUMERALS and _NUMERALS[word] in self.counts:
            found.setdefault(_NUMERALS[word], _NUMERAL)
        stem = self._stems.get(word) or stem_word(word)
        for kin in self._by_stem.get(stem, ()):
            found.setdefault(kin, _PLURAL if kin.rstrip("s") == word.rstrip("s") else _KIN)
        for derived in self._by_root.get(find_root(word), ()):
            found.setdefault(derived, _DERIVED)
        return found

    def complete(self, start: str) -> list[str]:
        """Return the most frequent longer words that begin with `start`, at least two letters."""
        if len(start) < 2:
            return []
        low, high = bisect.bisect_right(self._sorted, start), bisect.bisect_left(self._sorted, start + "{")
        words = self._sorted[low:high]
        return words if len(words) <= _MOST_COMPLETIONS else sorted(words, key=self._rank)[:_MOST_COMPLETIONS]

    def cut(self, word: str) -> list[tuple[str, ...]]:
        """Return the ways to read an unknown word as several known ones: `footulcer`, `type2`."""
        parts = tuple(re.findall(r"[a-z]+|[0-9]+[a-z]?(?![a-z])|[0-9]+", word))
        if len(parts) > 1:
            return [parts]
        pairs: list[tuple[str, ...]] = [(word[:at], word[at:]) for at in range(3, len(word) - 2)]
        known = [pair for pair in pairs if pair[0] in self.counts and pair[1] in self.counts]
        return sorted(known, key=lambda pair: -min(map(len, pair)))[:2]

    def _rank(self, word: str) -> tuple[int, str]:
        return -self.counts[word], word


def find_root(word: str) -> str:
    """Return a word without its Latin or Greek ending: `pancreas` and `pancreatic`, `urine` and `urinary` have the same.

    English stemmers know few of these endings. At least four letters stay, three where the ending is long.
    """
    for size in range(5, 0, -1):
        if word[-size:] in _ENDINGS and len(word) - size >= (3 if size > 2 else 4):
            return word[:-size]
    return word


def stem_words(words: Sequence[str]) -> dict[str, str]:
    """Return the stem of each word, by Snowball's English stemmer: `diabetic` and `diabetes` have the same."""
    analyzer = _build_stemmer()
    return {word: (analyzer.analyze(word) or [word])[0] for word in words}


def stem_word(word: str) -> str:
    """Return the stem of a word."""
    return stem_words([word])[word]


@functools.cache
def _build_stemmer() -> tantivy.TextAnalyzer:
    import tantivy

    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).filter(tantivy.Filter.stemmer("English")).build()
