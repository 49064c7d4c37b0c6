"""scores.json: its schema version and the one way to read it.

A group has `n` (examples), `n_patients`, every rate as `{value, low, high}`, and the numbers of answers that are no ordinary
ones (`eval.scoring.taxonomy`). `scenarios` has a group for each kind of text, `overall` one of all,
`closed_set` the same without the codes that are right nowhere, `breakdowns` lists of groups with a `label` by dimension.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icd10cm.errors import DataError

SCHEMA_VERSION = 2
_KEYS = ("header", "scoring", "scenarios", "overall", "errors", "examples")


def read_scores(path: Path) -> dict[str, Any]:
    """Return the content of a scores file. Raises `DataError` when it is missing, broken or of another schema version."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); eval.score writes it") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); score the predictions again") from None
    version = scores.get("schema_version") if isinstance(scores, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path}: scores of schema version {version}, this version reads {SCHEMA_VERSION}; score again")
    absent = [key for key in _KEYS if not isinstance(scores.get(key), dict)]
    if absent:
        raise DataError(f"{path}: has no {', '.join(absent)}; score the predictions again")
    return scores
