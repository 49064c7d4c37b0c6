"""`dataset_card.md`: what is in a data set, how it was made, and what its scores can and cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data_gen.examples import SCENARIOS, SPLITS, Example
from data_gen.plan import Plan
from data_gen.variations import VARIATIONS
from icd10cm.codeset import CHAPTER_TITLES, CodeSet

if TYPE_CHECKING:
    from data_gen.build import Built

_CARD = """# Data set: clinical texts with ICD-10-CM codes

{n_codes:,} billable codes of release {release}, {n_rows:,} examples, seed {seed}. {authors}

## Rows

{rows}

## Variants

{coverage}

{prior}*short* codes have fewer texts than asked for, mostly one-word titles; *none* have no text of that kind.
{n_clipped:,} of the abbreviated texts are of titles without any entry in the lexicon: long words are clipped there
(`rules:clipped`), all others hold at least one short form of `icd10cm/lexicon.csv` or of the `abbreviation_files`.

## What a score on it means

- `base` asks for titles that training taught, in a letter case that training did not show. It measures **recall of the
  titles taught, not generalisation**.
- `reordered`, `abbreviated` and `typo` hold out *variants of codes seen in training*: no validation or test text occurs in
  train, compared without case, punctuation, extra white space and small words (of, with, in, due to …), and none is in both
  validation and test. The rules that wrote them are the same in all splits, so they say how well the model learned these
  rules, and little of how clinicians depart from them.
{unseen}- `paraphrased` puts a title or an inclusion term of the tabular list (`rules:inclusion_term`), or an entry of an index
  of CMS (`rules:index`), into the frames of a note, about half with something denied, ruled out or of a relative, which
  adds no code. A held-out text may share its title or term with a training text and differ in the frame. A model trained on
  these rows has seen inclusion terms: a test made of inclusion terms no longer measures what it has not seen.
- `mixed` misspells one to three words of an abbreviated (`rules:abbreviated+typo`) or a reordered text
  (`rules:reordered+typo`), never a short form. It is the hardest of the variants, and made by the same rules as they are.
- `multiple` joins two or more conditions; its members are titles or variants of the same split, so its test members
  other than titles are new as well. Codes are in the order written, not in the order of a coding guideline. {plausible}
- `note` are synthetic discharge summaries with the headings of MIMIC-IV notes. They train and test finding several codes
  in a long text beside distractors; they hold no clinical reasoning, and a score on them says nothing of real notes.
- No text stands for two codes: a text that is the title of another code or heading, or an inclusion term of another, or
  that another code also got, is thrown away.
- Every variant keeps the sides, digits, negations and encounter of its title and holds what its kind promises; what does
  not is thrown away and counted below.

## Thrown away

{rejected}

## Chapters

{chapters}

## Files

{files}

Licence: the titles are of the US government and in the public domain; {licence}
"""

_PRIOR = """Codes have more or fewer variants in train than asked for per code, by a prior: 'asked for' is the mean. """

_UNSEEN = """- Of {n_codes:,} *codes* train has the titles and no variant, nor any text of several conditions with one of
  them. Rows with such a code say `code` in the column `held_out` ({n_code:,} rows), all other rows of validation and
  test `variant` ({n_variant:,} rows). `code` asks whether a model can apply what it learned of variants to a title
  alone; siblings of the code, with the same words and another side or encounter, are mostly in train.
