"""The examples of one data set: titles, their variants split so that test texts are new, and texts of several conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from data_gen.casing import cap_headline, cap_words
from data_gen.checks import RowChecks
from data_gen.examples import SPLITS, Example
from data_gen.folding import fold_text
from data_gen.holding_out import choose_unseen, label_row, split_texts
from data_gen.joining import Joiner, Pools
from data_gen.parallel import count_cores
from data_gen.patients import Patients
from data_gen.plan import Plan
from data_gen.prior import Allotment
from data_gen.rule_writer import RuleWriter
from data_gen.terms import collect_terms
from data_gen.variations import VARIATIONS
from data_gen.words import Words, read_words_of
from data_gen.writing import Propose, Text, Variants, Writer, drop_ambiguous, write_variants
from icd10cm.codeset import CodeSet
from icd10cm.tabular import Tabular

_UNCODED_IN_NOTES = ("Z80", "Z81", "Z82", "Z83", "Z84")
"""Family history: in a note the diseases of relatives are distractors, and so no code of a note is one of these."""


class Built(NamedTuple):
    """A data set in memory.

    Attributes:
        examples: every row, by split, scenario and code.
        rejected: reason to number of texts that were written and thrown away.
        short: variation to number of codes that got fewer texts than asked for.
        missing: variation to number of codes that got none.
        unseen: codes without any variant in train.
    """

    examples: dict[str, list[Example]]
    rejected: Counter[str]
    short: Counter[str]
    missing: Counter[str]
    unseen: frozenset[str]


class Builder:
    """Builds a data set in two steps, which may run on different machines: the variants of codes, then everything else.

    Args:
        codeset: the release; no text may be the title of another of its codes.
        codes: the billable codes to write examples of.
        plan: how many of what, and the seed.
        taught: codes that are never held out whole.
    """

    def __init__(self, codeset: CodeSet, codes: Sequence[str], plan: Plan, taught: Collection[str] = ()) -> None:
        self._codeset = codeset
        self._codes = codes
        self._plan = plan
        self._tabular = Tabular.load(plan.tabular_file)
        self._words = read_words_of(plan)
        self._checks = RowChecks(codeset, self._tabular, self._words.lexicon)
        self._unseen = choose_unseen(codes, plan).difference(taught)
        self._allotment = Allotment(codeset, codes, plan, self._unseen)
        self._built = Built({split: [] for split in SPLITS}, Counter(), Counter(), Counter(), self._unseen)

    def write_variants(
        self, codes: Sequence[str], progress: Iterable[str] | None = None, propose: Propose | None = None
    ) -> Variants:
        """Return the variants of some of the codes, by the rules or by `propose`, which is called in this process."""
        workers = (self._plan.workers or count_cores()) if propose is None else 1
        propose = propose or build_rule_writer(self._codeset, self._tabular, self._plan, self._words)
        return write_variants(self._build_writer(propose), codes, workers, progress or codes)

    def assemble(self, variants: Variants) -> Built:
        """Return every example of the plan from the variants of all codes, which are used up."""
        self._built.rejected.update(variants.rejected)
        drop_ambiguous(variants.texts, self._built.rejected)
        pools = {split: {code: [self._codeset.title(code)] for code in self._codes} for split in SPLITS}
        for code in self._codes:
            self._add_titles(code)
        for variation in VARIATIONS:
            by_code = variants.texts.pop(variation)
            for code in self._codes:
                self._add_variants(code, variation, by_code.pop(code), pools)
        self._add_joined(pools)
        return self._built

    def _build_writer(self, propose: Propose) -> Writer:
        return Writer(self._codeset, self._plan, self._checks, propose, self._allotment)

    def _add_titles(self, code: str) -> None:
        """Add the base rows of a code: three casings to train, one that train does not have to validation and to test."""
        title = self._codeset.title(code)
        train = list(dict.fromkeys((title, title.upper(), cap_words(title))))
        taken = set(train)
        for number, text in enumerate(train):
            self._add("train", "base", text, (code,), "cms", f"base-{code}-{number}")
        for split in ("test", "validation"):
            free = [text for text in (title.lower(), cap_headline(title)) if text not in taken]
            if not free:
                self._built.rejected[f"base: every letter case of {split} is in another split"] += 1
                continue
            taken.add(free[0])
            self._add(split, "base", free[0], (code,), "cms", f"base-{code}-{split}")

    def _add_variants(
        self, code: str, variation: str, texts: Sequence[Text], pools: Mapping[str, Mapping[str, list[str]]]
    ) -> None:
        wanted = self._allotment.count_all(code, variation)
        n_train = self._allotment.count_train(code, variation)
        by_split = split_texts(texts, self._plan, n_train, variation, self._built.rejected)
        self._built.short[variation] += sum(map(len, by_split.values())) < wanted
        self._built.missing[variation] += wanted > 0 and not texts
        number = 0
        for split, held in by_split.items():
            for text in held:
                # a frame such as `pt presents with …` is no item of a list
                if variation != "paraphrased":
                    pools[split][code].append(text.text)
                self._add(split, variation, text.text, (code,), text.source, f"{variation}-{code}-{number}")
                number += 1

    def _add_joined(self, pools: Pools) -> None:
        """Add texts of several conditions, then notes; those of train have no condition whose variants are all held out."""
        plan, codeset = self._plan, self._codeset
        taken = fold_titles(codeset)
        taken.update(fold_text(text) for by_code in pools.values() for pool in by_code.values() for text in pool)
        coded = [code for code in self._codes if not code.startswith(_UNCODED_IN_NOTES)]
        for scenario, joined_plan, drawn in (("multiple", plan.multiple, self._codes), ("note", plan.note, coded)):
            if not drawn or not any(map(joined_plan.count_rows, SPLITS)):
                continue
            held = Patients(codeset, self._tabular, drawn, joined_plan)
            seen = [code for code in drawn if code not in self._unseen]
            train = held if len(seen) == len(drawn) else Patients(codeset, self._tabular, seen, joined_plan)
            patients = {"train": train, "validation": held, "test": held}
            joiner = Joiner(scenario, codeset, self._checks, patients, joined_plan, pools, plan.seed)
            for row in joiner.write_rows(taken, plan.workers or count_cores(), self._built.rejected):
                name = f"{scenario}-{row.split}-{row.number}"
                self._add(row.split, scenario, row.text, row.codes, f"rules:{scenario}", name)

    def _add(self, split: str, scenario: str, text: str, codes: tuple[str, ...], source: str, name: str) -> None:
        # a title is in train whatever becomes of its variants
        held_out = label_row(split, codes, self._unseen if scenario != "base" else frozenset())
        example = Example(name, scenario, text, codes, split, source, self._codeset.release, held_out)
        self._built.examples[split].append(example)


def build_examples(
    codeset: CodeSet,
    codes: Sequence[str],
    plan: Plan,
    progress: Iterable[str] | None = None,
    propose: Propose | None = None,
    taught: Collection[str] = (),
) -> Built:
    """Return every example of the plan.

    Args:
        codeset: the release; no text may be the title of another of its codes.
        codes: the billable codes to write examples of.
        plan: how many of what, and the seed.
        progress: `codes` wrapped in a progress bar, if one is wanted.
        propose: who writes the variants; the rules when omitted. Its texts pass the same checks, and are asked for in this
            process.
        taught: codes that are never held out whole.
    """
    builder = Builder(codeset, codes, plan, taught)
    return builder.assemble(builder.write_variants(codes, progress, propose))


def fold_titles(codeset: CodeSet) -> set[str]:
    """Return the folded title of every billable code."""
    return {fold_text(codeset.title(code)) for code in codeset.codes}


def build_rule_writer(codeset: CodeSet, tabular: Tabular, plan: Plan, words: Words | None = None) -> RuleWriter:
    """Return who writes by rules; the terms of codes are collected only where something asks for them."""
    terms = collect_terms(codeset, tabular, plan.index_files) if plan.count_variants("paraphrased") else {}
    return RuleWriter(terms, words or read_words_of(plan))
