"""The words that a data set is written with: short forms and misspellings, the project's and those of the user's lists."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from data_gen.lexicon import Lexicon
from data_gen.misspellings import read_misspellings
from icd10cm.lexicon import read_abbreviations

if TYPE_CHECKING:
    from data_gen.plan import Plan

Severity = Literal["light", "usual", "heavy"]


class Words(NamedTuple):
    """What the variations of one data set write with.

    Attributes:
        lexicon: short forms.
        misspellings: word of a title, in lower case, to how people misspelt it.
        severity: how many slips a misspelt text has.
    """

    lexicon: Lexicon
    misspellings: Mapping[str, tuple[str, ...]]
    severity: Severity


@functools.cache
def read_own_words() -> Words:
    """Return the project's own words."""
    return Words(Lexicon(), {}, "usual")


def read_words_of(plan: Plan) -> Words:
    """Return the words of a plan, with those of its files.

    Raises:
        DataError: a file has a broken row; the message names the line.
    """
    lists = [read_abbreviations(path) for path in plan.abbreviation_files]
    lexicon = Lexicon(lists, plan.abbreviation_min_frequency) if lists else read_own_words().lexicon
    return Words(lexicon, read_misspellings(plan.misspelling_files), plan.typo_severity)
