"""Counts of cases, and their sums under weights: what every metric is a function of.

With all weights 1 a metric of the sums is its value, with the counts of a bootstrap resample as weights it is that resample's
value. One definition therefore serves both, many resamples at a time: a resample is a row of a matrix of weights, and all sums
are products of that matrix with what was counted once.

>>> sums = weigh(count(cases), weights)
>>> sums.columns["exact"] / sums.n
array([0.923, 0.918, ...])
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from eval.scoring.cases import Cases
from eval.scoring.ranked import Area, count_ranked, find_areas


class Tally(NamedTuple):
    """What was counted, a row or column for each unit that a resample draws.

    Attributes:
        names: names of the columns.
        columns: sums over the examples of each unit, shape (units, len(names)).
        codes: `hits`, `missed` and `extra` (written, not right) of each code with a positive: how often per unit, sparse,
            shape (codes, units).
        areas: areas under the curve by name; empty without scored rankings.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    codes: dict[str, Any]
    areas: dict[str, Area]

    @property
    def n_units(self) -> int:
        """Number of units that a resample draws from."""
        return len(self.columns)

    @property
    def widest(self) -> int:
        """Most numbers that a single weighting needs at a time."""
        return max(self.codes["hits"].shape)


class Sums(NamedTuple):
    """Weighted sums of a `Tally` for `b` weightings, shape (b,) each.

    Attributes:
        n: number of examples.
        columns: sums by name.
        codes: `precision`, `recall` and `f1`, the means over the codes with a positive.
        n_codes: number of codes with a positive in the whole group, whatever the weights.
        areas: areas under the curve by name.
    """

    n: np.ndarray
    columns: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]
    n_codes: int
    areas: dict[str, np.ndarray]


def count(cases: Cases, areas: bool = True) -> Tally:
    """Count what was right, written and ranked in one or more cases; areas under the curve only where they are wanted."""
    sets = {"hits": cases.right & cases.written, "missed": cases.right & ~cases.written, "extra": cases.written & ~cases.right}
    hits, missed, extra = (np.bincount(cases.rows[chosen], minlength=cases.n) * 1.0 for chosen in sets.values())
    columns = {
        "n": np.ones(cases.n),
        "exact": (missed + extra == 0) & cases.complete,
        "category": _agree(cases, cases.categories[cases.codes]) & cases.complete,
        "chapter": _agree(cases, cases.chapters[cases.codes]) & cases.complete,
        "refused": cases.refused,
        "hits": hits,
        "missed": missed,
        "extra": extra,
        "jaccard": divide(hits, hits + missed + extra),
        "samples_f1": divide(2 * hits, 2 * hits + missed + extra),
        **(count_ranked(cases, hits + missed) if cases.ranks else {}),
    }
    sums = [np.bincount(cases.units, column, cases.n_units) for column in columns.values()]
    positive = np.unique(cases.codes[cases.right])
    return Tally(
        names=tuple(columns),
        columns=np.stack(sums, axis=1),
        codes={name: _spread_codes(cases, chosen, positive) for name, chosen in sets.items()},
        areas=find_areas(cases, positive) if areas else {},
    )


def weigh(tally: Tally, weights: np.ndarray) -> Sums:
    """Sum a tally under `weights` of its units, whole numbers, shape (b, units)."""
    exact = weights.astype(np.float64)
    columns = dict(zip(tally.names, (exact @ tally.columns).T, strict=True))
    turned = np.ascontiguousarray(weights.T)
    hits, missed, extra = (tally.codes[name] @ turned for name in ("hits", "missed", "extra"))
    areas = {name: area.value + exact @ area.influences for name, area in tally.areas.items()}
    return Sums(columns["n"], columns, _average_codes(hits, missed, extra), len(hits), areas)


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return `above / below`, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


def _average_codes(hits: np.ndarray, missed: np.ndarray, extra: np.ndarray) -> dict[str, np.ndarray]:
    """Return the means over the codes that have a positive, shape (codes, b) to (b,).

    A code without one has no hits, so that it adds nothing to a sum; counts are whole, so that at least 1 stands for 0 below.
    """
    right = hits + missed
    n_positive = np.maximum(np.count_nonzero(right, axis=0), 1)
    written = hits + extra
    ratios = {
        "precision": hits / np.maximum(written, 1),
        "recall": hits / np.maximum(right, 1),
        "f1": 2 * hits / np.maximum(right + written, 1),
    }
    return {name: ratio.sum(axis=0, dtype=np.float64) / n_positive for name, ratio in ratios.items()}


def _agree(cases: Cases, groups: np.ndarray) -> np.ndarray:
    """Return whether the right and the written codes of each example are of exactly the same groups, shape (n,)."""
    width = int(groups.max(initial=0)) + 1
    pairs, inverse = np.unique(cases.rows * width + groups, return_inverse=True)
    right, written = (np.bincount(inverse[chosen], minlength=len(pairs)) > 0 for chosen in (cases.right, cases.written))
    return np.bincount(pairs[right != written] // width, minlength=cases.n) == 0


def _spread_codes(cases: Cases, chosen: np.ndarray, positive: np.ndarray) -> Any:
    """Return how often each code of `positive` is among the chosen pairs of each unit, sparse, shape (codes, units)."""
    from scipy.sparse import csr_array

    kept = chosen & np.isin(cases.codes, positive)
    places = np.searchsorted(positive, cases.codes[kept]), cases.units[cases.rows[kept]]
    return csr_array((np.ones(kept.sum(), dtype=np.float32), places), shape=(len(positive), cases.n_units))
