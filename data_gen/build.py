"""The examples of one data set: titles, their variants split so that test texts are new, and texts of several conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data_gen.casing import cap_headline, cap_words
from data_gen.checks import RowChecks
from data_gen.examples import SPLITS, Example
from data_gen.folding import fold_text
from data_gen.joining import Joiner
from data_gen.parallel import count_cores
from data_gen.patients import Patients
from data_gen.plan import Plan
from data_gen.rule_writer import RuleWriter
from data_gen.terms import collect_terms
from data_gen.variations import VARIATIONS
from data_gen.writing import Propose, Text, Writer, write_variants
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
    """

    examples: dict[str, list[Example]]
    rejected: Counter[str]
    short: Counter[str]
    missing: Counter[str]


def build_examples(
    codeset: CodeSet,
    codes: Sequence[str],
    plan: Plan,
    progress: Iterable[str] | None = None,
    propose: Propose | None = None,
) -> Built:
    """Return every example of the plan.

    Args:
        codeset: the release; no text may be the title of another of its codes.
        codes: the billable codes to write examples of.
        plan: how many of what, and the seed.
        progress: `codes` wrapped in a progress bar, if one is wanted.
        propose: who writes the variants; the rules when omitted. Its texts pass the same checks, and are asked for in this
            process.
    """
    built = Built({split: [] for split in SPLITS}, Counter(), Counter(), Counter())
    tabular = Tabular.load(plan.tabular_file)
    checks = RowChecks(codeset, tabular)
    workers = (plan.workers or count_cores()) if propose is None else 1
    writer = Writer(codeset, plan, checks, propose or build_rule_writer(codeset, tabular, plan))
    written = write_variants(writer, codes, workers, progress or codes, built.rejected)
    pools = {split: {code: [codeset.title(code)] for code in codes} for split in SPLITS}
    for code in codes:
        _add_titles(codeset, code, built)
    for variation in VARIATIONS:
        texts = written.pop(variation)
        for code in codes:
            _add_variants(codeset, code, variation, texts[code], plan, pools, built)
    _add_joined(codeset, tabular, codes, plan, checks, pools, built)
    return built


def build_rule_writer(codeset: CodeSet, tabular: Tabular, plan: Plan) -> RuleWriter:
    """Return who writes by rules; the terms of codes are collected only where something asks for them."""
    return RuleWriter(collect_terms(codeset, tabular, plan.index_files) if plan.count_variants("paraphrased") else {})


def fold_titles(codeset: CodeSet) -> dict[str, str]:
    """Return folded title to code, for every billable code; two codes with one folded title give an empty code."""
    titles: dict[str, str] = {}
    for code in codeset.codes:
        folded = fold_text(codeset.title(code))
        titles[folded] = "" if folded in titles else code
    return titles


def _add_titles(codeset: CodeSet, code: str, built: Built) -> None:
    """Add the base rows of a code: three casings to train, one that train does not have to validation and to test."""
    title = codeset.title(code)
    train = list(dict.fromkeys((title, title.upper(), cap_words(title))))
    taken = set(train)
    for number, text in enumerate(train):
        _add(built, codeset, "train", "base", text, (code,), "cms", f"base-{code}-{number}")
    for split in ("test", "validation"):
        free = [text for text in (title.lower(), cap_headline(title)) if text not in taken]
        if not free:
            built.rejected[f"base: every letter case of {split} is in another split"] += 1
            continue
        taken.add(free[0])
        _add(built, codeset, split, "base", free[0], (code,), "cms", f"base-{code}-{split}")


def _add_variants(
    codeset: CodeSet,
    code: str,
    variation: str,
    texts: list[Text],
    plan: Plan,
    pools: dict[str, dict[str, list[str]]],
    built: Built,
) -> None:
    """Add the texts of a code: test has its share first, then validation; at least one text stays in train."""
    wanted = plan.count_variants(variation)
    split_texts = _hold_out(texts, plan, variation, built.rejected)
    split_texts["train"] = split_texts["train"][: plan.train_variants.get(variation, 0)]
    built.short[variation] += sum(map(len, split_texts.values())) < wanted
    built.missing[variation] += wanted > 0 and not texts
    number = 0
    for split, held in split_texts.items():
        for text in held:
            # a frame such as `pt presents with …` is no item of a list
            if variation != "paraphrased":
                pools[split][code].append(text.text)
            _add(built, codeset, split, variation, text.text, (code,), text.source, f"{variation}-{code}-{number}")
            number += 1


def _hold_out(texts: list[Text], plan: Plan, variation: str, rejected: Counter[str]) -> dict[str, list[Text]]:
    """Return split to texts. What a held-out text says in the same words but for small ones is in no split."""
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.content, []).append(text)
    waiting = list(groups.values())
    held: dict[str, list[Text]] = {}
    for split, number in (("test", plan.test_variants), ("validation", plan.validation_variants)):
        number = min(number, max(0, len(waiting) - 1))
        held[split] = [group[0] for group in waiting[:number]]
        if alike := sum(len(group) - 1 for group in waiting[:number]):
            rejected[f"{variation}: differs from a held-out text in small words only"] += alike
        waiting = waiting[number:]
    return held | {"train": [text for group in waiting for text in group]}


def _add_joined(
    codeset: CodeSet,
    tabular: Tabular,
    codes: Sequence[str],
    plan: Plan,
    checks: RowChecks,
    pools: dict[str, dict[str, list[str]]],
    built: Built,
) -> None:
    """Add texts of several conditions, then notes."""
    taken = set(fold_titles(codeset))
    taken.update(fold_text(text) for by_code in pools.values() for pool in by_code.values() for text in pool)
    coded = [code for code in codes if not code.startswith(_UNCODED_IN_NOTES)]
    for scenario, joined_plan, drawn in (("multiple", plan.multiple, codes), ("note", plan.note, coded)):
        if not drawn or not any(map(joined_plan.count_rows, SPLITS)):
            continue
        patients = Patients(codeset, tabular, drawn, joined_plan)
        joiner = Joiner(scenario, codeset, patients, joined_plan, pools, plan.seed)
        for row in joiner.write_rows(taken, checks, plan.workers or count_cores(), built.rejected):
            name = f"{scenario}-{row.split}-{row.number}"
            _add(built, codeset, row.split, scenario, row.text, row.codes, f"rules:{scenario}", name)


def _add(
    built: Built, codeset: CodeSet, split: str, scenario: str, text: str, codes: tuple[str, ...], source: str, name: str
) -> None:
    built.examples[split].append(Example(name, scenario, text, codes, split, source, codeset.release))
