"""How far the scores of codes can be trusted: reliability, its error, how much can be kept at 95 % accuracy.

A code's confidence is `exp(score)` of a log-probability, and the score itself of a share of samples, a cosine or a search.
What counts is every code that was written with a score: is it one of the right ones? Whole answers are looked at beside
them: confidence is the product of those of its codes, right is the exact match, and an answer without codes or that did not
come to its end has confidence 0, so that shares are of all examples.

ECE is the mean distance between confidence and accuracy over 15 bins of equal width, weighted by their size; `ece_mass` over
15 bins of equally many codes, equal confidences kept together. Both are 0 at best, and never quite 0 on few codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from eval.predictions import Prediction
from eval.scoring.cases import collect_written, number_units
from icd10cm.errors import DataError
from serving.coding.calibration import Curve, read_confidences

SOURCES = ("logprob", "sampling", "cosine", "search")
"""What a score can be, `score_source` of a predictions header."""

BINS = 15
TARGET = 0.95
_POINTS = 100
"""Most points of a curve that are kept."""
_Z = 1.959964
_NEARLY_0 = 1e-9

Calibrate = Callable[[np.ndarray], np.ndarray] | Curve


class Sure(NamedTuple):
    """Confidences and what came of them; arrays of shape (m,).

    Attributes:
        confidences: from 0 to 1.
        right: whether each was right.
        units: number of the patient, or of the example where patients are not known.
    """

    confidences: np.ndarray
    right: np.ndarray
    units: np.ndarray


def build_calibration(
    predictions: Sequence[Prediction],
    source: str,
    validation: Sequence[Prediction] | None = None,
    calibrator: str = "temperature",
) -> dict[str, Any] | None:
    """Return the figures of codes and answers, and those after a calibration fitted on `validation`; None without scores.

    Raises:
        DataError: `source` is none of `SOURCES`, or no code of `validation` has a score.
    """
    if source not in SOURCES:
        raise DataError(f"run.json: unknown score_source {source!r}; known: {', '.join(SOURCES)}")
    codes = collect_codes(predictions, source)
    if not len(codes.right):
        return None
    figures = {
        "score_source": source,
        "temperature": None,
        **describe(codes),
        "answers": describe(collect_answers(predictions, source)),
        "after": None,
    }
    if validation is None:
        return figures
    fitted = collect_codes(validation, source)
    if not len(fitted.right):
        raise DataError("the validation predictions have no scores, so nothing can be calibrated on them; leave them out")
    calibrate = CALIBRATORS[calibrator](fitted)
    after = codes._replace(confidences=calibrate(codes.confidences))
    figures["calibrator"], figures["temperature"] = calibrator, calibrate.parameters.get("temperature")
    answers = collect_answers(predictions, source, calibrate)
    figures["after"] = {**describe(after), "answers": describe(answers), "chosen_at_95": _apply_cut(fitted, codes)}
    return figures


def collect_codes(predictions: Sequence[Prediction], source: str) -> Sure:
    """Return how sure each written code was that has a score."""
    rows, scores, right = _list_scores(predictions)
    scored = ~np.isnan(scores)
    units = number_units([prediction.patient for prediction in predictions])
    return Sure(read_confidences(scores[scored], source), right[scored], units[rows[scored]])


def collect_answers(predictions: Sequence[Prediction], source: str, calibrate: Calibrate = np.asarray) -> Sure:
    """Return how sure each answer was, its codes' confidences put right by `calibrate` and multiplied."""
    rows, scores, _ = _list_scores(predictions)
    scored = ~np.isnan(scores)
    factors = np.zeros(len(scores))
    factors[scored] = calibrate(read_confidences(scores[scored], source))
    products = np.ones(len(predictions))
    np.multiply.at(products, rows, factors)
    complete = np.array([p.status == "ok" and bool(p.predicted) and not p.rejected for p in predictions])
    right = np.array([p.status == "ok" and collect_written(p) == set(p.codes) for p in predictions])
    return Sure(products * complete, right * 1.0, number_units([prediction.patient for prediction in predictions]))


