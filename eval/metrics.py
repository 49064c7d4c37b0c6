"""What is counted, and every metric as a function of the counts.

A metric is computed from *weighted* sums over examples: with all weights 1 it is the value, with the counts of a bootstrap
resample as weights it is that resample's value. One definition therefore serves both, many resamples at a time.

>>> tally = count(predictions)
>>> measure(tally)["exact_match"]
0.923

What is counted how: sets of codes, order ignored. A code that was written but is not billable counts as a wrong code and is
never dropped. Exact and category match need a complete answer, so a truncated one never matches. micro pools the counts of
all codes; macro is the mean of the per-code values over the codes with a positive in that split (Edin et al. 2023; not
CAML's harmonic mean of macro precision and macro recall). A ratio without a denominator is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eval.predictions import Prediction
from icd10cm.codeset import add_dot


class Tally(NamedTuple):
    """Counts of a list of `n` predictions, one row an example.

    Attributes:
        columns: name to float array of shape (n,): `exact`, `category`, `invalid` (0 or 1), and the numbers of codes that are
            right (`hits`), `written` and `true`.
        pairs: name (`hits`, `written`, `true`) to an int array of shape (2, m): example, code, for each code that was hit,
            written or true; codes are numbers below `n_codes`, codes that are true nowhere are left out.
        n_codes: number of distinct true codes.
    """

    columns: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray]
    n_codes: int


class Sums(NamedTuple):
    """Weighted sums of a `Tally` for `b` weightings.

    Attributes:
        n: sum of the weights, shape (b,).
        columns: as in `Tally`, shape (b,).
        codes: `hits`, `written`, `true` per code, shape (b, n_codes).
    """

    n: np.ndarray
    columns: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]


METRICS: dict[str, Callable[[Sums], np.ndarray]] = {
    "exact_match": lambda sums: sums.columns["exact"] / sums.n,
    "category_match": lambda sums: sums.columns["category"] / sums.n,
    "micro_precision": lambda sums: divide(sums.columns["hits"], sums.columns["written"]),
    "micro_recall": lambda sums: divide(sums.columns["hits"], sums.columns["true"]),
    "micro_f1": lambda sums: divide(2 * sums.columns["hits"], sums.columns["written"] + sums.columns["true"]),
    "macro_precision": lambda sums: average_codes(divide(sums.codes["hits"], sums.codes["written"]), sums),
    "macro_recall": lambda sums: average_codes(divide(sums.codes["hits"], sums.codes["true"]), sums),
    "macro_f1": lambda sums: average_codes(divide(2 * sums.codes["hits"], sums.codes["written"] + sums.codes["true"]), sums),
    "invalid_rate": lambda sums: sums.columns["invalid"] / sums.n,
}
"""Metric to its function of weighted sums, shape (b,) each; one line adds a metric to every table."""

COUNTED_STATUSES = ("unparsed", "error", "truncated")


def count(predictions: Sequence[Prediction]) -> Tally:
    """Count what was right, written and true in each of one or more predictions."""
    true_sets = [set(prediction.codes) for prediction in predictions]
    written_sets = [collect_written(prediction) for prediction in predictions]
    complete = [prediction.status == "ok" for prediction in predictions]
    columns = {
        "exact": [w == t and c for w, t, c in zip(written_sets, true_sets, complete, strict=True)],
        "category": [
            {code[:3] for code in w} == {code[:3] for code in t} and c
            for w, t, c in zip(written_sets, true_sets, complete, strict=True)
        ],
        "invalid": [bool(prediction.rejected) for prediction in predictions],
        "hits": [len(w & t) for w, t in zip(written_sets, true_sets, strict=True)],
        "written": [len(w) for w in written_sets],
        "true": [len(t) for t in true_sets],
    }
    numbers = {code: number for number, code in enumerate(sorted(set().union(*true_sets)))}
    pairs = {
        "hits": _list_pairs([w & t for w, t in zip(written_sets, true_sets, strict=True)], numbers),
        "written": _list_pairs(written_sets, numbers),
        "true": _list_pairs(true_sets, numbers),
    }
    return Tally({name: np.array(column, dtype=np.float64) for name, column in columns.items()}, pairs, len(numbers))


def collect_written(prediction: Prediction) -> set[str]:
    """Return the distinct codes of an answer, dotted: the billable ones and those that were rejected."""
    return {scored.code for scored in prediction.predicted} | {add_dot(text) for text in prediction.rejected}


def count_statuses(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Return `n_unparsed`, `n_error` and `n_truncated`."""
    return {f"n_{status}": sum(prediction.status == status for prediction in predictions) for status in COUNTED_STATUSES}


def weigh(tally: Tally, weights: np.ndarray) -> Sums:
    """Sum a tally under `weights`, shape (b, n)."""
    columns = {name: weights @ column for name, column in tally.columns.items()}
    codes = {name: _sum_codes(pairs, tally.n_codes, weights) for name, pairs in tally.pairs.items()}
    return Sums(weights.sum(axis=1), columns, codes)


def measure(tally: Tally) -> dict[str, float]:
    """Return the value of every metric."""
    sums = weigh(tally, np.ones((1, len(tally.columns["exact"]))))
    return {name: float(metric(sums)[0]) for name, metric in METRICS.items()}


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return `above / below`, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def average_codes(values: np.ndarray, sums: Sums) -> np.ndarray:
    """Return the mean of per-code `values`, shape (b, n_codes), over the codes with a positive."""
    positive = sums.codes["true"] > 0
    return divide((values * positive).sum(axis=1), positive.sum(axis=1).astype(np.float64))


def _list_pairs(code_sets: Sequence[set[str]], numbers: dict[str, int]) -> np.ndarray:
    """Return (example, code number) of each known code, shape (2, m), ordered by code, then example."""
    pairs = [(numbers[code], row) for row, codes in enumerate(code_sets) for code in codes if code in numbers]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T[::-1]


def _sum_codes(pairs: np.ndarray, n_codes: int, weights: np.ndarray) -> np.ndarray:
    """Return the weights of the examples of each code summed, shape (b, n_codes)."""
    rows, numbers = pairs
    present, starts = np.unique(numbers, return_index=True)
    sums = np.zeros((len(weights), n_codes))
    if len(present):
        sums[:, present] = np.add.reduceat(weights[:, rows], starts, axis=1)
    return sums
