"""Which calibrator, and from which confidence on: chosen on validation codes, each judged by a fit that did not see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval.scoring.calibration import CALIBRATORS, Sure, trace_coverage
from icd10cm.errors import DataError
from serving.coding.calibration import Curve

FOLDS = 5
_NEARLY_0 = 1e-6


class Fit(NamedTuple):
    """A calibration.

    Attributes:
        curve: fitted on all.
        held_out: the confidences put right by fits on the other folds, shape (m,).
        log_losses: mean log loss of each calibrator, by fits on the other folds.
    """

    curve: Curve
    held_out: np.ndarray
    log_losses: dict[str, float]


class Cut(NamedTuple):
    """A least confidence, the share of codes that reach it, and how many of these are right."""

    threshold: float
    coverage: float
    accuracy: float


def choose_calibrator(sure: Sure, names: Sequence[str], seed: int = 0) -> Fit:
    """Return the calibrator of least log loss under cross-validation, fitted on everything.

    Args:
        sure: validation codes; those of one patient stay in one fold.
        names: keys of `eval.scoring.calibration.CALIBRATORS`.
        seed: of the folds.

    Raises:
        DataError: there are too few examples.
    """
    units = np.unique(sure.units)
    if len(units) < 2 * FOLDS:
        raise DataError(f"{len(units):,} examples with a code are too few to calibrate on; predict more validation examples")
    folds = np.random.default_rng(seed).permutation(len(units))[np.searchsorted(units, sure.units)] % FOLDS
    held_out = {name: _predict_held_out(sure, folds, name) for name in names}
    losses = {name: round(find_log_loss(confidences, sure.right), 6) for name, confidences in held_out.items()}
    best = min(names, key=losses.__getitem__)
    return Fit(CALIBRATORS[best](sure), held_out[best], losses)


def find_log_loss(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return the mean log loss of confidences, both of shape (m,)."""
    kept = np.clip(confidences, _NEARLY_0, 1 - _NEARLY_0)
    return float(-np.mean(np.where(right > 0, np.log(kept), np.log(1 - kept))))


def choose_cut(sure: Sure, target: float) -> Cut:
    """Return the least confidence from which at least `target` of the codes are right; 1, and no code, where there is none."""
    kept = [point for point in trace_coverage(sure) if point["accuracy"] >= target]
    return Cut(kept[-1]["threshold"], kept[-1]["coverage"], kept[-1]["accuracy"]) if kept else Cut(1.0, 0.0, 0.0)


def _predict_held_out(sure: Sure, folds: np.ndarray, name: str) -> np.ndarray:
    found = np.empty_like(sure.confidences)
    for fold in range(FOLDS):
        others = Sure(*(array[folds != fold] for array in sure))
        found[folds == fold] = CALIBRATORS[name](others)(sure.confidences[folds == fold])
    return found
