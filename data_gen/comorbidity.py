"""What usually occurs together: categories and their companions, from a table of this project or from real admissions.

`comorbidity.csv` was written for this project from general clinical knowledge; no data set is behind it. A weight
of 5 is a companion that most such patients have, 1 one that is no surprise. A row counts in both directions.
"""

from __future__ import annotations

import csv
import functools
import itertools
import random
from collections.abc import Collection, Iterable
from pathlib import Path

from data_gen.admissions import read_admissions

COMORBIDITY_FILE = Path(__file__).with_name("comorbidity.csv")


class Companions:
    """Draws a category that usually comes with another.

    Args:
        pairs: two categories and how usual it is that they come together.
        known: the categories to draw; pairs with others are ignored.
    """

    def __init__(self, pairs: Iterable[tuple[str, str, float]], known: Collection[str]) -> None:
        found: dict[str, dict[str, float]] = {}
        for one, other, weight in pairs:
            if one in known and other in known:
                found.setdefault(one, {})[other] = found.setdefault(other, {})[one] = weight
        self._companions = {
            category: (list(weights), list(itertools.accumulate(weights.values()))) for category, weights in found.items()
        }

    def draw(self, category: str, rng: random.Random) -> str | None:
        """Return a companion of a category, the usual ones more often; None when it has none."""
        found = self._companions.get(category)
        return rng.choices(found[0], cum_weights=found[1])[0] if found else None


def build_companions(diagnoses_file: Path | None, known: Collection[str]) -> Companions:
    """Return the companions among `known` by the admissions of `diagnoses_file`, by the table when it is None.

    Raises:
        DataError: the file cannot be used.
    """
    if diagnoses_file is None:
        return Companions(read_table(), known)
    pairs = read_admissions(diagnoses_file).pairs
    # sorted: how the rows of the file are ordered does not change what is drawn
    return Companions(((one, other, number) for (one, other), number in sorted(pairs.items())), known)


@functools.cache
def read_table() -> tuple[tuple[str, str, float], ...]:
    """Return the rows of `comorbidity.csv`: two categories, and a weight of 1 to 5."""
    with COMORBIDITY_FILE.open(encoding="utf-8", newline="") as file:
        return tuple((one, other, float(weight)) for one, other, weight in list(csv.reader(file))[1:])
