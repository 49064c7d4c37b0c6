"""Metrics of rankings: what the first places hold, and areas under the ROC curve.

Places count as they stand in the ranking, the surest first. P@k divides by k, so that with fewer than k right codes it stays
below 1; average precision divides by the number of right codes, and a right code that is not ranked adds nothing to it.

Areas are over the codes with a positive in the group, every example a case of each: micro over all of these pairs at once,
macro the mean over the codes that have a negative, too. Scores decide, equal scores count half; the codes outside a ranking
share the last place, so that among them right and wrong are a coin toss. Areas are therefore low for short rankings.

An area is a mean over pairs of pairs, dear to compute for every resample. Resamples have its linear part instead: the value
and the influences of the units drawn, by which it differs from the whole in second order only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eval.scoring.cases import Cases

DEPTHS = (1, 5, 8, 15)
"""Numbers k of first places looked at."""


class Area(NamedTuple):
    """An area under the curve.

    Attributes:
        value: from 0 to 1.
        influences: how much one more of each unit changes it, shape (units,); they sum to 0.
    """

    value: float
    influences: np.ndarray


class _Pairs(NamedTuple):
    """Pairs of an example and a code that are ranked or right: number of the curve, unit, score, whether right; shape (m,)."""

    curves: np.ndarray
    units: np.ndarray
    scores: np.ndarray
    right: np.ndarray


def count_ranked(cases: Cases, right: np.ndarray) -> dict[str, np.ndarray]:
    """Return the ranked metrics of each example, shape (n,) each; `right` is how many right codes it has."""
    ranks = cases.ranks
    assert ranks is not None
    least_one = np.maximum(right, 1)

    def count_within(depth: np.ndarray | int) -> np.ndarray:
        limit = depth[ranks.rows] if isinstance(depth, np.ndarray) else depth
        return np.bincount(ranks.rows[ranks.right & (ranks.places <= limit)], minlength=cases.n) * 1.0

    so_far = np.concatenate([[0], np.cumsum(ranks.right)])
    before = so_far[np.arange(len(ranks.rows)) - (ranks.places - 1)]
    precisions = np.where(ranks.right, (so_far[1:] - before) / np.maximum(ranks.places, 1), 0.0)
    return {
        **{f"precision_at_{k}": count_within(k) / k for k in DEPTHS},
        **{f"recall_at_{k}": count_within(k) / least_one for k in DEPTHS},
        "r_precision": count_within(right) / least_one,
        "map": np.bincount(ranks.rows, precisions, cases.n) / least_one,
    }


def find_areas(cases: Cases, positive: np.ndarray) -> dict[str, Area]:
    """Return both areas over the codes `positive`; none without rankings or where a score is missing."""
    if cases.ranks is None or np.isnan(cases.ranks.scores).any():
        return {}
    pairs = _collect_pairs(cases, positive)
    examples = np.bincount(cases.units, minlength=cases.n_units) * 1.0
    return {
        "micro": _find_area(pairs._replace(curves=np.zeros_like(pairs.curves)), examples * len(positive), 1),
        "macro": _find_area(pairs, examples, len(positive)),
    }


def _collect_pairs(cases: Cases, positive: np.ndarray) -> _Pairs:
    """Return every ranked pair and every right one; unranked right pairs have the score -inf."""
    ranks = cases.ranks
    assert ranks is not None
    kept = np.isin(ranks.codes, positive)
    n_right = int(cases.right.sum())
    rows = np.concatenate([ranks.rows[kept], cases.rows[cases.right]])
    codes = np.concatenate([ranks.codes[kept], cases.codes[cases.right]])
    scores = np.concatenate([ranks.scores[kept], np.full(n_right, -np.inf)])
    right = np.concatenate([ranks.right[kept], np.ones(n_right, dtype=bool)])
    # a right pair that is ranked comes twice, with its score first
    _, first = np.unique(rows * len(cases.names) + codes, return_index=True)
    return _Pairs(np.searchsorted(positive, codes[first]), cases.units[rows[first]], scores[first], right[first])


def _find_area(pairs: _Pairs, sizes: np.ndarray, n_curves: int) -> Area:
    """Return the mean area of the curves that have both positives and negatives, 0 where none has.

    Args:
        pairs: ranked and right pairs; all other pairs are negatives that share the last place.
        sizes: pairs of each unit in a curve, shape (units,).
        n_curves: number of curves.
    """
    order = np.lexsort((-pairs.scores, pairs.curves))
    curves, units, scores, right = (array[order] for array in pairs)
    n_right = np.bincount(curves, right, n_curves)
    n_wrong = sizes.sum() - n_right
    unranked_wrong = n_wrong - np.bincount(curves, ~right, n_curves)
    first, last = _find_ties(curves, scores)
    starts = np.searchsorted(curves, np.arange(n_curves))
    wrongs, rights = (np.concatenate([[0], np.cumsum(kind)]) for kind in (~right, right))
    start = starts[curves]
    wrong_above, wrong_tied = wrongs[first] - wrongs[start], wrongs[last] - wrongs[first]
    wrong_tied = wrong_tied + np.where(scores == -np.inf, unranked_wrong[curves], 0)
    right_above, right_tied = rights[first] - rights[start], rights[last] - rights[first]
    least_right, least_wrong = np.maximum(n_right, 1), np.maximum(n_wrong, 1)
    # of a right pair, the share of wrong ones that it beats; of a wrong pair, the share of right ones that beat it
    shares = np.where(
        right,
        (n_wrong[curves] - wrong_above - wrong_tied / 2) / least_wrong[curves],
        (right_above + right_tied / 2) / least_right[curves],
    )
    values = np.bincount(curves, np.where(right, shares, 0), n_curves) / least_right
    counted = (n_right > 0) & (n_wrong > 0)
    unranked_right = np.bincount(curves, right & (scores == -np.inf), n_curves)
    beaten_last = (n_right - unranked_right / 2) / least_right
    of_unranked = np.where(counted, (beaten_last - values) / least_wrong, 0)
    least = np.where(right, least_right[curves], least_wrong[curves])
    of_pair = np.where(counted[curves], (shares - values[curves]) / least, 0)
    influences = sizes * of_unranked.sum() + np.bincount(units, of_pair - of_unranked[curves], len(sizes))
    n_counted = max(int(counted.sum()), 1)
    return Area(float(values[counted].sum()) / n_counted, influences / n_counted)


def _find_ties(curves: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place of the run of equal scores that each entry is in, and the one after its last."""
    differs = (np.diff(curves) != 0) | (scores[1:] != scores[:-1])
    begins = np.concatenate([[0], np.flatnonzero(differs) + 1]) if len(curves) else np.zeros(0, dtype=np.int64)
    run = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(curves)))
    return begins[run], np.append(begins[1:], len(curves))[run]
