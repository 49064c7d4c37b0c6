"""The second floor: the first hit of the search for codes (`icdtune search`). No training, but words that titles lack.

It knows short forms, synonyms and inclusion terms, so it shows what a look-up in the books is worth, where `eval.floor` shows
what the letters of the titles are worth. Texts taken from inclusion terms are no test for it: it holds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.floor import split_conditions, write_answer
from icd10cm.codeset import CodeSet
from icd10cm.search import SearchIndex
from serving.engines.base import Generation


class SearchFloor:
    """Answers with the first hit for each condition that a text plainly sets apart.

    The score is that of the hit, from 0 to 1, the mean of them over several conditions.
    """

    name = "search"

    def __init__(self, codes: CodeSet, candidates: Sequence[str] | None = None, progress: bool = True):
        """Open or make the index.

        Args:
            codes: the release that has the titles.
            candidates: dotted codes to choose from; every billable code when None.
            progress: whether to show a bar on stderr.
        """
        self._index = SearchIndex.load(codes if candidates is None else _keep(codes, candidates))
        self._progress = progress

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return for each text the first hit of each of its conditions; an empty answer where nothing is found."""
        from tqdm import tqdm

        answers = []
        for text in tqdm(texts, desc="search", unit="text", leave=False, disable=not self._progress):
            hits = [hit for condition in split_conditions(text) for hit in self._index.search(condition, limit=1)]
            answers.append(write_answer([(hit.code, hit.score) for hit in hits]))
        return answers


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
