"""Search the titles of the code set, its inclusion terms and the user's index files by words in any spelling and order.

>>> index = SearchIndex.load()
>>> [hit.code for hit in index.search("T2DM w/ foot ulcer", limit=1)]
['E11.621']

The full-text index gives the entries that hold most of the query's words in any reading, and these are ranked by what query
and entry both say against what only one of them says. Titles say much that nobody asks for, so words of no meaning to a coder
count little: `pneumonia` is `J18.9` and `hypertension` is `I10` without any list of answers.

Measured with `benchmarks/search_speed.py` on two busy cores, one thread, queries of 2 to 12 words, quickest of three: p95 of
7 ms as printed, 11 ms begun, 10 ms abbreviated, 10 ms misspelled. 151,066 entries are made into an index in 8 s, 26 MB on
disk; opening it takes 0.5 s, the code set included, and 170 MB. The right code comes first for 99.5 % of 1,000 titles with
attested misspellings, 97.6 % of 1,000 with short forms and 99.1 % of 114 pure reorderings; the floor has 99.7, 78.5, 92.1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from icd10cm.alphabetic_index import read_index
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.embedded import describe_source, find_cache_folder
from icd10cm.lexicon import read_short_forms, read_synonyms
from icd10cm.run_header import hash_file
from icd10cm.search.entries import CODE, TERM_KINDS, TITLE, collect_entries, split_words
from icd10cm.search.query import Reader, arrange_meanings
from icd10cm.search.ranking import Ranking
from icd10cm.search.store import FORMAT, Store, keep_store, make_store
from icd10cm.tabular import Tabular

_LIKE_A_CODE = re.compile(r"[A-Z][0-9](?:[0-9A-Z]\.?[0-9A-Z]{0,4})?", re.IGNORECASE | re.ASCII)
_CANDIDATES, _FEW_WORDS = 150, 3
"""Entries that the full-text index gives for ranking; twice as many for so few words, which many entries hold."""
_REVIEWED = 40
"""Of these, the best codes whose other terms are then looked at, too."""
_DISORDER = 0.03
"""What words in another order take away."""


class Hit(NamedTuple):
    """A code that was found.

    Attributes:
        code: dotted.
        title: of the code.
        score: 0 to 1; 1 means that query and term say the same.
        matched: the term that was found.
        kind: `title`, `inclusion term`, `index` or `code`, the last for a query that is the beginning of a code.
    """

    code: str
    title: str
    score: float
    matched: str
    kind: str


class _Rank(NamedTuple):
    """What entries are sorted by: of equally near ones titles first, then the shortest."""

    negative_score: float
    is_other_text: bool
    n_words: int
    number: int


class SearchIndex:
    """Titles, inclusion terms and index entries of a release, ready to be searched."""

    def __init__(self, codes: CodeSet, store: Store, reader: Reader):
        self.codes = codes
        self._store = store
        self._reader = reader

    @staticmethod
    def load(
        codes: CodeSet | None = None,
        tabular: Tabular | None = None,
        index_files: Sequence[str | Path] = (),
        abbreviations: Iterable[tuple[str, str]] | None = None,
    ) -> SearchIndex:
        """Open the index, or make it and keep it in the cache folder.

        Args:
            codes: the release; the embedded one when None.
            tabular: its inclusion terms; those of the embedded tabular list when None, of codes that the release has.
            index_files: index files of CMS in XML: Alphabetic Index, External Cause Index, Tables of Neoplasms and Drugs.
            abbreviations: (short, long) pairs that a query may use; the lexicon and the synonyms when None.

        Raises:
            CodeFileError: an index file cannot be read.
        """
        codes = codes or CodeSet.load()
        files = tuple(Path(path) for path in index_files)

        def make(folder: Path | None) -> Store:
            entries = [entry for path in files for entry in read_index(path, codes).entries]
            return make_store(
                collect_entries(codes, tabular or Tabular.load(), entries), lambda code: not codes.is_billable(code), folder
            )

        folder = find_cache_folder() / f"search-{_build_key(codes, tabular, files)}"
        store = keep_store(folder, make)
        short_forms, synonyms = (read_short_forms(), read_synonyms()) if abbreviations is None else (tuple(abbreviations), ())
        return SearchIndex(codes, store, Reader(store.vocabulary, arrange_meanings(short_forms, synonyms, store.compounds)))

    def search(self, text: str, limit: int = 10, billable_only: bool = True) -> list[Hit]:
        """Return the codes nearest to a text, best first, each once.

        Args:
            text: words in any order, misspelled, abbreviated or only begun; or the beginning of a code (`e11.6`).
            limit: the most to return.
            billable_only: leave out headings.
        """
        if limit < 1:
            return []
        listed = self._list_codes(text, limit, billable_only)
        return listed or self._search_words(text, limit, billable_only)

    def _list_codes(self, text: str, limit: int, billable_only: bool) -> list[Hit]:
        start = text.strip()
        if not _LIKE_A_CODE.fullmatch(start):
            return []
        start = add_dot(start)
        found = []
        for code, heading in self.codes.headings.items():
            if code.startswith(start) and (heading.billable or not billable_only):
                found.append(Hit(code, heading.title, round(len(start) / len(code), 4), code, CODE))
        return sorted(found)[:limit]

    def _search_words(self, text: str, limit: int, billable_only: bool) -> list[Hit]:
        query = self._reader.read(text)
        ranking = Ranking(query, self._store.vocabulary.weights)
        n_candidates = max(_CANDIDATES if len(query.stretches) > _FEW_WORDS else 2 * _CANDIDATES, 4 * limit)
        found = self._store.find(query, n_candidates, headings=not billable_only)
        best: dict[str, _Rank] = {}
        self._rank(found, ranking, best)
        first = sorted(best, key=best.__getitem__)[: max(_REVIEWED, limit)]
        best = {code: best[code] for code in first}
        # the full-text index may have given another text of a code than the one nearest to the query
        others = {number for code in first for number in self._store.list_terms(code)}
        self._rank(others.difference(found), ranking, best)
        hits = [self._build_hit(best[code], ranking) for code in sorted(best, key=best.__getitem__)]
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def _rank(self, numbers: Iterable[int], ranking: Ranking, best: dict[str, _Rank]) -> None:
        """Put into `best` the entry of each code that answers best."""
        for number in numbers:
            entry = self._store.read(number)
            title = None if entry.kind == TITLE else self._store.find_title(entry.code)
            score = ranking.score(entry.roles, title.roles if title else ())
            rank = _Rank(-round(score, 6), entry.kind != TITLE, sum(map(len, entry.roles)), number)
            if score > 0 and (entry.code not in best or rank < best[entry.code]):
                best[entry.code] = rank

    def _build_hit(self, rank: _Rank, ranking: Ranking) -> Hit:
        """Return a hit; its score is a little lower where the words stand in another order."""
        entry = self._store.read(rank.number)
        in_order = ranking.compare_order(split_words(entry.text))
        score = -rank.negative_score * (1 - _DISORDER * (1 - in_order))
        return Hit(entry.code, self.codes.title(entry.code), round(score, 4), entry.text, entry.kind)


def _build_key(codes: CodeSet, tabular: Tabular | None, files: Sequence[Path]) -> str:
    """Return what the content of an index depends on, as a short name."""
    parts = [str(FORMAT), _sum_codes(codes), _sum_terms(tabular) if tabular else describe_source()]
    parts += [hash_file(path) if path.is_file() else str(path) for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _sum_codes(codes: CodeSet) -> str:
    if codes is CodeSet.load():
        return codes.source
    lines = (f"{code}\t{heading.billable}\t{heading.title}" for code, heading in codes.headings.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sum_terms(tabular: Tabular) -> str:
    terms = (f"{note.node}\t{note.text}" for note in tabular.all_notes() if note.kind in TERM_KINDS)
    return hashlib.sha256("\n".join(terms).encode()).hexdigest()
