"""Search for codes: time per query by how it is written, and how often the right code comes first, beside the floor.

    python benchmarks/search_speed.py
    python benchmarks/search_speed.py --data ../shared/data/external_dev --floor

Queries are made of titles, seeded: 2 to 12 words as they are, cut short, abbreviated, or misspelled (two words, one or two
letters each). Each is timed three times in one thread, after a few others: the first time as a user waits for it, and the
quickest, which other work on the machine disturbs least. With `--data`, a folder of JSONL files with `text`,
`codes` and `scenario`, the share of right codes among the first 1, 5 and 10 is given for the search, for the search without
inclusion terms, and with `--floor` for the TF-IDF floor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from icd10cm import CodeSet
from icd10cm.lexicon import read_short_forms
from icd10cm.search import SearchIndex
from icd10cm.search.entries import collect_entries
from icd10cm.search.query import Reader, arrange_meanings
from icd10cm.search.store import make_store

Case = tuple[str, str, str]
"""Scenario, text and its code."""


def main() -> None:
    """Print the times, and with `--data` the shares of right codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=500, help="queries of each kind (default: 500)")
    parser.add_argument("--data", type=Path, help="folder of JSONL files with texts and their codes")
    parser.add_argument("--floor", action="store_true", help="measure the TF-IDF floor, too (0.7 GB, some minutes)")
    settings = parser.parse_args()
    codes = CodeSet.load()
    started = time.perf_counter()
    store = make_store(collect_entries(codes, None), lambda code: not codes.is_billable(code))
    titles_only = SearchIndex(
        codes, store, Reader(store.vocabulary, arrange_meanings(read_short_forms(), compounds=store.compounds))
    )
    print(f"made of titles alone in {time.perf_counter() - started:.1f} s, in memory")
    SearchIndex.load()
    started = time.perf_counter()
    index = SearchIndex.load()
    print(f"opened from the cache folder in {time.perf_counter() - started:.2f} s\n")
    print_times(index, codes, settings.queries)
    if settings.data:
        cases = read_cases(settings.data)
        searches = {"search": rank_by(index), "search, titles and lexicon only": rank_by(titles_only)}
        if settings.floor:
            searches["floor (TF-IDF)"] = build_floor(codes)
        print_recall(searches, cases)


def print_times(index: SearchIndex, codes: CodeSet, n: int) -> None:
    """Print percentiles of the time of a query, by kind."""
    print(f"{'query':<12}{'n':>6}{'words':>7}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'quickest of 3: p50':>22}{'p95':>7}")
    for kind, queries in make_queries(codes, n).items():
        for query in queries[:20]:
            index.search(query)
        times = [[time_query(index, query) for query in queries] for _ in range(3)]
        first, quickest = times[0], [min(repeats) for repeats in zip(*times, strict=True)]
        words = statistics.mean(len(query.split()) for query in queries)
        print(
            f"{kind:<12}{len(queries):>6}{words:>7.1f}{statistics.median(first):>9.1f}{find_percentile(first, 95):>9.1f}"
            f"{max(first):>9.1f}{statistics.median(quickest):>22.1f}{find_percentile(quickest, 95):>7.1f}"
        )


def time_query(index: SearchIndex, query: str) -> float:
    """Return the milliseconds that a query takes."""
    started = time.perf_counter()
    index.search(query)
    return 1e3 * (time.perf_counter() - started)


def make_queries(codes: CodeSet, n: int) -> dict[str, list[str]]:
    """Return queries by kind, each of 2 to 12 words."""
    rng = random.Random(7)
    titles = [" ".join(codes.title(code).replace(",", " ").split()[:12]) for code in rng.sample(codes.codes, n)]
    titles = [title for title in titles if " " in title]
    shorts: dict[str, list[str]] = defaultdict(list)
    for short, long in read_short_forms():
        if " " not in long:
            shorts[long].append(short)
    return {
        "exact": titles,
        "begun": [" ".join(word[: max(4, len(word) // 2)] for word in title.split()) for title in titles],
        "abbreviated": [" ".join(rng.choice(shorts.get(word.lower(), [word])) for word in title.split()) for title in titles],
        "misspelled": [misspell(title, rng) for title in titles],
    }


def misspell(text: str, rng: random.Random) -> str:
    """Return a text with one or two slips in each of two longer words."""
    words = text.split()
    long = [place for place, word in enumerate(words) if len(word) > 4]
    for place in rng.sample(long, min(2, len(long))):
        for _ in range(rng.choice((1, 1, 2))):
            word = words[place]
            at = rng.randrange(1, len(word) - 1)
            slips = (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            )
            words[place] = rng.choice((*slips, word[:at] + rng.choice("aeiourstn") + word[at + 1 :]))
    return " ".join(words)


def find_percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def read_cases(folder: Path) -> list[Case]:
    """Return the texts of every file of a folder with the first of their codes."""
    rows = [(path.stem, json.loads(line)) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [(f"{name}: {row['scenario']}", row["text"], row["codes"][0]) for name, row in rows]


def rank_by(index: SearchIndex) -> Callable[[Sequence[str]], Iterator[list[str]]]:
    """Return what gives the first ten codes for each text."""
    return lambda texts: ([hit.code for hit in index.search(text)] for text in texts)


def build_floor(codes: CodeSet) -> Callable[[Sequence[str]], Iterator[list[str]]]:
    """Return the same for the floor: the ten titles with the highest cosine, those of equals in the order of the codes."""
    import numpy as np

    from eval.floors.titles import Floor

    floor = Floor(codes, progress=False)

    def rank(texts: Sequence[str]) -> Iterator[list[str]]:
        for start in range(0, len(texts), 64):
            cosines = (floor._vectorizer.transform(texts[start : start + 64]) @ floor._titles).toarray()
            for row in cosines:
                near = np.sort(np.argpartition(-row, 10)[:10])
                first = int(row.argmax())
                ordered = [first, *(place for place in near[np.argsort(-row[near], kind="stable")] if place != first)]
                yield [codes.codes[place] for place in ordered[:10]]

    return rank


def print_recall(searches: dict[str, Callable[[Sequence[str]], Iterator[list[str]]]], cases: Sequence[Case]) -> None:
    """Print the share of texts whose code is among the first 1, 5 and 10, by scenario, and the time of each search."""
    scenarios = sorted({scenario for scenario, _, _ in cases})
    print(f"\n{'':<34}" + "".join(f"{name:>34}" for name in searches))
    ranked, seconds = {}, {}
    for name, search in searches.items():
        started = time.perf_counter()
        ranked[name] = list(search([text for _, text, _ in cases]))
        seconds[name] = time.perf_counter() - started
    for scenario in scenarios:
        chosen = [place for place, case in enumerate(cases) if case[0] == scenario]
        shares = []
        for name in searches:
            found = [[cases[place][2] in ranked[name][place][:n] for place in chosen] for n in (1, 5, 10)]
            shares.append(" ".join(f"{100 * statistics.mean(hits):6.1f}" for hits in found))
        print(f"{scenario:<28}{len(chosen):>6}" + "".join(f"{share:>34}" for share in shares))
    print(f"{'ms per text':<34}" + "".join(f"{1e3 * seconds[name] / len(cases):>34.1f}" for name in searches))


if __name__ == "__main__":
    main()
