"""How well an entry answers a query: what both say, against what only one of them says."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from icd10cm.search.query import Query

_MISSED, _ADDED = 1.0, 0.35
"""What a word of the query that the entry lacks takes away, and a word of the entry that the query lacks."""
_SHARES = (1.0, 0.4, 0.2, 0.1)
"""What the entry's core, joined, negated and neutral words count among those it adds."""
_NEGATED = 2
_NEGATIONS = frozenset(("without", "not", "no", "non", "absence", "free"))
_BY_TITLE, _TITLE_SHARE, _DEFAULT_TITLE_SHARE = 0.97, 0.5, 0.1
"""What a match in the title of a term's code is worth, and what the title's other words count then.

They count less for a term with `NOS`: unless more is said, its code is meant (Official Guidelines, I.A.6.b).
"""
_CONTEXT = frozenset((
    "adverse", "childbirth", "congenital", "encounter", "examination", "familial", "family", "hereditary", "history",
    "intraoperative", "maternal", "multiple", "neonatal", "newborn", "observation", "other", "poisoning",
    "postprocedural", "pregnancy", "puerperium", "screening", "secondary", "sequela", "subsequent", "underdosing",
))  # fmt: skip
_ELSEWHERE, _MANIFESTATION = "elsewhere", 0.9
_SAME = 0.94
"""A better match is the same word."""
_CONTEXT_WEIGHT = 10.0
"""Frequent as they are, words that change what a title is about count much where nobody asked for them."""


class Ranking:
    """A query made ready to be compared with many entries."""

    def __init__(self, query: Query, weights: Mapping[str, float]):
        """Turn the groups round: word to the groups it answers.

        Args:
            query: what was asked.
            weights: word to what it tells.
        """
        self._weights = weights
        self._query = query
        self._stretch_of = {
            number: stretch
            for stretch, readings in enumerate(query.stretches)
            for reading in readings
            for number in reading.groups
        }
        self._answers: dict[str, list[tuple[int, float]]] = {}
        for number, group in enumerate(query.groups):
            for word, worth in group.words.items():
                self._answers.setdefault(word, []).append((number, worth))
        self._plain: list[tuple[int, float]] = []
        self._ambiguous: list[list[tuple[float, float, list[tuple[int, float]]]]] = []
        for readings in query.stretches:
            weighed = [[(number, query.groups[number].weight) for number in reading.groups] for reading in readings]
            if len(readings) == 1:
                self._plain += weighed[0]
            else:
                totals = [sum(weight for _, weight in groups) for groups in weighed]
                likely = [reading.weight for reading in readings]
                self._ambiguous.append(list(zip(likely, totals, weighed, strict=True)))
        self._plain_total = sum(weight for _, weight in self._plain)
        self._may_negate = any(word in _NEGATIONS for word in self._answers)

    def score(self, parts: Sequence[Sequence[str]], title: Sequence[Sequence[str]] = ()) -> float:
        """Return 0 to 1: the weight both share, over that plus what is missed and what is added (Tversky's index).

        What an entry says to be absent doesn't answer a query without a negation, and counts as added in full.

        A manifestation code, which is never the first diagnosis (Official Guidelines, I.A.13), counts a little less.

        Args:
            parts: the entry's core, joined, negated and neutral words.
            title: those of its code's title, where the entry is another text; what the text lacks the title may answer.
        """
        worths = [0.0] * len(self._query.groups)
        answers, weights = self._answers, self._weights
        added = 0.0
        for part, words in enumerate(parts):
            share = _SHARES[part]
            for word in words:
                answered = answers.get(word)
                if answered is None:
                    weight = weights.get(word, 0.0)
                    added += share * (weight if word not in _CONTEXT else max(weight, _CONTEXT_WEIGHT))
                elif part == _NEGATED and not self._may_negate:
                    added += weights[word] * (1.0 if any(worth > _SAME for _, worth in answered) else share)
                else:
                    best = 0.0
                    for number, worth in answered:
                        if worth > worths[number]:
                            worths[number] = worth
                        if worth > best:
                            best = worth
                    added += share * (1 - best) * weights[word]
        alone = self._weigh(worths, added)
        if not title:
            return alone * self._discount(parts)
        by_default = "nos" in parts[-1]
        for part, words in enumerate(title):
            share = _SHARES[part] * (_DEFAULT_TITLE_SHARE if by_default else _TITLE_SHARE)
            for word in words:
                answered = answers.get(word)
                if answered is None:
                    added += share * weights.get(word, 0.0)
                elif part != _NEGATED or self._may_negate:
                    for number, worth in answered:
                        worths[number] = max(worths[number], worth * _BY_TITLE)
        return max(alone, self._weigh(worths, added)) * self._discount(title)

    def _discount(self, title: Sequence[Sequence[str]]) -> float:
        return 1.0 if _ELSEWHERE in self._answers or _ELSEWHERE not in title[0] else _MANIFESTATION

    def _weigh(self, worths: Sequence[float], added: float) -> float:
        shared = 0.0
        for number, weight in self._plain:
            shared += weight * worths[number]
        total = self._plain_total
        for readings in self._ambiguous:
            got = of = share = -1.0
            for likely, weights, groups in readings:
                found = likely * sum([weight * worths[number] for number, weight in groups])
                if (found / weights, found) > (share, got):
                    share, got, of = found / weights, found, weights
            shared += got
            total += of
        return shared / (shared + _MISSED * (total - shared) + _ADDED * added) if shared else 0.0

    def compare_order(self, words: Sequence[str]) -> float:
        """Return the share of neighbouring stretches of the query that are neighbours in the words of a text, too, 0 to 1."""
        if len(self._query.stretches) < 2:
            return 1.0
        places = [{self._stretch_of[number] for number, _ in self._answers.get(word, ())} for word in words]
        pairs = {stretch for here, after in itertools.pairwise(places) for stretch in here if stretch + 1 in after}
        return len(pairs) / (len(self._query.stretches) - 1)
