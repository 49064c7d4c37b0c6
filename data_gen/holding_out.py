"""What training never sees: some variants of every code, and every variant of some codes.

A held-out text of a code whose other variants are in train asks whether a model learned the code's variants; one of a code
without any variant in train asks whether it learned how variants are made. Both kinds are labelled: `Example.held_out`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from data_gen.checks import PLAIN_NAME
from data_gen.plan import Plan

if TYPE_CHECKING:
    from data_gen.writing import Text

HeldOut = Literal["", "variant", "code"]
"""Nothing (a row of train), the variant only, or every variant of one of its codes."""


def choose_unseen(codes: Iterable[str], plan: Plan) -> frozenset[str]:
    """Return the codes whose variants are all kept from train; which they are depends on the seed and the code alone."""
    share = plan.held_out_codes
    if not share:
        return frozenset()
    return frozenset(code for code in codes if random.Random(f"{plan.seed}:held_out:{code}").random() < share)


def label_row(split: str, codes: Iterable[str], unseen: frozenset[str]) -> HeldOut:
    """Return how a row with these codes is held out."""
    if split == "train":
        return ""
    return "code" if any(code in unseen for code in codes) else "variant"


def split_texts(
    texts: Sequence[Text], plan: Plan, n_train: int, variation: str, rejected: Counter[str]
) -> dict[str, list[Text]]:
    """Return split to the texts of one code and variation: test has its share first, then validation, then train.

    What a held-out text says in the same words but for small ones is in no split. One text at least stays in train, unless
    `n_train` is 0. Plain names are taught as titles are: they stay in train, beside the `n_train`.
    """
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.content, []).append(text)
    plain: list[list[Text]] = []
    waiting: list[list[Text]] = []
    for group in groups.values():
        (plain if n_train and any(text.source == PLAIN_NAME for text in group) else waiting).append(group)
    held: dict[str, list[Text]] = {}
    for split, number in (("test", plan.test_variants), ("validation", plan.validation_variants)):
        number = min(number, max(0, len(waiting) - (n_train > 0 and not plain)))
        held[split] = [group[0] for group in waiting[:number]]
        if alike := sum(len(group) - 1 for group in waiting[:number]):
            rejected[f"{variation}: differs from a held-out text in small words only"] += alike
        waiting = waiting[number:]
    named, others = ([text for group in groups for text in group] for groups in (plain, waiting))
    return held | {"train": [*named, *others[:n_train]]}
