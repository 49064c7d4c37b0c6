"""Tables of rates: a row a scenario or a rate, a cell a column, with intervals and the best of each row marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.reporting import references
from eval.reporting.columns import HEADLINE, Column, find_main, get_group, list_scenarios
from eval.reporting.measures import describe_measure, is_rate, list_measures
from eval.reporting.references import Reference
from eval.reporting.restriction import find_corpus, find_labels

SCENARIO_TEXTS = {
    "base": "The official title, word for word. Titles are what stage 1 is taught, so this is recall, not generalisation.",
    "near_title": "A title but for a word or two.",
    "reordered": "The words of a title in another order, as an index or a problem list has them.",
    "abbreviated": "Short forms such as T2DM, CKD or w/o.",
    "typo": "Misspelled words.",
    "multiple": "Two or more conditions in one text; all codes must be right, none missing, none too many.",
    "paraphrased": "The same condition in other words.",
    "mixed": "Short forms or another order, and misspelled on top.",
    "note": "A clinical note or a passage of one.",
}
ODDITIES = {
    "n_invalid": ("do not exist", "answers with a code that the release does not have and never had"),
    "n_nonbillable": ("cannot be submitted", "answers with a heading, too short to be submitted"),
    "n_retired": ("retired", "answers with a code that an earlier release had"),
    "n_unparsed": ("unreadable", "answers that hold nothing of the shape of a code"),
    "n_truncated": ("cut off", "answers that the token limit cut off"),
    "n_error": ("no answer", "the engine failed"),
}
"""Count of a group to what it is called and what it counts; several may be true of one answer."""


def build_rows(columns: Sequence[Column], metric: str = HEADLINE) -> list[dict[str, Any]]:
    """Return a row per scenario and one over all: name, text, numbers of examples, a cell per column (None: not measured)."""
    rows = []
    for scenario in [*list_scenarios(columns), "overall"]:
        groups = [get_group(column, scenario) for column in columns]
        cells = build_cells([group.get(metric) if group else None for group in groups], metric)
        if any(cells):
            counts = sorted({group["n"] for group in groups if group})
            row = {"scenario": scenario, "name": "all texts" if scenario == "overall" else scenario.replace("_", " ")}
            rows.append(row | {"text": SCENARIO_TEXTS.get(scenario, ""), "counts": counts, "cells": cells})
    return rows


def build_cells(rates: Sequence[Any], metric: str) -> list[dict[str, Any] | None]:
    """Return a cell for each rate of one row: value, low, high and whether it is the best; None where nothing was measured."""
    cells = [{"low": None, "high": None, **rate} if is_rate(rate) else None for rate in rates]
    values = [cell["value"] for cell in cells if cell]
    if not values:
        return [None for _ in cells]
    best = (min if describe_measure(metric).less_is_better else max)(values)
    for cell in cells:
        if cell:
            cell["best"] = len(values) > 1 and cell["value"] == best
    return cells


def build_measures(
    columns: Sequence[Column], kind: str | None, get: Callable[[Column], Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """Return a row per rate of a `kind` in the group that `get` finds in each column: key, name, text, unit, cells."""
    groups = [get(column) for column in columns]
    rows = []
    for key in list_measures(groups, kind):
        measure = describe_measure(key)
        cells = build_cells([group.get(key) if group else None for group in groups], key)
        if any(cells):
            rows.append({"metric": key, "name": measure.name, "text": measure.text, "unit": measure.unit, "cells": cells})
    return rows


def build_both_sets(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row per rate over codes: open set in `cells`, and in `closed` without what was written outside the label set."""
    rows = build_measures(columns, "codes", lambda column: column.scores["overall"])
    closed = build_measures(columns, "codes", lambda column: column.scores.get("closed_set"))
    by_metric = {row["metric"]: row["cells"] for row in closed}
    return [row | {"closed": by_metric.get(row["metric"], [None] * len(columns))} for row in rows]


def build_oddities(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row per count of answers that are no ordinary answers: name, text, and per column the count and its share."""
    groups = [column.scores["overall"] for column in columns]
    return [
        {
            "key": key,
            "name": name,
            "text": text,
            "cells": [{"count": group[key], "share": group[key] / group["n"]} if key in group else None for group in groups],
        }
        for key, (name, text) in ODDITIES.items()
        if any(key in group for group in groups)
    ]


def build_variant_references(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row per scenario that others have published: ours of each column, theirs; empty where none was measured."""
    rows = []
    for scenario in list_scenarios(columns):
        theirs = [values.get(scenario, "") for values in (*references.LLMCODER.values(), references.UNTRAINED_MODEL)]
        if any(theirs) and not (scenario == "note" and find_label_space(columns)):
            groups = [get_group(column, scenario) for column in columns]
            cells = build_cells([group.get(HEADLINE) if group else None for group in groups], HEADLINE)
            rows.append({"scenario": scenario, "name": scenario.replace("_", " "), "ours": cells, "theirs": theirs})
    return rows


def find_label_space(columns: Sequence[Column]) -> str:
    """Return whether the columns are of MIMIC-IV with its `full` codes or its `top` ones; empty when of neither."""
    header = find_main(columns).scores["header"]
    corpus = find_corpus(header)
    if not corpus.startswith("mimic_iv"):
        return ""
    return "top" if "top" in f"{corpus} {find_labels(header)}" else "full"


def build_corpus_references(columns: Sequence[Column]) -> dict[str, Any] | None:
    """Return ours and theirs on MIMIC-IV: a row per system, a cell per rate that anyone has; None for another corpus."""
    space = find_label_space(columns)
    if not space:
        return None
    theirs = references.MIMIC_TOP_50 if space == "top" else references.MIMIC_FULL
    groups = [column.scores["overall"] for column in columns]
    ours = [(column.label, "ours, open set", column.scores["overall"]) for column in columns]
    ours += [(column.label, "ours, closed set", _drop_answers(column.scores.get("closed_set"))) for column in columns]
    known = {key for reference in theirs for key in reference.values}
    parts = []
    for name, kinds in (("Answers and codes", ("answers", "codes")), ("The next best codes", ("ranking",))):
        wanted = [key for key in list_measures(groups) if key in known and describe_measure(key).kind in kinds]
        part = {
            "name": name,
            "measures": [
                {"metric": key, "name": describe_measure(key).name, "unit": describe_measure(key).unit} for key in wanted
            ],
            "ours": [
                {"system": label, "source": source, "cells": [build_cells([group.get(key)], key)[0] for key in wanted]}
                for label, source, group in ours
                if any(is_rate(group.get(key)) for key in wanted)
            ],
            "theirs": [_describe_reference(one, wanted) for one in theirs if any(key in one.values for key in wanted)],
        }
        parts += [part] if wanted else []
    return {"space": space, "parts": parts}


def _drop_answers(group: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a closed-set group without the rates of whole answers: what is dropped was written all the same."""
    return {key: value for key, value in (group or {}).items() if describe_measure(key).kind != "answers"}


def _describe_reference(reference: Reference, wanted: Sequence[str]) -> dict[str, Any]:
    """Return a row of printed values."""
    row = {"system": reference.system, "source": reference.source, "closed": reference.closed}
    return row | {"cells": [reference.values.get(key, "") for key in wanted]}
