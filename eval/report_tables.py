"""What the report shows, as plain values: columns, tables, findings in words, worst answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.examples import SCENARIOS, read_examples
from eval.metrics import METRICS
from eval.taxonomy import KINDS
from icd10cm.codeset import CodeSet
from icd10cm.run_header import hash_file

HEADLINE = "exact_match"
SCENARIO_TEXTS = {
    "base": "The official title, word for word. Titles are what stage 1 is taught, so this is recall, not generalisation.",
    "reordered": "The words of a title in another order, as an index or a problem list has them.",
    "abbreviated": "Short forms such as T2DM, CKD or w/o.",
    "typo": "Misspelled words.",
    "multiple": "Two or more conditions in one text; all codes must be right, none missing, none too many.",
    "paraphrased": "The same condition in other words.",
    "mixed": "Short forms or another order, and misspelled on top.",
    "note": "A passage of a clinical note.",
}
METRIC_TEXTS = {
    "exact_match": "The answer is complete and its codes are exactly the right ones, in any order.",
    "category_match": "The answer is complete and its categories (first three characters) are exactly the right ones.",
    "micro_precision": "Of all codes written, the share that is right.",
    "micro_recall": "Of all right codes, the share that was written.",
    "micro_f1": "Harmonic mean of the two, counts pooled over all codes.",
    "macro_precision": "Precision of each code, averaged over the codes that occur among the right ones.",
    "macro_recall": "Recall of each code, averaged likewise.",
    "macro_f1": "F1 of each code, averaged likewise (the definition of Edin et al. 2023).",
    "invalid_rate": "Share of answers with at least one code that does not exist or cannot be submitted.",
}
_UNTRAINED = ("floor", "search")
_LONGEST_TEXT = 400
Scores = Mapping[str, Any]


class Column(NamedTuple):
    """One scores file.

    Attributes:
        label: its name in every table and chart, distinct.
        is_floor: whether it is a retrieval floor, which is never trained.
        scores: content of the file.
    """

    label: str
    is_floor: bool
    scores: Scores


def build_columns(many_scores: Sequence[Scores]) -> list[Column]:
    """Return the columns in the order given; equal labels get a number."""
    columns: list[Column] = []
    for scores in many_scores:
        header = scores["header"]
        name = str(header.get("label") or header.get("model") or header.get("engine") or "unnamed")
        n_same = sum(column.label == name or column.label.startswith(f"{name} (") for column in columns)
        columns.append(Column(f"{name} ({n_same + 1})" if n_same else name, header.get("engine") in _UNTRAINED, scores))
    return columns


def list_scenarios(columns: Sequence[Column]) -> list[str]:
    """Return the scenarios that any column has, in the usual order."""
    return [scenario for scenario in SCENARIOS if any(scenario in column.scores["scenarios"] for column in columns)]


def find_main(columns: Sequence[Column]) -> Column:
    """Return the column the report is about: the last that is not the floor."""
    return next((column for column in reversed(columns) if not column.is_floor), columns[-1])


def get_group(column: Column, scenario: str) -> dict[str, Any] | None:
    """Return the scores of a scenario, or of all examples for `overall`."""
    return column.scores["overall"] if scenario == "overall" else column.scores["scenarios"].get(scenario)


def build_rows(columns: Sequence[Column], metric: str = HEADLINE) -> list[dict[str, Any]]:
    """Return a row per scenario and one over all: name, text, numbers of examples, a cell per column (None: not measured)."""
    rows = []
    for scenario in [*list_scenarios(columns), "overall"]:
        groups = [get_group(column, scenario) for column in columns]
        cells: list[dict[str, Any] | None] = [dict(group[metric]) if group else None for group in groups]
        best = max(cell["value"] for cell in cells if cell)
        for cell in cells:
            if cell:
                cell["best"] = cell["value"] == best and len(columns) > 1
        counts = sorted({group["n"] for group in groups if group})
        text = "" if scenario == "overall" else SCENARIO_TEXTS[scenario]
        rows.append({"scenario": scenario, "text": text, "counts": counts, "cells": cells})
    return rows


def compare_to_floor(columns: Sequence[Column]) -> dict[str, list[str]]:
    """Return the scenarios in which the main column is `above`, `level` with or `below` the floor; empty without a floor.

    Above and below mean that the two intervals do not touch.
    """
    floors = sorted((column for column in columns if column.is_floor), key=_is_search)
    floor = floors[0] if floors else None
    main = find_main(columns)
    found: dict[str, list[str]] = {"above": [], "level": [], "below": []}
    if floor is None or main.is_floor:
        return {}
    for scenario in list_scenarios([floor, main]):
        ours, theirs = get_group(main, scenario), get_group(floor, scenario)
        if ours and theirs:
            ours, theirs = ours[HEADLINE], theirs[HEADLINE]
            side = "above" if ours["low"] > theirs["high"] else "below" if ours["high"] < theirs["low"] else "level"
            found[side].append(scenario)
    return found


def _is_search(column: Column) -> bool:
    return column.scores.get("header", {}).get("engine") == "search"


def find_differences(columns: Sequence[Column]) -> list[str]:
    """Return in words what keeps the columns from being comparable: other examples, another release, another prompt."""
    facts = {
        "examples": [column.scores["header"].get("inputs", {}).get(column.scores["header"].get("data")) for column in columns],
        "releases": [column.scores["scoring"]["release"] for column in columns],
        "prompt versions": [column.scores["header"].get("prompt_version") for column in columns],
        "seeds of the intervals": [column.scores["scoring"]["seed"] for column in columns],
    }
    models = {column.scores["header"].get("model_release") for column in columns if not column.is_floor} - {None}
    differing = [name for name, values in facts.items() if len(set(values)) > 1]
    return [*differing, *(["releases that the models learned"] if len(models) > 1 else [])]


def build_mistakes(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row per kind of mistake that occurs: name, definition, and per column its count and share of all answers."""
    totals = [
        {kind: sum(group.get(kind, 0) for group in column.scores["errors"].values()) for kind in KINDS} for column in columns
    ]
    sizes = [column.scores["overall"]["n"] for column in columns]
    widest = max((total[kind] / n for total, n in zip(totals, sizes, strict=True) for kind in KINDS), default=0) or 1
    return [
        {
            "kind": kind.replace("_", " "),
            "text": text,
            "cells": [
                {"count": total[kind], "share": total[kind] / n, "width": round(100 * total[kind] / n / widest, 1)}
                for total, n in zip(totals, sizes, strict=True)
            ],
        }
        for kind, text in KINDS.items()
        if any(total[kind] for total in totals)
    ]


