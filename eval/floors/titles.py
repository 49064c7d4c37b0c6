"""The floor: the nearest title by TF-IDF over character 3-5-grams. No training at all; a model earns its place above it.

>>> floor = Floor(CodeSet.load())
>>> floor.generate(["Type 2 diabetes melitus with foot ulcer"])[0].code_scores
(('E11.621', 0.904),)

Measured over all 74,719 titles of release 2026, exact first hit: 99.7 % of 1,000 titles with attested misspellings, 92.1 % of
114 pure reorderings, 78.5 % of 1,000 titles with short forms, 18 % of 2,036 true paraphrases; 10 s to fit and 3 s per 1,000
texts on one core, 0.7 GB. n-grams that cross word boundaries (`char`) beat those that don't (`char_wb`): 99.7 against 95.3 %
and 78.5 against 69.9 %; on the reorderings one text of 114 the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.floors.notes import answer_condition, answer_note, list_pieces
from icd10cm.codeset import CodeSet
from serving.engines.base import Generation

_BATCH = 256
"""Texts compared at a time: 256 x 74,719 similarities are 76 MB."""
NOTE_THRESHOLD = 0.55
"""Cosine from which a phrase of a note counts: the best of 0.10, 0.15 … 0.95 by micro-F1 on CodiEsp train."""


class Floor:
    """Answers with the code of the nearest title.

    A text is one condition: of "gout and asthma" it finds one code. `eval.predict` cuts lists for it as for models. Notes
    are read by sentence and phrase (`eval.floors.notes`). The score of a code is the cosine of the text and its title.
    """

    name = "floor"

    def __init__(
        self,
        codes: CodeSet,
        candidates: Sequence[str] | None = None,
        progress: bool = True,
        *,
        n_ranked: int = 0,
        threshold: float | None = None,
    ):
        """Fit the n-grams of the titles.

        Args:
            codes: the release that has the titles.
            candidates: dotted codes to choose from; every billable code when None.
            progress: whether to show a bar on stderr.
            n_ranked: how many of the nearest titles to rank for each text; 0 for none.
            threshold: cosine from which a phrase of a note counts; `NOTE_THRESHOLD` when None.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from tqdm import tqdm

        self._codes = tuple(codes.codes if candidates is None else candidates)
        self._progress, self._n_ranked = progress, n_ranked
        self._threshold = NOTE_THRESHOLD if threshold is None else threshold
        self._vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)
        titles = tqdm([codes.title(code) for code in self._codes], desc="titles", unit="title", disable=not progress)
        self._titles: Any = self._vectorizer.fit_transform(titles).T.tocsr()

    def generate(self, texts: Sequence[str], notes: Sequence[bool] = ()) -> list[Generation]:
        """Return for each text the codes of the nearest titles; an empty answer where no title shares an n-gram with it.

        Args:
            texts: clinical texts.
            notes: which of them are notes; none when empty.
        """
        are_notes = notes or [False] * len(texts)
        pieces = [list_pieces(t) if note else [t] for t, note in zip(texts, are_notes, strict=True)]
        nearest = self._find_nearest(list(dict.fromkeys(piece for several in pieces for piece in several)))
        return [
            answer_note(text, nearest.__getitem__, self._threshold, self._n_ranked)
            if note
            else answer_condition(nearest[text], self._n_ranked)
            for text, note in zip(texts, are_notes, strict=True)
        ]

    def _find_nearest(self, pieces: Sequence[str]) -> dict[str, list[tuple[str, float]]]:
        """Return for each piece the nearest titles with their cosines, nearest first; of equals the first of the release."""
        from tqdm import tqdm

        found: dict[str, list[tuple[str, float]]] = {}
        starts = range(0, len(pieces), _BATCH)
        for start in tqdm(starts, desc="floor", unit="batch", leave=False, disable=not self._progress or len(starts) < 2):
            batch = pieces[start : start + _BATCH]
            similar = (self._vectorizer.transform(batch) @ self._titles).toarray()
            for piece, cosines in zip(batch, similar, strict=True):
                found[piece] = [(self._codes[i], float(cosines[i])) for i in self._choose(cosines) if cosines[i] > 0]
        return found

    def _choose(self, cosines: np.ndarray) -> list[int]:
        """Return the places of the highest of one row of cosines, highest first."""
        n = min(max(1, self._n_ranked), len(cosines))
        if n == 1:
            return [int(cosines.argmax())]
        least = np.partition(cosines, len(cosines) - n)[len(cosines) - n]
        places = np.flatnonzero(cosines >= max(least, np.finfo(np.float32).tiny))
        return sorted(places.tolist(), key=lambda place: (-cosines[place], place))[:n]
