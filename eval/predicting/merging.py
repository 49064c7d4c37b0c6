"""One prediction from the predictions for the parts of a text."""

from __future__ import annotations

from collections.abc import Sequence

from eval.predicting.answer_scores import merge_rankings
from eval.predictions import Prediction, ScoredCode


def merge_predictions(parts: Sequence[Prediction], n_ranked: int = 20) -> Prediction:
    """Return the prediction for a whole text.

    Codes stand in the order of their first appearance, so that the principal diagnosis is that of the first part that names
    one; each has its best score over the parts, and so have the codes of the ranking. Status: an `error` of one part is one of
    the whole; `truncated` where a part was; `unparsed` only where every part is.

    Args:
        parts: predictions of the parts, in the order of the text; at least one.
        n_ranked: the most codes that the ranking keeps.
    """
    if len(parts) == 1:
        return parts[0]
    failed = next((part for part in parts if part.status == "error"), None)
    if failed:
        return failed
    best: dict[str, float | None] = {}
    for part in parts:
        for code, score in part.predicted:
            known = [value for value in (best.get(code), score) if value is not None]
            best[code] = max(known, default=None)
    ranking = merge_rankings([part.ranking for part in parts], best, n_ranked)  # type: ignore[misc]
    statuses = [part.status for part in parts]
    status = "truncated" if "truncated" in statuses else "unparsed" if set(statuses) == {"unparsed"} else "ok"
    return parts[0]._replace(
        predicted=tuple(ScoredCode(code, score) for code, score in best.items()),
        output="\n".join(part.output for part in parts),
        status=status,
        rejected=tuple(code for part in parts for code in part.rejected),
        ranking=tuple(ScoredCode(code, score) for code, score in ranking),
    )
