"""The full-text index behind a search: made with tantivy, kept in the cache folder, checked when it is opened.

Engines compared on 98,186 titles, 200 queries of 2 to 12 words with four spellings each, the best 200 by BM25, in memory,
one thread: tantivy p50 3 ms, p95 14 ms; SQLite FTS5 205 and 556 ms where any word will do, 5 and 22 ms where all must be
there, which one word too many defeats. DuckDB's extension for full text is not in its package. tantivy's own fuzzy terms (p95
15 ms) give every spelling the same weight, so misspellings are resolved before, in `icd10cm.search.spelling`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icd10cm.search.entries import INCLUSION_TERM, INDEX, TITLE, Entry, Roles
from icd10cm.search.query import Query
from icd10cm.search.words import Vocabulary, stem_words

if TYPE_CHECKING:
    import tantivy

FORMAT = 12
_KINDS = {"t": TITLE, "i": INCLUSION_TERM, "x": INDEX}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_HEAP = 100_000_000
_MOST_TERMS = 8
"""Of a word's meanings, the best that are looked up."""
_TELLING, _ENOUGH = 1.7, 3
"""Words that tell less, such as `of`, are not looked up where there are enough others."""
_WORDS_FIELD, _ROW, _HEADING = "words", "row", "heading"
_ROWS, _TITLES, _WORDS, _COMPOUNDS, _CHECK = "rows.tsv", "titles.txt", "words.tsv", "compounds.txt", "check.json"
_UNREADABLE = (OSError, ValueError, TypeError, AttributeError)
_COMPOUND = re.compile(r"\b[a-z]{2,}(?:-[a-z]{3,})+\b")


class Store:
    """Entries by number, and the words in them."""

    def __init__(
        self,
        rows: Sequence[str],
        titles: Mapping[str, int],
        vocabulary: Vocabulary,
        compounds: Sequence[str],
        index: tantivy.Index,
    ):
        """Take what `make_store` or `open_store` has.

        Args:
            rows: entries as lines; the line of a title ends in the numbers of its code's other entries.
            titles: code to the number of its title.
            vocabulary: every word.
            compounds: words with a hyphen.
            index: the words of each entry, and its number.
        """
        self._titles = titles
        self.vocabulary = vocabulary
        self.compounds = compounds
        self._rows = rows
        self._schema = index.schema
        self._searcher = index.searcher()

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, number: int) -> Entry:
        """Return an entry."""
        code, letter, text, core, either, negated, neutral, _ = self._rows[number].split("\t")
        roles = Roles(core.split(), either.split(), negated.split(), neutral.split())
        return Entry(code, _KINDS[letter], text, roles)

    def find_title(self, code: str) -> Entry | None:
        """Return the title of a code; None for a heading of which the release has no title."""
        number = self._titles.get(code)
        return None if number is None else self.read(number)

    def list_terms(self, code: str) -> list[int]:
        """Return the numbers of a code's entries other than its title."""
        number = self._titles.get(code)
        return [] if number is None else [int(other) for other in self._rows[number].rpartition("\t")[2].split()]

    def find(self, query: Query, limit: int, headings: bool) -> list[int]:
        """Return the numbers of the entries nearest to a query by BM25, nearest first.

        Args:
            query: what to look for; any of its words will do.
            limit: the most to return.
            headings: whether entries of headings are wanted, too.
        """
        from tantivy import Occur
        from tantivy import Query as Asked

        should = []
        told = sorted(
            (query.groups[reading.groups[0]].weight for readings in query.stretches for reading in readings), reverse=True
        )
        least = min(_TELLING, told[min(_ENOUGH, len(told)) - 1]) if told else 0.0
        for readings in query.stretches:
            asked = []
            for reading in readings:
                groups = [
                    found
                    for number in reading.groups
                    if query.groups[number].weight >= least and (found := self._ask(query.groups[number].words)) is not None
                ]
                if groups:
                    joined = groups[0] if len(groups) == 1 else Asked.boolean_query([(Occur.Should, group) for group in groups])
                    asked.append(joined)
            if asked:
                should.append((Occur.Should, asked[0] if len(asked) == 1 else Asked.disjunction_max_query(asked)))
        if not should:
            return []
        if not headings:
            should = [(Occur.Must, Asked.boolean_query(should)), (Occur.MustNot, Asked.term_query(self._schema, _HEADING, 1))]
        hits = self._searcher.search(Asked.boolean_query(should), limit, count=False).hits
        return [int(number or 0) for number in self._searcher.fast_field_values(_ROW, [address for _, address in hits])]

    def _ask(self, words: dict[str, float]) -> tantivy.Query | None:
        from tantivy import Query as Asked

        best = sorted(words, key=lambda word: (-words[word], -self.vocabulary.counts[word]))[:_MOST_TERMS]
        terms = [Asked.boost_query(Asked.term_query(self._schema, _WORDS_FIELD, word, "freq"), words[word]) for word in best]
        return Asked.disjunction_max_query(terms) if terms else None


