"""The examples of one data set: titles, their variants split so that test texts are new, and texts of several conditions.

Each variant comes from a random generator of its own (seed, variation, code), so a code's texts do not depend on which
other codes are in the slice, nor on their order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data_gen.casing import cap_headline, cap_words
from data_gen.examples import SPLITS, Example
from data_gen.folding import fold_text, list_content_words
from data_gen.lexicon import find_short_forms
from data_gen.plan import MultiplePlan, Plan
from data_gen.variations import VARIATIONS
from data_gen.variations.multiple import join_texts
from icd10cm.codeset import CodeSet

_MOST_MISSES = 50
_MULTIPLE_ATTEMPTS = 6


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


def build_examples(codeset: CodeSet, codes: Sequence[str], plan: Plan, progress: Iterable[str] | None = None) -> Built:
    """Return every example of the plan.

    Args:
        codeset: the release; no text may be the title of another of its codes.
        codes: the billable codes to write examples of.
        plan: how many of what, and the seed.
        progress: `codes` wrapped in a progress bar, if one is wanted.
    """
    built = Built({split: [] for split in SPLITS}, Counter(), Counter(), Counter())
    titles = fold_titles(codeset)
    written = _write_variants(codeset, progress or codes, plan, titles, built)
    _drop_ambiguous(written, built.rejected)
    pools = {split: {code: [codeset.title(code)] for code in codes} for split in SPLITS}
    for code in codes:
        _add_titles(codeset, code, built)
    for variation in VARIATIONS:
        for code in codes:
            _add_variants(codeset, code, variation, written[variation][code], plan, pools, built)
    _add_multiple(codeset, codes, plan, titles, pools, built)
    return built


def fold_titles(codeset: CodeSet) -> dict[str, str]:
    """Return folded title to code, for every billable code; two codes with one folded title give an empty code."""
    titles: dict[str, str] = {}
    for code in codeset.codes:
        folded = fold_text(codeset.title(code))
        titles[folded] = "" if folded in titles else code
    return titles


def _write_variants(
    codeset: CodeSet, codes: Iterable[str], plan: Plan, titles: dict[str, str], built: Built
) -> dict[str, dict[str, list[Text]]]:
    """Return variation -> code -> distinct texts, none of them a title of the release."""
    written: dict[str, dict[str, list[Text]]] = {variation: {} for variation in VARIATIONS}
    for code in codes:
        title = codeset.title(code)
        known = {_join_content(title)}
        for variation in VARIATIONS:
            texts = _write_texts(title, code, variation, plan, titles, known, built.rejected)
            known.update(text.content for text in texts)
            written[variation][code] = texts
    return written


def _write_texts(
    title: str, code: str, variation: str, plan: Plan, titles: dict[str, str], known: set[str], rejected: Counter[str]
) -> list[Text]:
    """Return distinct texts of one code and variation, enough for every split, with content words not `known` of the code."""
    n_train, n_held = plan.train_variants.get(variation, 0), plan.count_held_out()
    rng = random.Random(f"{plan.seed}:{variation}:{code}")
    vary, source = VARIATIONS[variation], _name_source(variation, title)
    texts: dict[str, Text] = {}
    held: set[str] = set()
    misses = trained = 0
    while misses < _MOST_MISSES and trained < n_train:
        misses += 1
        text = vary(title, rng)
        folded = fold_text(text) if text else ""
        if text is None or folded in texts:
            continue
        content = _join_content(text)
        if content in known:
            continue
        if folded in titles:
            rejected["is the title of another code"] += 1
            continue
        texts[folded] = Text(text, folded, content, source)
        misses = 0
        if len(held) < n_held:
            held.add(content)
        trained += content not in held
    return list(texts.values())


def _join_content(text: str) -> str:
    return " ".join(list_content_words(text))


def _name_source(variation: str, title: str) -> str:
    """Return `rules:clipped` for an abbreviated text whose title has no entry in the lexicon, else the variation's name."""
    clipped = variation == "abbreviated" and not find_short_forms(title)
    return "rules:clipped" if clipped else f"rules:{variation}"


