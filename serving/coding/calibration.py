"""Confidence: from the score of a code to how probably it is right, as `icdtune calibrate` measured it on validation.

A raw confidence is the exponential of the mean log-probability of a code's tokens. `calibration.json` in the checkpoint's
folder says how to put it right, for these weights and no others, and from which confidence on as many codes are right as
were wanted (`threshold`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icd10cm.errors import DataError

CALIBRATION_FILE = "calibration.json"
SCHEMA_VERSION = 1
SOURCE = "logprob"
"""The kind of score that is calibrated here."""

_DIGITS = 4
_BELOW_1 = 1 - 1e-9
_NUMBERS = ("threshold", "target_accuracy", "coverage", "accuracy")


class Curve(NamedTuple):
    """A non-decreasing map of confidences.

    Attributes:
        calibrator: `temperature` (`confidence ** (1 / temperature)`), or `isotonic` (straight lines between points).
        parameters: `temperature`; or `raw` and `right`, the points.
    """

    calibrator: str
    parameters: Mapping[str, Any]

    def __call__(self, confidences: np.ndarray) -> np.ndarray:
        """Return the calibrated confidences, shape as `confidences`."""
        if self.calibrator == "temperature":
            return np.clip(confidences, 0.0, _BELOW_1) ** (1 / self.parameters["temperature"])
        return np.interp(confidences, self.parameters["raw"], self.parameters["right"])


class Calibration(NamedTuple):
    """What `calibration.json` says.

    Attributes:
        curve: puts raw confidences right.
        threshold: calibrated confidence from which `accuracy` of the validation codes were right.
        model_sha256: of the weights it is for.
        content: everything else the file says.
    """

    curve: Curve
    threshold: float
    model_sha256: str | None
    content: Mapping[str, Any]


def read_confidences(scores: np.ndarray, source: str) -> np.ndarray:
    """Return the confidences, from 0 to 1, that scores stand for, shape as `scores`."""
    return np.exp(np.minimum(scores, 0.0)) if source == SOURCE else np.clip(scores, 0.0, 1.0)


def round_confidences(confidences: np.ndarray) -> np.ndarray:
    """Return confidences as they are shown and compared with a threshold."""
    return np.round(confidences, _DIGITS)


def find_confidence(score: float | None, calibration: Calibration | None) -> float | None:
    """Return how probably a code is right whose tokens have the mean log-probability `score`; None where it is not known."""
    if score is None or not math.isfinite(score):
        return None
    raw = read_confidences(np.array([score]), SOURCE)
    return float(round_confidences(calibration.curve(raw) if calibration else raw)[0])


def parse_calibration(content: Any, sha256: str | None, source: str | Path) -> Calibration:
    """Return the calibration in the content of a `calibration.json`.

    Args:
        content: the JSON object.
        sha256: of the weights that it is to be used with; None where they are not known, so that nothing is compared.
        source: where it is from, for the error.

    Raises:
        DataError: it is broken, of another schema version, of other weights or for another kind of score.
    """
    remedy = "calibrate this model with `icdtune calibrate`"
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != SCHEMA_VERSION:
        raise DataError(f"{source}: no calibration of schema version {SCHEMA_VERSION}, it says {found}; {remedy}")
    if content.get("score_source") != SOURCE:
        raise DataError(f"{source}: calibrates scores of another kind ({content.get('score_source')}, not {SOURCE}); {remedy}")
    curve = Curve(str(content.get("calibrator")), content.get("parameters") or {})
    if problem := _find_problem(curve) or next(
        (f"{key} is no share" for key in _NUMBERS if not _is_share(content.get(key))), ""
    ):
        raise DataError(f"{source}: {problem}; {remedy}")
    if sha256 and content.get("model_sha256") not in (None, sha256):
        raise DataError(f"{source}: belongs to other weights (sha256 {str(content['model_sha256'])[:12]}…); {remedy}")
    return Calibration(curve, float(content["threshold"]), content.get("model_sha256"), content)


def _find_problem(curve: Curve) -> str:
    """Return what is wrong with a curve, empty where nothing is."""
    if curve.calibrator == "temperature":
        value = curve.parameters.get("temperature")
        return "" if isinstance(value, int | float) and value > 0 else "temperature is no number above 0"
    if curve.calibrator != "isotonic":
        return f"unknown calibrator {curve.calibrator!r}"
    raw, right = (curve.parameters.get(key) for key in ("raw", "right"))
    is_fine = all(isinstance(points, list) and points and all(map(_is_share, points)) for points in (raw, right))
    return "" if is_fine and len(raw or ()) == len(right or ()) and sorted(raw or ()) == raw else "its points are no curve"


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