def read_texts(column: Column) -> dict[str, str]:
    """Return the texts of a column's examples by id; empty when the data file has gone or is not the same any more."""
    header = column.scores["header"]
    path = Path(str(header.get("data") or ""))
    if not path.is_file() or header.get("inputs", {}).get(str(header["data"])) != hash_file(path):
        return {}
    return {example.id: example.text for example in read_examples(path)}


def build_worst(column: Column, codes: CodeSet, n: int) -> list[dict[str, Any]]:
    """Return the listed mistakes of each scenario, `n` at most, with titles and, where they can be had, texts."""
    texts = read_texts(column)
    found = []
    for scenario in SCENARIOS:
        listed = column.scores["examples"].get(scenario, [])[:n]
        mistakes = [_describe_mistake(mistake, texts.get(mistake["id"]), codes) for mistake in listed]
        if mistakes:
            found.append({"scenario": scenario, "mistakes": mistakes})
    return found


def list_csv_rows(columns: Sequence[Column]) -> list[list[str]]:
    """Return everything the tables show, a line each: label, scenario, metric, value, low, high, n."""
    rows = [["label", "scenario", "metric", "value", "low", "high", "n"]]
    for column in columns:
        for scenario in [*list_scenarios([column]), "overall"]:
            group = get_group(column, scenario) or {}
            for metric in METRICS:
                rate = group[metric]
                ends = [f"{rate[end]:.6f}" for end in ("value", "low", "high")]
                rows.append([column.label, scenario, metric, *ends, str(group["n"])])
            for name in sorted(key for key in group if key.startswith("n_")):
                rows.append([column.label, scenario, name, str(group[name]), "", "", str(group["n"])])
        for scenario, kinds in column.scores["errors"].items():
            n = str(column.scores["scenarios"][scenario]["n"])
            rows += [[column.label, scenario, f"error:{kind}", str(number), "", "", n] for kind, number in kinds.items()]
    return rows


def _describe_mistake(mistake: Mapping[str, Any], text: str | None, codes: CodeSet) -> dict[str, Any]:
    right, written = mistake["codes"], mistake["predicted"]
    shortened = text if text is None or len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT].rsplit(" ", 1)[0] + " …"
    return {
        "id": mistake["id"],
        "kind": mistake["kind"].replace("_", " "),
        "text": shortened,
        "right": [{"code": code, "title": _find_title(code, codes), "hit": code in written} for code in right],
        "written": [{"code": code, "title": _find_title(code, codes), "hit": code in right} for code in written]
        + [{"code": code, "title": _explain_rejected(code, codes), "hit": False} for code in mistake["rejected"]],
    }


def _find_title(code: str, codes: CodeSet) -> str:
    return codes.title(code) if code in codes else f"not in release {codes.release}"


def _explain_rejected(text: str, codes: CodeSet) -> str:
    if text not in codes:
        return "does not exist"
    title = codes.title(text)
    return f"a heading, cannot be submitted{': ' + title if title else ''}"
