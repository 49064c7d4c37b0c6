"""How far the engine's own certainty may be trusted: calibration figures, before and after they were set right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.columns import Column
from eval.reporting.references import CALIBRATION

SCORE_SOURCES = {
    "logprob": "mean log-probability of the tokens of a code",
    "sampling": "share of sampled answers that hold the code",
    "cosine": "cosine to the nearest title, which is no probability",
    "search": "score of the search, which is no probability",
}
FIGURES = {
    "ece": ("ECE", "Mean distance between how sure and how right, in 15 bins of equal width."),
    "ece_mass": ("ECE, equal bins", "The same in 15 bins of equally many codes."),
    "brier": ("Brier score", "Mean square of that distance, code by code."),
    "coverage_at_95": ("coverage at 95 %", "Percent that can be kept, surest first, so that 95 % of the kept are right."),
}
"""Figure of `calibration` to its name and meaning."""

OF_ANSWERS = ("ece", "coverage_at_95")
"""Figures that are shown of whole answers too."""

Calibration = Mapping[str, Any]


def build_calibration(columns: Sequence[Column]) -> dict[str, Any] | None:
    """Return the figures, bins and curves of the columns that have any; None when none has."""
    found: list[Calibration | None] = [column.scores.get("calibration") for column in columns]
    if not any(found):
        return None
    return {
        "columns": [_describe_column(column, one) for column, one in zip(columns, found, strict=True)],
        "rows": _list_figures(found),
        "has_after": any(get_state(one, "after") for one in found),
        "curves": [
            {"label": column.label, **{state: _read_curves(get_state(one, state)) for state in ("before", "after")}}
            for column, one in zip(columns, found, strict=True)
            if one
        ],
        "reference": {"system": CALIBRATION.system, "source": CALIBRATION.source, **CALIBRATION.values},
    }


def get_state(calibration: Calibration | None, state: str) -> Calibration | None:
    """Return the figures as the engine gave its scores, or those after they were set right on validation."""
    return calibration if not calibration or state == "before" else calibration.get("after")


def get_figure(found: Calibration | None, key: str, of: str = "codes") -> float | None:
    """Return one figure of the codes or of the whole answers; None where there is none."""
    part = (found or {}).get("answers") if of == "answers" else found
    return (part or {}).get(key)


def _list_figures(found: Sequence[Calibration | None]) -> list[dict[str, Any]]:
    """Return a row for each figure that any column has, of codes before answers; cells have `before` and `after`."""
    rows = []
    for of, keys in (("codes", tuple(FIGURES)), ("answers", OF_ANSWERS)):
        for key in keys:
            cells = [{state: get_figure(get_state(one, state), key, of) for state in ("before", "after")} for one in found]
            if any(cell["before"] is not None for cell in cells):
                name, text = FIGURES[key]
                rows.append({"key": key, "of": of, "name": name, "text": text, "cells": cells})
    return rows


def _read_curves(found: Calibration | None) -> dict[str, Any] | None:
    return {"bins": list(found.get("bins", [])), "curve": list(found.get("curve", []))} if found else None


def _describe_column(column: Column, calibration: Calibration | None) -> dict[str, Any]:
    found = calibration or {}
    source = str(found.get("score_source") or column.scores["scoring"].get("score_source") or "logprob")
    return {
        "label": column.label,
        "source": SCORE_SOURCES.get(source, source),
        "n": found.get("n"),
        "calibrator": found.get("calibrator"),
        "temperature": found.get("temperature"),
        "chosen_at_95": (found.get("after") or {}).get("chosen_at_95"),
    }