def _list_scores(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each written code the number of its prediction, its score (NaN for none) and whether it is right."""
    found = [
        (row, np.nan if scored.score is None else scored.score, scored.code in prediction.codes)
        for row, prediction in enumerate(predictions)
        for scored in prediction.predicted
    ]
    rows, scores, right = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return rows.astype(np.int64), scores, right


def describe(sure: Sure) -> dict[str, Any]:
    """Return `n`, `ece`, `ece_mass`, `brier`, `bins`, `curve` and `coverage_at_95`."""
    order = np.lexsort((sure.right, sure.confidences))
    confidences = sure.confidences[order]
    first = np.searchsorted(confidences, confidences)
    by_mass = np.empty(len(order), dtype=np.int64)
    by_mass[order] = first * BINS // len(order)
    by_width = np.clip(np.ceil(sure.confidences * BINS).astype(np.int64) - 1, 0, BINS - 1)
    curve = trace_coverage(sure)
    kept = [point for point in curve if point["accuracy"] >= TARGET]
    return {
        "n": len(sure.right),
        "ece": find_ece(sure, by_width),
        "ece_mass": find_ece(sure, by_mass),
        "brier": _round(np.mean((sure.confidences - sure.right) ** 2)),
        "bins": [_describe_bin(sure, by_width == number, number) for number in np.unique(by_width)],
        "curve": _thin(curve, kept[-1:]),
        "coverage_at_95": kept[-1]["coverage"] if kept else 0.0,
    }


def find_ece(sure: Sure, bins: np.ndarray) -> float:
    """Return the expected calibration error over `bins`, the number of the bin of each, shape (m,)."""
    gaps = np.bincount(bins, sure.confidences) - np.bincount(bins, sure.right)
    return _round(np.abs(gaps).sum() / len(sure.right))


def trace_coverage(sure: Sure) -> list[dict[str, float]]:
    """Return for each confidence that occurs, highest first, the share kept from it on, its accuracy and the confidence."""
    order = np.argsort(-sure.confidences, kind="stable")
    confidences = sure.confidences[order]
    last = np.flatnonzero(np.diff(confidences, append=-1.0))
    rights = np.cumsum(sure.right[order])[last]
    return [
        {"coverage": _round((end + 1) / len(order)), "accuracy": _round(right / (end + 1)), "threshold": _round(confidence)}
        for end, right, confidence in zip(last.tolist(), rights.tolist(), confidences[last].tolist(), strict=True)
    ]


def fit_temperature(fitted: Sure) -> Curve:
    """Return `confidence ** (1 / T)` with the T of least log loss on `fitted`."""
    from scipy.optimize import minimize_scalar

    logs = np.log(np.clip(fitted.confidences, _NEARLY_0, 1 - _NEARLY_0))

    def measure_loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        missed = np.log(np.maximum(-np.expm1(scaled), _NEARLY_0))
        return -float(np.mean(np.where(fitted.right > 0, scaled, missed)))

    best = minimize_scalar(measure_loss, bounds=(-7, 7), method="bounded", options={"xatol": 1e-6})
    return Curve("temperature", {"temperature": round(float(np.exp(best.x)), 4)})


def fit_isotonic(fitted: Sure) -> Curve:
    """Return the increasing function nearest to `fitted`, straight lines between its points."""
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(fitted.confidences, fitted.right)
    return Curve("isotonic", {"raw": steps.X_thresholds_.tolist(), "right": steps.y_thresholds_.tolist()})


CALIBRATORS: dict[str, Callable[[Sure], Curve]] = {
    "temperature": fit_temperature,
    "isotonic": fit_isotonic,
}
"""Way of calibration to what fits it."""


def _apply_cut(fitted: Sure, codes: Sure) -> dict[str, float] | None:
    """Return what is kept, and how accurate it is, at the confidence that kept 95 % accuracy on `fitted`; None if none did."""
    kept = [point for point in trace_coverage(fitted) if point["accuracy"] >= TARGET]
    if not kept:
        return None
    threshold = kept[-1]["threshold"]
    chosen = codes.right[codes.confidences >= threshold - 10**-_DIGITS]
    accuracy = _round(chosen.mean()) if len(chosen) else 0.0
    return {"threshold": threshold, "coverage": _round(len(chosen) / len(codes.right)), "accuracy": accuracy}


def _describe_bin(sure: Sure, chosen: np.ndarray, number: int) -> dict[str, float]:
    right = sure.right[chosen]
    low, high = find_cluster_interval(right, sure.units[chosen])
    return {
        "low": _round(number / BINS),
        "high": _round((number + 1) / BINS),
        "mean_confidence": _round(sure.confidences[chosen].mean()),
        "accuracy": _round(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "n": len(right),
    }


def find_cluster_interval(right: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share whose cases come in units, with the number of cases that are worth one each.

    That number is the variance of the share were its cases independent over the variance between units, and at most the
    cases there are; where all cases are alike it is the number of units (Korn and Graubard 1998).
    """
    share, n = right.mean(), len(right)
    _, owners = np.unique(units, return_inverse=True)
    between = (np.bincount(owners, right - share) ** 2).sum() / n**2
    worth = min(n, share * (1 - share) / between) if between > 0 and 0 < share < 1 else float(owners.max() + 1)
    middle = (share + _Z**2 / (2 * worth)) / (1 + _Z**2 / worth)
    half = _Z * np.sqrt(share * (1 - share) / worth + _Z**2 / (4 * worth**2)) / (1 + _Z**2 / worth)
    return _round(max(middle - half, 0.0)), _round(min(middle + half, 1.0))


def _thin(curve: list[dict[str, float]], kept: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return at most about `_POINTS` points of a curve, its ends and those of `kept` among them."""
    places = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _POINTS)).round().astype(int))
    chosen = {point["coverage"]: point for point in [*(curve[place] for place in places), *kept]}
    return [chosen[coverage] for coverage in sorted(chosen)]


_DIGITS = 10


def _round(number: float) -> float:
    return round(float(number), _DIGITS)
