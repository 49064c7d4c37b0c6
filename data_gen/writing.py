"""The variants of every code, checked: from the rules or whoever else proposes texts, on as many cores as wanted.

Each variant comes from a random generator of its own (seed, variation, code), so a code's texts do not depend on which
other codes are in the slice, on their order, or on the number of processes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from data_gen.checks import RowChecks
from data_gen.folding import fold_text, list_content_words
from data_gen.parallel import map_in_order
from data_gen.plan import Plan
from data_gen.variations import VARIATIONS
from icd10cm.codeset import CodeSet

_MOST_MISSES = 50
_FEWEST_PER_PROCESS = 2000

Propose = Callable[[str, str, str, random.Random], Iterator[tuple[str, str]]]
"""Texts for (variation, code, title, random generator), each with its source; an empty text is an attempt that failed."""


class Text(NamedTuple):
    """One variant before it has a split.

    Attributes:
        text: as typed.
        folded: the form in which it is compared.
        content: its content words in order; texts that share them differ in small words only.
        source: who wrote it.
    """

    text: str
    folded: str
    content: str
    source: str


class Written(NamedTuple):
    """The texts of one code.

    Attributes:
        texts: variation to distinct texts that passed every check.
        rejected: reason to number of texts thrown away.
    """

    texts: dict[str, list[Text]]
    rejected: dict[str, int]


class Writer:
    """Writes the variants of one code at a time.

    Args:
        codeset: the release.
        plan: how many of what, and the seed.
        checks: what each text must pass.
        propose: who writes.
    """

    def __init__(self, codeset: CodeSet, plan: Plan, checks: RowChecks, propose: Propose) -> None:
        self._codeset = codeset
        self._plan = plan
        self._checks = checks
        self._propose = propose

    def write_code(self, code: str) -> Written:
        """Return distinct texts of each variation, enough for every split where there are so many."""
        rejected: Counter[str] = Counter()
        known = {_join_content(self._codeset.title(code))}
        written = {}
        for variation in VARIATIONS:
            texts = written[variation] = self._write_texts(code, variation, known, rejected)
            known.update(text.content for text in texts)
        return Written(written, dict(rejected))

    def _write_texts(self, code: str, variation: str, known: set[str], rejected: Counter[str]) -> list[Text]:
        """Return texts with content words not `known` of the code."""
        n_train, n_held = self._plan.train_variants.get(variation, 0), self._plan.count_held_out()
        if not n_train:
            return []
        rng = random.Random(f"{self._plan.seed}:{variation}:{code}")
        texts: dict[str, Text] = {}
        faulty: set[str] = set()
        held: set[str] = set()
        misses = trained = 0
        for text, source in self._propose(variation, code, self._codeset.title(code), rng):
            misses += 1
            folded = fold_text(text)
            content = _join_content(text)
            if folded and folded not in texts and folded not in faulty and content not in known:
                fault = self._checks.find_fault(variation, text, folded, code, source)
                if fault:
                    faulty.add(folded)
                    rejected[f"{variation}: {fault}"] += 1
                else:
                    texts[folded] = Text(text, folded, content, source)
                    misses = 0
                    if len(held) < n_held:
                        held.add(content)
                    trained += content not in held
            if misses >= _MOST_MISSES or trained >= n_train:
                break
        return list(texts.values())


def write_variants(
    writer: Writer, codes: Sequence[str], workers: int, progress: Iterable[str], rejected: Counter[str]
) -> dict[str, dict[str, list[Text]]]:
    """Return variation -> code -> texts; what two codes share is removed from both."""
    written: dict[str, dict[str, list[Text]]] = {variation: {} for variation in VARIATIONS}
    results = map_in_order(writer.write_code, codes, min(workers, 1 + len(codes) // _FEWEST_PER_PROCESS))
    for code, result in zip(progress, results, strict=True):
        for variation, texts in result.texts.items():
            written[variation][code] = texts
        rejected.update(result.rejected)
    _drop_ambiguous(written, rejected)
    return written


def _join_content(text: str) -> str:
    return " ".join(list_content_words(text))


def _drop_ambiguous(written: dict[str, dict[str, list[Text]]], rejected: Counter[str]) -> None:
    """Remove every text that was also written for another code, on all sides."""
    owners: dict[str, str] = {}
    ambiguous: set[str] = set()
    for by_code in written.values():
        for code, texts in by_code.items():
            for text in texts:
                if owners.setdefault(text.folded, code) != code:
                    ambiguous.add(text.folded)
    for variation, by_code in written.items():
        for code, texts in by_code.items():
            kept = [text for text in texts if text.folded not in ambiguous]
            if len(kept) < len(texts):
                rejected[f"{variation}: is also a text of another code"] += len(texts) - len(kept)
                by_code[code] = kept