"""

_AUTHORS_RULES = """Every text was written by rules from the
CMS titles; no patient, no note and no language model was involved."""

_AUTHORS_MODEL = """The variants were written by the
language model {models} (`llm:` in the column `source`) from the CMS titles, and passed the same row checks as texts of the
rules; where this card speaks of rules, it was the model. What it wrote in vain lies in `rejected.jsonl` beside its answers."""

_LICENCE_RULES = "the variants come with the project's MIT licence."
_LICENCE_MODEL = "what may be done with the variants is in the terms of the model and of its provider."


_PLAUSIBLE = """One patient may
  have them all: no two of a category, no Excludes1 pair, one sex, ages, weeks of pregnancy and encounters that go together, no
  external cause first or without an injury. Which come together is drawn from `data_gen/comorbidity.csv`, a table of companions
  written for this project, or from a table of admissions, as often as `comorbidity` says; the rest are by the weights alone.
  How often conditions occur or come together in these rows is no estimate of how often they do in patients."""
_ANY = """They are
  drawn without regard to what one patient may have, except that no two are of one category."""


def build_card(codeset: CodeSet, codes: Sequence[str], plan: Plan, built: Built, hashes: Mapping[str, str]) -> str:
    """Return the card of a data set; the same data set has the same card."""
    sources = Counter(example.source for rows in built.examples.values() for example in rows)
    by_model = sorted(source.removeprefix("llm:") for source in sources if source.startswith("llm:"))
    return _CARD.format(
        authors=_AUTHORS_MODEL.format(models=", ".join(by_model)) if by_model else _AUTHORS_RULES,
        licence=_LICENCE_MODEL if by_model else _LICENCE_RULES,
        n_codes=len(codes),
        release=codeset.release,
        n_rows=sum(map(len, built.examples.values())),
        seed=plan.seed,
        rows=count_rows(built.examples),
        coverage=_list_coverage(len(codes), plan, built),
        n_clipped=sources["rules:clipped"],
        prior=_PRIOR if plan.prior.is_given else "",
        unseen=_describe_unseen(built),
        plausible=_PLAUSIBLE if plan.multiple.plausible else _ANY,
        rejected=build_table(("reason", "texts"), sorted(built.rejected.items())) if built.rejected.total() else "Nothing.",
        chapters=_count_chapters(codeset, codes, built.examples),
        files=build_table(("file", "sha256"), sorted(hashes.items())),
    )


def count_rows(examples: Mapping[str, Sequence[Example]]) -> str:
    """Return a table of rows per scenario and split."""
    counts = {split: Counter(example.scenario for example in examples[split]) for split in SPLITS}
    found = [scenario for scenario in SCENARIOS if any(counts[split][scenario] for split in SPLITS)]
    rows: list[tuple[str | int, ...]] = [(name, *(counts[split][name] for split in SPLITS)) for name in found]
    return build_table(("scenario", *SPLITS), [*rows, ("total", *(counts[split].total() for split in SPLITS))])


def _list_coverage(n_codes: int, plan: Plan, built: Built) -> str:
    rows: list[tuple[str | int, ...]] = [
        (name, plan.count_variants(name), n_codes - built.missing[name], built.short[name], built.missing[name])
        for name in VARIATIONS
        if plan.count_variants(name)
    ]
    return build_table(("variation", "asked for per code", "codes with any", "short", "none"), rows)


def _describe_unseen(built: Built) -> str:
    if not built.unseen:
        return ""
    held = [example for split in SPLITS[1:] for example in built.examples[split]]
    return _UNSEEN.format(
        n_codes=len(built.unseen),
        n_code=sum(example.held_out == "code" for example in held),
        n_variant=sum(example.held_out == "variant" for example in held),
    )


def _count_chapters(codeset: CodeSet, codes: Sequence[str], examples: Mapping[str, Sequence[Example]]) -> str:
    n_codes = Counter(codeset.chapter(code) for code in codes)
    n_rows = Counter(codeset.chapter(code) for rows in examples.values() for example in rows for code in example.codes)
    rows = [(f"{number} {CHAPTER_TITLES[number]}", n_codes[number], n_rows[number]) for number in sorted(n_codes)]
    return build_table(("chapter", "codes", "codes in rows"), rows)


def build_table(head: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Return a Markdown table; the first column is text, whole numbers get thousands separators."""
    lines = [head, ["---" if not place else "--:" for place, _ in enumerate(head)]]
    lines += [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
