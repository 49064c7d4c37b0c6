"""The second floor: the first hit of the search for codes (`icdtune search`). No training, but words that titles lack.

It knows short forms, synonyms and inclusion terms, so it shows what a look-up in the books is worth, where
`eval.floors.titles` shows what the letters of the titles are worth. Texts taken from inclusion terms are no test for it: it
holds them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from eval.floors.notes import answer_condition, answer_note
from icd10cm.codeset import CodeSet
from icd10cm.search import SearchIndex
from serving.engines.base import Generation

NOTE_THRESHOLD = 0.8
"""Score from which a hit for a phrase of a note counts: the best of 0.10, 0.15 … 0.95 by micro-F1 on CodiEsp train."""


class SearchFloor:
    """Answers with the first hit for a text, of notes for each sentence or phrase.

    The score of a code is that of its hit, from 0 to 1.
    """

    name = "search"

    def __init__(
        self,
        codes: CodeSet,
        candidates: Sequence[str] | None = None,
        progress: bool = True,
        *,
        n_ranked: int = 0,
        threshold: float | None = None,
    ):
        """Open or make the index.

        Args:
            codes: the release that has the titles.
            candidates: dotted codes to choose from; every billable code when None.
            progress: whether to show a bar on stderr.
            n_ranked: how many hits to rank for each text; 0 for none.
            threshold: score from which a hit for a phrase of a note counts; `NOTE_THRESHOLD` when None.
        """
        self._index = SearchIndex.load(codes if candidates is None else _keep(codes, candidates))
        self._progress, self._n_ranked = progress, n_ranked
        self._threshold = NOTE_THRESHOLD if threshold is None else threshold

    def generate(self, texts: Sequence[str], notes: Sequence[bool] = ()) -> list[Generation]:
        """Return for each text its first hit; an empty answer where nothing is found.

        Args:
            texts: clinical texts.
            notes: which of them are notes; none when empty.
        """
        from tqdm import tqdm

        find = functools.cache(self._find)
        answers = []
        pairs = zip(texts, notes or [False] * len(texts), strict=True)
        for text, note in tqdm(pairs, total=len(texts), desc="search", unit="text", leave=False, disable=not self._progress):
            if note:
                answers.append(answer_note(text, find, self._threshold, self._n_ranked))
            else:
                answers.append(answer_condition(find(text), self._n_ranked))
        return answers

    def _find(self, piece: str) -> list[tuple[str, float]]:
        return [(hit.code, hit.score) for hit in self._index.search(piece, limit=max(1, self._n_ranked))]


def _keep(codes: CodeSet, candidates: Sequence[str]) -> CodeSet:
    """Return a code set of some billable codes and what is above them."""
    kept: dict[str, None] = {}
    for code in candidates:
        above: str | None = code if codes.is_billable(code) else None
        while above is not None and above not in kept:
            kept[above] = None
            above = codes.parent(above)
    headings = {code: heading for code, heading in codes.headings.items() if code in kept}
    return CodeSet(codes.release, headings, f"{len(candidates)} codes of {codes.source}")
