"""Groups of examples or of codes that scores are broken down by.

Of codes (`chapter`, `code_frequency`) a group has both the right and the written codes of one kind: what was asked and what
was answered within it. Its examples are those with such a code, right or written. Of examples (`note_length`, `n_codes`,
`held_out`, the latter also for each scenario apart, and every other attribute) a group is scored as all of them are.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_gen.examples import SCENARIOS
from eval.predictions import Prediction
from eval.scoring.cases import Cases, find_rows, restrict
from icd10cm.errors import DataError

SMALL = 20
"""Groups of fewer examples are marked: their figures say little."""

MOST_VALUES = 30
"""Values of an attribute that are listed, the most frequent; the others are one group."""

LENGTHS = (100, 500, 2_000, 5_000, 10_000, 15_000)
N_CODES = (1, 2, 5, 10, 15, 20)
"""Upper ends of the groups of text lengths in characters, and of numbers of right codes; fixed, so that runs compare."""

RARE = 10
"""Most training examples of a rare code."""

_UNKNOWN, _REST = "not known", "all others"


class Group(NamedTuple):
    """A part of the cases.

    Attributes:
        label: its value of the dimension.
        cases: the part.
        rows: which examples it has, boolean, shape (n,).
    """

    label: str
    cases: Cases
    rows: np.ndarray


def list_groups(
    predictions: Sequence[Prediction], cases: Cases, trained: Mapping[str, int] | None = None
) -> dict[str, list[Group]]:
    """Return the groups of each dimension that there is, in a fixed order, those without an example left out.

    Args:
        predictions: what `cases` was built from, in its order.
        cases: the cases.
        trained: how many training examples each code has; without it nothing is broken down by frequency.
    """
    chapters = np.array([str(chapter) for chapter in cases.chapters], dtype=object)
    found = {"chapter": _split_codes(cases, chapters, list(map(str, range(1, 23))))}
    if trained is not None:
        counts = np.array([trained.get(name, 0) for name in cases.names])
        kinds = np.array([_name_frequency(count) for count in counts], dtype=object)
        found["code_frequency"] = _split_codes(cases, kinds, [_name_frequency(count) for count in (0, 1, RARE + 1)])
    if any(prediction.n_characters for prediction in predictions):
        labels = [_name_bin(p.n_characters, LENGTHS) if p.n_characters else _UNKNOWN for p in predictions]
        found["note_length"] = _split_rows(cases, labels, [*_list_bins(LENGTHS), _UNKNOWN])
    numbers = [_name_bin(len(set(prediction.codes)), N_CODES) for prediction in predictions]
    found["n_codes"] = _split_rows(cases, numbers, _list_bins(N_CODES))
    lacking = [dict(prediction.attributes).get("held_out", "") for prediction in predictions]
    if len(set(lacking) - {""}) > 1:
        labels = [f"{p.scenario}, {value or _UNKNOWN}" for p, value in zip(predictions, lacking, strict=True)]
        order = [f"{scenario}, {value}" for scenario in SCENARIOS for value in ("variant", "code", _UNKNOWN)]
        found["scenario_held_out"] = _split_rows(cases, labels, order)
    attributes = [dict(prediction.attributes) for prediction in predictions]
    names = sorted({name for values in attributes for name in values}, key=lambda name: (name != "held_out", name))
    for name in names:
        labels = _pool_rare([values.get(name, _UNKNOWN) for values in attributes])
        order = sorted(set(labels), key=lambda label: (label in (_UNKNOWN, _REST), label))
        found[f"{name} of the data" if name in found else name] = _split_rows(cases, labels, order)
    return found


def count_codes(path: Path) -> dict[str, int]:
    """Return how many examples of a data file have each code. Raises `DataError` when it cannot be read."""
    import duckdb

    reader = "read_json_auto" if path.suffix in (".jsonl", ".json") else "read_parquet"
    query = f"SELECT code, count(*) FROM (SELECT unnest(list_distinct(codes)) AS code FROM {reader}(?)) GROUP BY code"
    try:
        with duckdb.connect() as connection:
            return dict(connection.execute(query, [str(path)]).fetchall())
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: codes of the training data cannot be counted ({first}); give a train.parquet") from None


def _split_codes(cases: Cases, kinds: np.ndarray, order: Sequence[str]) -> list[Group]:
    """Return a group of codes for each kind of `order` that occurs, rankings left out."""
    groups = []
    for kind in order:
        codes = kinds == kind
        rows = find_rows(cases, codes)
        if rows.any():
            groups.append(Group(kind, restrict(cases._replace(ranks=None), rows, codes), rows))
    return groups


def _split_rows(cases: Cases, labels: Sequence[str], order: Sequence[str]) -> list[Group]:
    """Return a group of examples for each label of `order` that occurs."""
    found = np.array(labels, dtype=object)
    masks = {label: found == label for label in order}
    return [Group(label, restrict(cases, rows), rows) for label, rows in masks.items() if rows.any()]


def _pool_rare(labels: Sequence[str]) -> list[str]:
    """Return the labels, all but the `MOST_VALUES` most frequent ones made one."""
    counts = Counter(labels)
    kept = set(sorted(counts, key=lambda label: (-counts[label], label))[:MOST_VALUES])
    return [label if label in kept else _REST for label in labels]


def _name_frequency(count: int) -> str:
    return "unseen" if count == 0 else f"rare (1 to {RARE})" if count <= RARE else f"common (over {RARE})"


def _list_bins(ends: Sequence[int]) -> list[str]:
    return [*(_name_bin(end, ends) for end in ends), _name_bin(ends[-1] + 1, ends)]


def _name_bin(number: int, ends: Sequence[int]) -> str:
    """Return the name of the range that a number is in: `1`, `3 to 5`, `over 20`."""
    place = bisect.bisect_left(ends, number)
    if place == len(ends):
        return f"over {ends[-1]:,}"
    low = ends[place - 1] + 1 if place else 1
    return f"{low:,}" if low == ends[place] else f"{low:,} to {ends[place]:,}"