def _drop_ambiguous(written: dict[str, dict[str, list[Text]]], rejected: Counter[str]) -> None:
    """Remove every text that was also written for another code, on all sides."""
    owners: dict[str, str] = {}
    ambiguous: set[str] = set()
    for by_code in written.values():
        for code, texts in by_code.items():
            for text in texts:
                if owners.setdefault(text.folded, code) != code:
                    ambiguous.add(text.folded)
    for by_code in written.values():
        for code, texts in by_code.items():
            kept = [text for text in texts if text.folded not in ambiguous]
            rejected["is also a text of another code"] += len(texts) - len(kept)
            by_code[code] = kept


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
            built.rejected[f"base {split}: every letter case is in another split"] += 1
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
    split_texts = _hold_out(texts, plan, built.rejected)
    split_texts["train"] = split_texts["train"][: plan.train_variants.get(variation, 0)]
    built.short[variation] += sum(map(len, split_texts.values())) < wanted
    built.missing[variation] += wanted > 0 and not texts
    number = 0
    for split, held in split_texts.items():
        for text in held:
            pools[split][code].append(text.text)
            _add(built, codeset, split, variation, text.text, (code,), text.source, f"{variation}-{code}-{number}")
            number += 1


def _hold_out(texts: list[Text], plan: Plan, rejected: Counter[str]) -> dict[str, list[Text]]:
    """Return split to texts. What a held-out text says in the same words but for small ones is in no split."""
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.content, []).append(text)
    waiting = list(groups.values())
    held: dict[str, list[Text]] = {}
    for split, number in (("test", plan.test_variants), ("validation", plan.validation_variants)):
        number = min(number, max(0, len(waiting) - 1))
        held[split] = [group[0] for group in waiting[:number]]
        rejected["differs from a held-out text in small words only"] += sum(len(group) - 1 for group in waiting[:number])
        waiting = waiting[number:]
    return held | {"train": [text for group in waiting for text in group]}


def _add_multiple(
    codeset: CodeSet,
    codes: Sequence[str],
    plan: Plan,
    titles: dict[str, str],
    pools: dict[str, dict[str, list[str]]],
    built: Built,
) -> None:
    """Add texts of several conditions; a member is a title or a variant of the same split."""
    taken = set(titles)
    taken.update(fold_text(text) for by_code in pools.values() for pool in by_code.values() for text in pool)
    for split in ("test", "validation", "train"):
        for number in range(plan.multiple.count_rows(split)):
            rng = random.Random(f"{plan.seed}:multiple:{split}:{number}")
            for _ in range(_MULTIPLE_ATTEMPTS):
                chosen = _choose_codes(codeset, codes, plan.multiple, rng)
                text = join_texts([_choose_member(pools[split][code], rng) for code in chosen], rng)
                folded = fold_text(text)
                if folded not in taken:
                    break
                built.rejected["multiple: is another row's text"] += 1
            else:
                continue
            taken.add(folded)
            _add(built, codeset, split, "multiple", text, chosen, "rules:multiple", f"multiple-{split}-{number}")


def _choose_codes(codeset: CodeSet, codes: Sequence[str], multiple: MultiplePlan, rng: random.Random) -> tuple[str, ...]:
    """Return codes of different categories, as many as the slice has when it has too few."""
    wanted = rng.randint(multiple.min_conditions, multiple.max_conditions)
    chosen: dict[str, str] = {}
    for _ in range(wanted * 10):
        code = rng.choice(codes)
        chosen.setdefault(codeset.category(code), code)
        if len(chosen) == wanted:
            break
    return tuple(chosen.values())


def _choose_member(pool: Sequence[str], rng: random.Random) -> str:
    """Return the title, in lower case most of the time, or one of the split's variants."""
    if len(pool) > 1 and rng.random() < 0.6:
        return rng.choice(pool[1:])
    return pool[0].lower() if rng.random() < 0.7 else pool[0]


def _add(
    built: Built, codeset: CodeSet, split: str, scenario: str, text: str, codes: tuple[str, ...], source: str, name: str
) -> None:
    built.examples[split].append(Example(name, scenario, text, codes, split, source, codeset.release))