def make_store(entries: Iterable[Entry], headings: Callable[[str], bool], folder: Path | None = None) -> Store:
    """Index entries.

    Args:
        entries: what can be found.
        headings: says of a code whether it is a heading.
        folder: an empty folder to keep the index in; in memory when None.
    """
    import tantivy

    rows: list[str] = []
    counts: Counter[str] = Counter()
    titles: dict[str, int] = {}
    title_words: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    compounds: dict[str, None] = {}
    n_texts = 0
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(_WORDS_FIELD, tokenizer_name="whitespace", index_option="freq")
    builder.add_unsigned_field(_ROW, fast=True)
    builder.add_unsigned_field(_HEADING, indexed=True)
    index = tantivy.Index(builder.build(), path=str(folder) if folder else None)
    writer = index.writer(heap_size=_HEAP, num_threads=1)
    for entry in entries:
        parts = [" ".join(words) for words in entry.roles]
        document = tantivy.Document()
        document.add_text(_WORDS_FIELD, " ".join((parts[0], *parts, title_words.get(entry.code, ""))))
        document.add_unsigned(_ROW, len(rows))
        document.add_unsigned(_HEADING, int(headings(entry.code)))
        writer.add_document(document)
        if entry.kind == TITLE:
            titles[entry.code] = len(rows)
            title_words[entry.code] = " ".join(parts)
        else:
            others.setdefault(entry.code, []).append(str(len(rows)))
        rows.append("\t".join((entry.code, _LETTERS[entry.kind], " ".join(entry.text.split()), *parts, "")))
        if not entry.repeated:
            counts.update({word for words in entry.roles for word in words})
            compounds |= dict.fromkeys(_COMPOUND.findall(entry.text.lower()))
            n_texts += 1
    for code, numbers in others.items():
        if code in titles:
            rows[titles[code]] += " ".join(numbers)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    stems = stem_words(sorted(counts))
    if folder:
        words = [f"{word}\t{counts[word]}\t{stem}" for word, stem in stems.items()]
        (folder / _ROWS).write_text("\n".join(rows), encoding="utf-8")
        (folder / _WORDS).write_text("\n".join([str(n_texts), *words]), encoding="utf-8")
        (folder / _TITLES).write_text("\n".join(f"{code} {number}" for code, number in titles.items()), encoding="utf-8")
        (folder / _COMPOUNDS).write_text("\n".join(compounds), encoding="utf-8")
        files = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".tantivy"))
        (folder / _CHECK).write_text(json.dumps({name: _sum_file(folder / name) for name in files}), encoding="utf-8")
    return Store(rows, titles, Vocabulary(counts, stems, n_texts), list(compounds), index)


def open_store(folder: Path) -> Store:
    """Open an index that `make_store` kept.

    Raises:
        OSError, ValueError: it is not there, or not as it was written.
    """
    import tantivy

    sums = json.loads((folder / _CHECK).read_text(encoding="utf-8"))
    if any(_sum_file(folder / name) != written for name, written in sums.items()):
        raise ValueError(f"{folder} is damaged")
    rows = (folder / _ROWS).read_text(encoding="utf-8").split("\n")
    n_texts, *lines = (folder / _WORDS).read_text(encoding="utf-8").split("\n")
    words = [line.split("\t") for line in lines]
    counts = {word: int(count) for word, count, _ in words}
    vocabulary = Vocabulary(counts, {word: stem for word, _, stem in words}, int(n_texts))
    compounds = (folder / _COMPOUNDS).read_text(encoding="utf-8").split("\n")
    titles = {code: int(number) for code, number in map(str.split, (folder / _TITLES).read_text(encoding="utf-8").split("\n"))}
    return Store(rows, titles, vocabulary, compounds, tantivy.Index.open(str(folder)))


def keep_store(folder: Path, make: Callable[[Path | None], Store]) -> Store:
    """Open the index in `folder`, or make it there in one step; in memory where the folder cannot be written.

    Of several processes that make it at once, the first to finish leaves its own and the others take that.
    """
    with contextlib.suppress(*_UNREADABLE):
        return open_store(folder)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        scratch.mkdir(parents=True)
        make(scratch)
        return _move(scratch, folder)
    except OSError:
        return make(None)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(scratch: Path, folder: Path) -> Store:
    """Give a whole index its name. What stands there is another's, unless it is damaged, and then it makes room."""
    for _ in range(3):
        with contextlib.suppress(OSError):
            scratch.rename(folder)
        with contextlib.suppress(*_UNREADABLE):
            return open_store(folder)
        with contextlib.suppress(OSError):
            damaged = scratch.with_name(f"{scratch.name}.damaged")
            folder.rename(damaged)
            if damaged.is_dir():
                shutil.rmtree(damaged, ignore_errors=True)
            else:
                damaged.unlink()
    raise OSError(f"{folder} cannot be written")


def _sum_file(path: Path) -> int:
    return zlib.crc32(path.read_bytes())
