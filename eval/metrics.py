"""Every metric as a function of weighted sums, with its definition.

>>> measure(count(build_cases(predictions)))["exact_match"]
0.923

Sets of codes, order ignored. A code that was written but is not billable counts as a wrong code and is never dropped, nor is
one that is right nowhere in the group (open set). A match needs a complete answer, so a truncated one never matches. micro
pools the counts of all codes; macro is the mean of the per-code values over the codes with a positive in the group (Edin et
al. 2023). CAML's macro F1, the harmonic mean of macro precision and macro recall, is another number and stands beside it.
A ratio without a denominator is 0. Ranked metrics: `eval.scoring.ranked`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eval.scoring.ranked import DEPTHS
from eval.scoring.tally import Sums, Tally, divide, weigh

Metric = Callable[[Sums], np.ndarray]


def _average(column: str) -> Metric:
    """Return the metric that is the mean of a column over the examples."""
    return lambda sums: sums.columns[column] / sums.n


def _count_errors(sums: Sums) -> np.ndarray:
    return sums.columns["missed"] + sums.columns["extra"]


METRICS: dict[str, Metric] = {
    "exact_match": _average("exact"),
    "category_match": _average("category"),
    "chapter_match": _average("chapter"),
    "micro_precision": lambda sums: divide(sums.columns["hits"], sums.columns["hits"] + sums.columns["extra"]),
    "micro_recall": lambda sums: divide(sums.columns["hits"], sums.columns["hits"] + sums.columns["missed"]),
    "micro_f1": lambda sums: divide(2 * sums.columns["hits"], 2 * sums.columns["hits"] + _count_errors(sums)),
    "macro_precision": lambda sums: sums.codes["precision"],
    "macro_recall": lambda sums: sums.codes["recall"],
    "macro_f1": lambda sums: sums.codes["f1"],
    "macro_f1_caml": lambda sums: divide(
        2 * sums.codes["precision"] * sums.codes["recall"], sums.codes["precision"] + sums.codes["recall"]
    ),
    "samples_f1": _average("samples_f1"),
    "jaccard": _average("jaccard"),
    "hamming_loss": lambda sums: divide(_count_errors(sums), sums.n * sums.n_codes),
    "invalid_rate": _average("refused"),
}
"""Metric to its function of weighted sums, shape (b,) each; one line adds a metric to every table."""

RANKED_METRICS: dict[str, Metric] = {
    **{f"precision_at_{k}": _average(f"precision_at_{k}") for k in DEPTHS},
    **{f"recall_at_{k}": _average(f"recall_at_{k}") for k in DEPTHS},
    "r_precision": _average("r_precision"),
    "map": _average("map"),
    "auc_micro": lambda sums: sums.areas["micro"],
    "auc_macro": lambda sums: sums.areas["macro"],
}
"""Likewise, for predictions with rankings."""


def list_metrics(tally: Tally) -> dict[str, Metric]:
    """Return the metrics that a tally has what they need for, in the order of every table."""
    ranked = {
        name: metric
        for name, metric in RANKED_METRICS.items()
        if (name.removeprefix("auc_") in tally.areas if name.startswith("auc_") else name in tally.names)
    }
    return {**METRICS, **ranked}


def measure_weighted(tally: Tally, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values of every metric under `weights` of the units, shape (b, units) to (b,) each."""
    sums = weigh(tally, weights)
    return {name: metric(sums) for name, metric in list_metrics(tally).items()}


def measure(tally: Tally) -> dict[str, float]:
    """Return the value of every metric."""
    return {name: float(values[0]) for name, values in measure_weighted(tally, np.ones((1, tally.n_units))).items()}
