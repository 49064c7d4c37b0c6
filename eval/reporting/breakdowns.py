"""Where it does well and where not: a rate for each group of codes or texts, per column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.columns import Column, choose_headline
from eval.reporting.measures import describe_measure, is_rate
from icd10cm.codeset import CHAPTER_TITLES

FEW = 20
"""A group of fewer says little."""

DIMENSIONS = {
    "chapter": ("By chapter of the code", "The right and written codes of one chapter at a time; n: texts that have any."),
    "code_frequency": (
        "By how often training has a code",
        "The right and written codes of one kind at a time; n: texts that have any.",
    ),
    "note_length": ("By length of the text", "In characters."),
    "n_codes": ("By number of right codes", "How many codes a text should have."),
    "held_out": ("By what training lacked", "Variant: this text. Code: every text of one of its codes."),
    "scenario_held_out": ("By kind of text and what training lacked", "The same, for each kind of text."),
}
"""Breakdown to its heading and what it is over; any other is an attribute of the examples, such as sex or age group."""

OVER_CODES = ("chapter", "code_frequency")


def build_breakdowns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a part per breakdown that any column has: heading, rate, and a row per group with a cell per column."""
    found = [column.scores.get("breakdowns") or {} for column in columns]
    names = list(dict.fromkeys([*DIMENSIONS, *sorted(name for parts in found for name in parts)]))
    parts = [build_breakdown(columns, name) for name in names if any(parts.get(name) for parts in found)]
    return [part for part in parts if part["rows"]]


def build_breakdown(columns: Sequence[Column], name: str, metric: str | None = None) -> dict[str, Any]:
    """Return the part of one breakdown, of the rate that suits it unless a `metric` is given."""
    groups = [(column.scores.get("breakdowns") or {}).get(name, []) for column in columns]
    return _build_part(name, groups, metric or choose_metric(name, columns))


def choose_metric(dimension: str, columns: Sequence[Column]) -> str:
    """Return the rate that a breakdown shows: an answer cannot be exactly right for the codes of one chapter alone."""
    return "micro_f1" if dimension in OVER_CODES else choose_headline(columns)


def _build_part(name: str, groups: Sequence[Sequence[Mapping[str, Any]]], metric: str) -> dict[str, Any]:
    heading, text = DIMENSIONS.get(name, (f"By {name.replace('_', ' ')}", "As the examples have it."))
    labels = list(dict.fromkeys(str(group["label"]) for column in groups for group in column))
    by_label = [{str(group["label"]): group for group in column} for column in groups]
    rows = []
    for label in labels:
        cells = [_build_cell(column.get(label), metric) for column in by_label]
        if any(cells):
            counts = sorted({cell["n"] for cell in cells if cell})
            row = {"label": label, "title": _find_title(name, label), "counts": counts}
            rows.append(row | {"small": any(cell["small"] for cell in cells if cell), "cells": cells})
    return {
        "dimension": name,
        "heading": heading,
        "text": text,
        "metric": metric,
        "metric_name": describe_measure(metric).name,
        "rows": rows,
    }


def _build_cell(group: Mapping[str, Any] | None, metric: str) -> dict[str, Any] | None:
    if not group or not is_rate(group.get(metric)):
        return None
    rate = group[metric]
    n = group["n"]
    return {"low": None, "high": None, **rate, "n": n, "small": bool(group.get("small", n < FEW))}


def _find_title(dimension: str, label: str) -> str:
    """Return the title of a chapter that is given by its number; empty for other labels."""
    number = label.removeprefix("chapter").strip()
    return CHAPTER_TITLES.get(int(number), "") if dimension == "chapter" and number.isdigit() else ""
