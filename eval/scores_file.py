"""scores.json: its schema version and the one way to read it.

A group has `n` (examples), `n_patients`, every rate as `{value, low, high}`, and the numbers of answers that are no ordinary
ones (`eval.scoring.taxonomy`). `scenarios` has a group for each kind of text, `overall` one of all,
`closed_set` the same without the codes that are right nowhere, `breakdowns` lists of groups with a `label` by dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icd10cm.errors import DataError
from icd10cm.run_header import read_versioned

SCHEMA_VERSION = 2
_KEYS = ("header", "scoring", "scenarios", "overall", "errors", "examples")


def read_scores(path: Path) -> dict[str, Any]:
    """Return the content of a scores file. Raises `DataError` when it is missing, broken or of another schema version."""
    scores = read_versioned(path, "scores", SCHEMA_VERSION, "eval.score writes it: score again")
    absent = [key for key in _KEYS if not isinstance(scores.get(key), dict)]
    if absent:
        raise DataError(f"{path}: has no {', '.join(absent)}; score the predictions again")
    return scores
