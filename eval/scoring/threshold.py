"""A threshold on the scores of codes: chosen where micro F1 is highest on validation predictions, then applied to others.

With rankings an answer becomes every ranked code whose score reaches the threshold, so that a threshold can add codes; without
them it can only take some away, and what was refused stays counted as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.predictions import Prediction, ScoredCode
from eval.scoring.tally import divide
from icd10cm.errors import DataError


def choose_threshold(predictions: Sequence[Prediction]) -> tuple[float, float]:
    """Return the score that maximises micro F1 as the least that is kept, the highest of equally good ones, and that micro F1.

    Raises:
        DataError: a code has no score, or there is none.
    """
    has_rankings = _have_rankings(predictions)
    found = [
        (_read_score(scored), scored.code in prediction.codes)
        for prediction in predictions
        for scored in (prediction.ranking if has_rankings else prediction.predicted)
    ]
    if not found:
        raise DataError("the validation predictions hold no code with a score, so no threshold can be chosen on them")
    scores, right = np.array(found, dtype=np.float64).T
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(right[order])[last]
    refused = 0 if has_rankings else sum(len(set(prediction.rejected)) for prediction in predictions)
    wanted = sum(len(set(prediction.codes)) for prediction in predictions)
    f1 = divide(2 * hits, last + 1.0 + refused + wanted)
    best = int(f1.argmax())
    return float(scores[order][last[best]]), float(f1[best])


def apply_threshold(predictions: Sequence[Prediction], threshold: float) -> list[Prediction]:
    """Return the predictions with the codes that reach `threshold`, without rankings. Raises `DataError` without scores."""
    has_rankings = _have_rankings(predictions)
    return [
        prediction._replace(
            predicted=tuple(
                scored
                for scored in (prediction.ranking if has_rankings else prediction.predicted)
                if _read_score(scored) >= threshold
            ),
            rejected=() if has_rankings else prediction.rejected,
            ranking=(),
        )
        for prediction in predictions
    ]


def _have_rankings(predictions: Sequence[Prediction]) -> bool:
    return any(prediction.ranking for prediction in predictions)


def _read_score(scored: ScoredCode) -> float:
    if scored.score is None:
        raise DataError(f"the code {scored.code} has no score, so no threshold can be applied; predict with scores")
    return scored.score
