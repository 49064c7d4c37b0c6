"""Which words a misspelled one may be: the known spellings within a few edits of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from icd10cm.search.words import find_root

_WORTH = (1.0, 0.85, 0.7, 0.55)
"""What a correction of no, one, two or three edits is worth."""
_OTHER_START, _BY_ROOT = 0.95, 0.95
"""Misspellings seldom begin with a wrong letter; a word nearer by its root may be another word of that root."""
_MOST, _CLOSE = 6, 0.2
"""The most corrections of a word, none of them this much less likely than the best."""
_LONGEST = 40
_SHORTEST_ALIAS, _ALIAS_COUNT = 5, 50
_SHORTEST_ROOT = 6
_RARE, _MUCH_MORE_FREQUENT, _RARE_WORTH = 10, 30, 0.5
"""A known word of so few texts may be a slip of one in so many times as many."""


class Speller:
    """Known spellings: the words of the vocabulary, their roots, and words that only stand for others."""

    def __init__(self, counts: Mapping[str, int], aliases: Iterable[str] = ()):
        """Arrange spellings by length.

        Args:
            counts: word to the number of texts that hold it.
            aliases: words that stand for others, such as synonyms; short ones are left out.
        """
        self._counts = counts
        spellings: dict[str, dict[str, None]] = {}
        for word in (*counts, *(alias for alias in aliases if len(alias) >= _SHORTEST_ALIAS)):
            spellings.setdefault(word, {})[word] = None
            root = find_root(word)
            if len(root) >= _SHORTEST_ROOT:
                spellings.setdefault(root, {})[word] = None
        self._spellings = {spelling: tuple(words) for spelling, words in spellings.items()}
        self._near_length: dict[tuple[int, int], list[str]] = {}
        self._by_length: dict[int, list[str]] = {}
        for spelling in self._spellings:
            self._by_length.setdefault(len(spelling), []).append(spelling)

    def correct(self, word: str) -> list[tuple[str, float]]:
        """Return the words that a misspelled one may be, each with how likely, best first; none for a known word.

        An edit adds, drops or changes a letter, or swaps two neighbours. A known but rare word has only corrections far
        more frequent than itself.
        """
        if word not in self._counts:
            return self._find_near(word, _count_allowed_edits(word))
        if self._counts[word] > _RARE or len(word) < 4:
            return []
        enough = self._counts[word] * _MUCH_MORE_FREQUENT
        return [(near, _RARE_WORTH) for near, _ in self._find_near(word, 1) if self._counts.get(near, 0) >= enough]

    def _find_near(self, word: str, edits: int) -> list[tuple[str, float]]:
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        if not edits or len(word) > _LONGEST:
            return []
        found: dict[str, float] = {}
        spellings = self._list_spellings(len(word), edits)
        for spelling, distance, _ in process.extract(word, spellings, scorer=OSA.distance, score_cutoff=edits, limit=64):
            worth = _WORTH[int(distance)] * (1.0 if spelling[0] == word[0] else _OTHER_START)
            for target in self._spellings[spelling]:
                if target != word:
                    found[target] = max(found.get(target, 0.0), worth if target == spelling else worth * _BY_ROOT)
        ranked = sorted(found.items(), key=lambda pair: (-pair[1], -self._counts.get(pair[0], _ALIAS_COUNT), pair[0]))
        return [pair for pair in ranked if pair[1] >= ranked[0][1] - _CLOSE][:_MOST]

    def _list_spellings(self, length: int, edits: int) -> list[str]:
        """Return the spellings that differ from a word of `length` by no more letters than `edits`."""
        key = (length, edits)
        if key not in self._near_length:
            lengths = range(length - edits, length + edits + 1)
            self._near_length[key] = [spelling for size in lengths for spelling in self._by_length.get(size, ())]
        return self._near_length[key]


def _count_allowed_edits(word: str) -> int:
    return 0 if len(word) < 3 else 1 if len(word) < 5 else 2 if len(word) < 12 else 3
