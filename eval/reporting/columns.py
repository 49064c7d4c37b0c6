"""The columns of a report: a scores file each, in the order given, and what keeps them from being comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_gen.examples import SCENARIOS

HEADLINE = "exact_match"
_UNTRAINED = ("floor", "search")
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
    """Return the column the report is about: the last that is neither a floor nor a union of both."""
    models = [column for column in columns if not column.is_floor and column.scores["header"].get("engine") != "union"]
    return models[-1] if models else columns[-1]


def find_floor(columns: Sequence[Column]) -> Column | None:
    """Return the column that models are held against: the nearest titles before the search; None without any."""
    floors = sorted((column for column in columns if column.is_floor), key=_is_search)
    return floors[0] if floors else None


def get_group(column: Column, scenario: str) -> dict[str, Any] | None:
    """Return the scores of a scenario, or of all examples for `overall`."""
    return column.scores["overall"] if scenario == "overall" else column.scores["scenarios"].get(scenario)


def choose_headline(columns: Sequence[Column]) -> str:
    """Return the rate that the page leads with: whole notes are hardly ever exactly right, so they go by micro F1."""
    return "micro_f1" if list_scenarios(columns) == ["note"] else HEADLINE


def compare_to_floor(columns: Sequence[Column], metric: str = HEADLINE) -> dict[str, list[str]]:
    """Return the scenarios in which the main column is `above`, `level` with or `below` the floor; empty without a floor.

    Above and below mean that the two intervals do not touch.
    """
    floor, main = find_floor(columns), find_main(columns)
    found: dict[str, list[str]] = {"above": [], "level": [], "below": []}
    if floor is None or main.is_floor:
        return {}
    for scenario in list_scenarios([floor, main]):
        ours, theirs = get_group(main, scenario), get_group(floor, scenario)
        if ours and theirs:
            ours, theirs = ours[metric], theirs[metric]
            side = "above" if ours["low"] > theirs["high"] else "below" if ours["high"] < theirs["low"] else "level"
            found[side].append(scenario)
    return found


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


def number_series(columns: Sequence[Column]) -> list[str]:
    """Return the name of the colour of each column: `s0`, `s1` … and `floor` for the first that needs no training."""
    numbers = iter(range(len(columns)))
    grey = next((column for column in columns if column.is_floor), None)
    return ["floor" if column is grey else f"s{next(numbers) % N_SERIES}" for column in columns]


N_SERIES = 5
"""Colours for columns that are not the floor; a sixth takes the first again."""


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _is_search(column: Column) -> bool:
    return column.scores.get("header", {}).get("engine") == "search"
