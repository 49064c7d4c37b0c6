"""Every number of a report as a line of CSV: table, label, group, metric, value, low, high, n."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.paired import OUTCOMES
from eval.reporting.columns import Column, get_group, list_scenarios
from eval.reporting.measures import is_rate

FIELDS = ("table", "label", "group", "metric", "value", "low", "high", "n")
Row = tuple[str, ...]


def write_csv(columns: Sequence[Column], content: Mapping[str, Any]) -> str:
    """Return every number of the page as CSV; what is no rate has no ends."""
    rows: list[Row] = [FIELDS]
    for column in columns:
        rows += _list_rates(column)
        rows += _list_mistakes(column)
    rows += _list_calibration(content)
    rows += _list_pairs(content)
    rows += _list_training(content)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _list_rates(column: Column) -> Iterator[Row]:
    for scenario in [*list_scenarios([column]), "overall"]:
        yield from _list_group("scores", column.label, scenario, get_group(column, scenario) or {})
    if closed := column.scores.get("closed_set"):
        yield from _list_group("closed set", column.label, "overall", closed)
    if thresholded := column.scores.get("thresholded"):
        yield _write_row("thresholded", column.label, "overall", "threshold", thresholded.get("threshold"))
        yield from _list_group("thresholded", column.label, "overall", thresholded.get("overall") or {})
    for dimension, groups in (column.scores.get("breakdowns") or {}).items():
        for group in groups:
            yield from _list_group(f"by {dimension}", column.label, str(group["label"]), group)


def _list_group(table: str, label: str, name: str, group: Mapping[str, Any]) -> Iterator[Row]:
    n = str(group.get("n", ""))
    for key, value in group.items():
        if is_rate(value):
            yield _write_row(table, label, name, key, value["value"], value.get("low"), value.get("high"), n)
        elif key.startswith("n_") and isinstance(value, int):
            yield _write_row(table, label, name, key, value, n=n)


def _list_mistakes(column: Column) -> Iterator[Row]:
    for scenario, kinds in column.scores["errors"].items():
        n = str(column.scores["scenarios"][scenario]["n"])
        for kind, number in kinds.items():
            yield _write_row("mistakes", column.label, scenario, kind, number, n=n)
    for right, written, count in column.scores.get("confusion") or ():
        yield _write_row("confusion", column.label, f"{right} written as {written}", "answers", count)


def _list_calibration(content: Mapping[str, Any]) -> Iterator[Row]:
    calibration = content["calibration"]
    if not calibration:
        return
    labels = [column["label"] for column in calibration["columns"]]
    for row in calibration["rows"]:
        for label, cell in zip(labels, row["cells"], strict=True):
            for state, value in cell.items():
                if value is not None:
                    yield _write_row("calibration", label, f"{row['of']}, {state}", row["key"], value)
    for curve in calibration["curves"]:
        for state in ("before", "after"):
            for one in (curve[state] or {}).get("bins", ()):
                group = f"{state}, mean confidence {one['mean_confidence']:.6f}"
                ends = (one.get("accuracy_low"), one.get("accuracy_high"))
                yield _write_row("reliability", curve["label"], group, "accuracy", one["accuracy"], *ends, n=str(one["n"]))
            for point in (curve[state] or {}).get("curve", ()):
                group = f"{state}, coverage {point['coverage']:.6f}"
                yield _write_row("coverage", curve["label"], group, "accuracy", point["accuracy"])


def _list_pairs(content: Mapping[str, Any]) -> Iterator[Row]:
    for pair in content["pairs"]:
        label = f"{pair['a']} and {pair['b']}"
        for row in pair["outcomes"]:
            for outcome in (*OUTCOMES, "union"):
                yield _write_row("pairs", label, row["scenario"], outcome, row[outcome], n=str(row["n"]))
        for row in pair["differences"]:
            where = ("differences", label, row["scenario"])
            yield _write_row(*where, row["metric"], row["difference"], row["low"], row["high"])
            yield _write_row(*where, f"{row['metric']}:p", row["p"])


def _list_training(content: Mapping[str, Any]) -> Iterator[Row]:
    for run in content["training"]:
        for panel in run["panels"]:
            for line in panel["lines"]:
                for step, value in line["points"]:
                    yield _write_row("training", run["label"], f"step {step:g}", line["key"], value)


def _write_row(
    table: str,
    label: str,
    group: str,
    metric: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    n: str = "",
) -> Row:
    return (table, label, group, metric, _write_number(value), _write_number(low), _write_number(high), n)


def _write_number(value: Any) -> str:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
