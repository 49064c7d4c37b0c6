"""The ways in which one title is rewritten: one file each, one line in `VARIATIONS`."""

from __future__ import annotations

import random
from collections.abc import Callable

from data_gen.variations import abbreviated, paraphrased, reordered, typo

Variation = Callable[[str, random.Random], str | None]
"""One attempt: a title to a variant of it, or None when there is nothing to do."""

VARIATIONS: dict[str, Variation] = {
    "reordered": reordered.vary,
    "abbreviated": abbreviated.vary,
    "typo": typo.vary,
    "paraphrased": paraphrased.vary,
}
