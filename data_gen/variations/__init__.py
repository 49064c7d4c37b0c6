"""The ways in which one title is rewritten: one file each, one line in `VARIATIONS`."""

from __future__ import annotations

import random
from typing import Protocol

from data_gen.variations import abbreviated, mixed, paraphrased, reordered, typo
from data_gen.words import Words


class Variation(Protocol):
    """One attempt: a title to a variant of it, or None when there is nothing to do."""

    def __call__(self, title: str, rng: random.Random, words: Words | None = None) -> str | None:
        """Return a variant written with `words`, the project's own when omitted."""


VARIATIONS: dict[str, Variation] = {
    "reordered": reordered.vary,
    "abbreviated": abbreviated.vary,
    "typo": typo.vary,
    "paraphrased": paraphrased.vary,
    "mixed": mixed.vary,
}
