"""The variants of every code, checked: from the rules or whoever else proposes texts, on as many cores as wanted.

Each variant comes from a random generator of its own (seed, variation, code), so a code's texts do not depend on which
other codes are in the slice, on their order, or on the number of processes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from data_gen.checks import PLAIN_NAME, RowChecks
from data_gen.folding import fold_text, list_content_words
from data_gen.parallel import map_in_order
from data_gen.plan import Plan
from data_gen.prior import Allotment
from data_gen.variations import VARIATIONS
from icd10cm.codeset import CodeSet

_MOST_MISSES = 30
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


class Variants(NamedTuple):
    """The texts of many codes.

    Attributes:
        texts: variation to code to its texts, in the order of writing.
        rejected: reason to number of texts thrown away.
    """

    texts: dict[str, dict[str, list[Text]]]
    rejected: Counter[str]


class Writer:
    """Writes the variants of one code at a time.

    Args:
        codeset: the release.
        plan: how many of what, and the seed.
        checks: what each text must pass.
        propose: who writes.
        allotment: how many texts of each code are for train; as many of each as the plan says when omitted.
    """

    def __init__(
        self, codeset: CodeSet, plan: Plan, checks: RowChecks, propose: Propose, allotment: Allotment | None = None
    ) -> None:
        self._codeset = codeset
        self._plan = plan
        self._checks = checks
        self._propose = propose
        self._allotment = allotment or Allotment(codeset, (), plan)

    def write_code(self, code: str) -> Written:
        """Return distinct texts of each variation, enough for every split where there are so many."""
        rejected: Counter[str] = Counter()
        known = {_join_content(self._codeset.title(code))}
        written = {}
        # paraphrased first, so that `HTN` is a plain name, which is taught, and no short form that may be held out
        for variation in sorted(VARIATIONS, key=lambda variation: variation != "paraphrased"):
            texts = written[variation] = self._write_texts(code, variation, known, rejected)
            known.update(text.content for text in texts)
        return Written(written, dict(rejected))

    def _write_texts(self, code: str, variation: str, known: set[str], rejected: Counter[str]) -> list[Text]:
        """Return texts with content words not `known` of the code."""
        if not self._plan.count_variants(variation):
            return []
        n_train, n_held = self._allotment.count_train(code, variation), self._plan.count_held_out()
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
                    if source != PLAIN_NAME:  # which is taught beside the others
                        if len(held) < n_held:
                            held.add(content)
                        trained += content not in held
            if misses >= _MOST_MISSES or (trained >= n_train and len(held) >= n_held):
                break
        return list(texts.values())


def write_variants(writer: Writer, codes: Sequence[str], workers: int, progress: Iterable[str]) -> Variants:
    """Return the texts of all `codes`; two of them may share one."""
    variants = Variants({variation: {} for variation in VARIATIONS}, Counter())
    results = map_in_order(writer.write_code, codes, min(workers, 1 + len(codes) // _FEWEST_PER_PROCESS))
    for code, result in zip(progress, results, strict=True):
        for variation, texts in result.texts.items():
            variants.texts[variation][code] = texts
        variants.rejected.update(result.rejected)
    return variants


def build_text(text: str, source: str) -> Text:
    """Return a text in all its forms."""
    return Text(text, fold_text(text), _join_content(text), source)


def _join_content(text: str) -> str:
    return " ".join(list_content_words(text))


def drop_ambiguous(written: Mapping[str, dict[str, list[Text]]], rejected: Counter[str]) -> None:
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
