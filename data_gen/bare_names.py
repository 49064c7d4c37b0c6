"""What a code is called when nothing more is said: `heart failure` is I50.9, `gout` M10.9, `hypertension` I10.

The Alphabetic Index sends a bare term to the code that leaves open what the term does not say. So `unspecified`, `NOS`,
`uncomplicated` and non-essential modifiers in brackets are dropped from a title or an inclusion term, if what is left means no
other code; the title of a heading above the code is what the bare term is meant to be. `bare_names.csv`, written for this
project from the conventions of the index, has the usual ones that no title or term holds.

>>> list_bare_names("Pneumonia, unspecified organism")
['Pneumonia']
>>> list_bare_names("hypertension (arterial) (benign) (essential)")
['hypertension']
"""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

BARE_NAMES_FILE = Path(__file__).with_name("bare_names.csv")

_OPEN = re.compile(
    r"(?:, | of )(?:unspecified(?: [a-z]+){0,2}|(?:[a-z]+ )?not (?:otherwise )?specified)$|,? NOS$|, uncomplicated$"
    r"| without (?:mention of )?complications?$"
)
_FIRST = re.compile(r"^Unspecified (?=[a-z])")
_BRACKETS = re.compile(r" \([^()]*\)(?! [A-Z])")
_FEWEST_LETTERS = 4


def list_bare_names(name: str) -> list[str]:
    """Return a title or term without what says that something is left open: step by step, the barest last; none as it is."""
    found: list[str] = []
    while True:
        barer = _OPEN.sub("", name)
        barer = _FIRST.sub("", barer) if barer == name else barer
        barer = " ".join(_BRACKETS.sub("", barer).split()) if barer == name else barer
        if barer == name or sum(map(str.isalpha, barer)) < _FEWEST_LETTERS:
            return found
        name = barer
        found.append(name)


@functools.cache
def read_bare_names() -> tuple[tuple[str, str], ...]:
    """Return the rows of `bare_names.csv`: code and name."""
    with BARE_NAMES_FILE.open(encoding="utf-8", newline="") as file:
        return tuple((code, name) for code, name in list(csv.reader(file))[1:])
