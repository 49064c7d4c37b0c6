"""Where in a text a code comes from: pieces that say something like it, and of these the one the model itself would code so.

Likeness of words makes a short list (`serving.coding.likeness`). Then the model is asked about each piece alone: how probable
are the tokens of this code as the answer to it? That is support, and it is not the confidence of the code in the whole text.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from serving.coding.answering import WrittenCode
from serving.coding.assertion import Scope, find_scopes, judge_span
from serving.coding.clauses import Span as Place
from serving.coding.clauses import list_candidates
from serving.coding.likeness import Lexicon, Word, score_span
from serving.coding.models import Span

MOST_CANDIDATES = 4
"""Pieces that the model is asked about, for each code."""
MOST_SPANS = 2
_FEW = 6
"""Pieces of a text so short that the model is asked about all of them where no word helps."""
LEAST_SUPPORT = 0.2
"""Support below which a piece is no evidence: most of a code's tokens are probable after its first ones, whatever was read."""
_NEAR_BEST, _SECOND = 0.9, 0.5
"""Share of the best support from which a shorter piece of it is preferred, and from which another one is kept, too."""


class Candidate(NamedTuple):
    """A piece of the text that a code may come from.

    Attributes:
        place: in the text.
        likeness: of its words to what the code says.
        telling: its words that the code says, too.
    """

    place: Place
    likeness: float
    telling: tuple[Place, ...]


class Reading:
    """A text read once for all its codes."""

    def __init__(self, text: str, lexicon: Lexicon):
        self.text = text
        self._lexicon = lexicon
        self._pieces: dict[Place, list[tuple[Place, list[Word]]]] = {}

    @functools.cached_property
    def scopes(self) -> list[Scope]:
        """Where the text speaks of something absent, past, possible or of a relative."""
        return find_scopes(self.text)

    def shortlist(self, written: WrittenCode, most: int = MOST_CANDIDATES) -> list[Candidate]:
        """Return the pieces most like a code, best first; the clauses of a short text where none has a word of it."""
        pieces = [piece for span in written.spans for piece in self._list_pieces(span)]
        weights = self._lexicon.weigh_words(
            written.code, (meaning for _, words in pieces for word in words for meaning in word.meanings)
        )
        found = {}
        # pieces overlap, so what a word tells is found once
        tells = {word for _, words in pieces for word in words if not weights.keys().isdisjoint(word.meanings)}
        for place, words in pieces:
            telling = [word for word in words if word in tells]
            if telling:
                likeness = score_span(telling, weights, len(words) - len(telling))
                found[place] = Candidate(place, likeness, tuple((word.start, word.end) for word in telling))
        if not found and len(pieces) <= _FEW:
            found = {place: Candidate(place, 0.0, ()) for place, _ in pieces}
        return sorted(found.values(), key=lambda one: (-one.likeness, one.place[1] - one.place[0], one.place))[:most]

    def is_alone(self, written: WrittenCode, candidates: Sequence[Candidate]) -> bool:
        """Whether a code was written for a part of the text that is one piece."""
        return len(candidates) == 1 and sum(len(self._list_pieces(span)) for span in written.spans) == 1

    def choose(
        self, candidates: Sequence[Candidate], supports: Mapping[str, float | None], least: float = LEAST_SUPPORT
    ) -> tuple[Span, ...]:
        """Return the best one or two pieces with how the text speaks of them.

        Args:
            candidates: of one code, best first.
            supports: text of a piece to its support; those that were not asked about are missing.
            least: support below which a piece is no evidence.
        """
        known = [one for one in candidates if self._find_support(one, supports) is not None]
        asked = [one for one in known if (self._find_support(one, supports) or 0.0) >= least]
        if known and not asked:
            return ()
        if not asked:
            return tuple(self._build(one, None) for one in candidates[:1] if one.telling)
        ranked = sorted(asked, key=lambda one: -(self._find_support(one, supports) or 0.0))
        best = self._tighten(ranked[0], ranked, supports)
        second = _SECOND * (self._find_support(best, supports) or 0.0)
        others = [
            one
            for one in ranked
            if not _overlap(one.place, best.place) and one.telling and (self._find_support(one, supports) or 0.0) >= second
        ]
        return tuple(self._build(one, self._find_support(one, supports)) for one in [best, *others][:MOST_SPANS])

    def read(self, candidate: Candidate) -> str:
        """Return the text of a candidate."""
        return self.text[slice(*candidate.place)]

    def _list_pieces(self, span: Place) -> list[tuple[Place, list[Word]]]:
        if span not in self._pieces:
            words = self._lexicon.read_words(self.text, [span])
            starts, ends = [word.start for word in words], [word.end for word in words]
            self._pieces[span] = [
                (place, words[bisect.bisect_left(starts, place[0]) : bisect.bisect_right(ends, place[1])])
                for place in list_candidates(self.text, span)
            ]
        return self._pieces[span]

    def _tighten(self, best: Candidate, ranked: Sequence[Candidate], supports: Mapping[str, float | None]) -> Candidate:
        """Return the shortest piece within the best one whose support is nearly as high."""
        least = _NEAR_BEST * (self._find_support(best, supports) or 0.0)
        inside = [
            one
            for one in ranked
            if best.place[0] <= one.place[0]
            and one.place[1] <= best.place[1]
            and (self._find_support(one, supports) or 0.0) >= least
        ]
        return min(inside, key=lambda one: one.place[1] - one.place[0], default=best)

    def _find_support(self, candidate: Candidate, supports: Mapping[str, float | None]) -> float | None:
        return supports.get(self.read(candidate))

    def _build(self, candidate: Candidate, support: float | None) -> Span:
        start, end = candidate.place
        said = judge_span(self.scopes, self.text, start, end, candidate.telling)
        return Span(
            start=start,
            end=end,
            text=self.text[start:end],
            support=support,
            assertion=said.assertion,
            trigger=said.trigger or None,
        )


def _overlap(one: Place, other: Place) -> bool:
    return one[0] < other[1] and other[0] < one[1]
