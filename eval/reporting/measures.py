"""Every rate that the report shows: its name for a reader, what it means, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Measure(NamedTuple):
    """A rate.

    Attributes:
        name: what a reader calls it.
        text: its definition in a sentence or two.
        kind: `answers` (an answer is right or not), `codes` (counted over codes) or `ranking` (over the ranked codes).
        unit: `percent` or `plain`.
        less_is_better: whether the smallest value is the best.
    """

    name: str
    text: str
    kind: str
    unit: str = "percent"
    less_is_better: bool = False


MEASURES = {
    "exact_match": Measure(
        "exact match", "The answer is complete and its codes are exactly the right ones, in any order.", "answers"
    ),
    "category_match": Measure(
        "category match",
        "The answer is complete and its categories (first three characters) are exactly the right ones.",
        "answers",
    ),
    "chapter_match": Measure("chapter match", "The answer is complete and its chapters are exactly the right ones.", "answers"),
    "invalid_rate": Measure(
        "invalid",
        "Share of answers with at least one code that does not exist or cannot be submitted.",
        "answers",
        less_is_better=True,
    ),
    "micro_precision": Measure("micro precision", "Of all codes written, the share that is right.", "codes"),
    "micro_recall": Measure("micro recall", "Of all right codes, the share that was written.", "codes"),
    "micro_f1": Measure(
        "micro F1", "Harmonic mean of micro precision and micro recall: counts pooled over all codes.", "codes"
    ),
    "macro_precision": Measure(
        "macro precision", "Precision of each code, averaged over the codes that are right somewhere.", "codes"
    ),
    "macro_recall": Measure("macro recall", "Recall of each code, averaged over the codes that are right somewhere.", "codes"),
    "macro_f1": Measure(
        "macro F1",
        "F1 of each code, averaged over the codes that are right somewhere (the definition of Edin et al. 2023).",
        "codes",
    ),
    "macro_f1_caml": Measure(
        "macro F1 (CAML)", "Harmonic mean of macro precision and macro recall: another number under the same name.", "codes"
    ),
    "samples_f1": Measure("F1 by text", "F1 of each answer, averaged over the texts.", "codes"),
    "jaccard": Measure(
        "Jaccard", "Codes both right and written, of those that are either, text by text; averaged over the texts.", "codes"
    ),
    "hamming_loss": Measure(
        "Hamming loss",
        "Share of all cells (a text and a code that is right somewhere) in which right and written differ.",
        "codes",
        "plain",
        less_is_better=True,
    ),
    "r_precision": Measure(
        "R-precision", "Share of right codes among the first of the ranking, as many as there are right ones.", "ranking"
    ),
    "map": Measure("MAP", "Mean over the texts of the average precision down the ranking.", "ranking"),
    "auc_micro": Measure("AUC, micro", "Area under the ROC curve over all cells (a text, a code).", "ranking"),
    "auc_macro": Measure("AUC, macro", "The same for each code, averaged over the codes with a positive.", "ranking"),
}
"""Key of a rate in `scores.json` to what is said of it, in the order of every table."""

_AT_K = re.compile(r"(?:p|precision|r|recall)_at_(\d+)")


def describe_measure(key: str) -> Measure:
    """Return what is said of a rate; one that nobody described is shown under its key."""
    if key in MEASURES:
        return MEASURES[key]
    if found := _AT_K.fullmatch(key):
        k = int(found[1])
        first = "the first code" if k == 1 else f"the first {k} codes"
        if key.startswith("p"):
            return Measure(f"P@{k}", f"Share of right codes among {first} of the ranking.", "ranking")
        return Measure(f"R@{k}", f"Share of the right codes that are among {first} of the ranking.", "ranking")
    return Measure(key.replace("_", " "), "", "codes")


def list_measures(groups: Iterable[Mapping[str, Any] | None], kind: str | None = None) -> list[str]:
    """Return the keys of the rates that any of `groups` holds, in the order of every table; of one `kind` if given."""
    found = {key for group in groups if group for key, value in group.items() if is_rate(value)}
    known = [key for key in MEASURES if key in found]
    ranked = sorted((key for key in found if _AT_K.fullmatch(key)), key=lambda key: (key[0], int(key.rpartition("_")[2])))
    others = sorted(found - set(known) - set(ranked))
    first_ranked = next((place for place, key in enumerate(known) if MEASURES[key].kind == "ranking"), len(known))
    ordered = [*known[:first_ranked], *others, *ranked, *known[first_ranked:]]
    return [key for key in ordered if kind in (None, describe_measure(key).kind)]


def is_rate(value: Any) -> bool:
    """Whether a value of a group is a rate with its interval."""
    return isinstance(value, dict) and "value" in value and value["value"] is not None


def show_value(value: float, unit: str = "percent") -> str:
    """Return a rate as the tables write it: percent with one digit, or a plain number with three that count."""
    return f"{100 * value:.1f}" if unit == "percent" else f"{value:.3g}"
