"""Two engines over the same cases: which each alone gets right, and how far apart their rates are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from data_gen.examples import SCENARIOS
from eval.paired import OUTCOMES, SCHEMA_VERSION
from eval.reporting.measures import describe_measure, list_measures
from eval.reporting.restriction import may_show_texts
from eval.reporting.texts import read_shown, shorten_text
from icd10cm.errors import DataError
from icd10cm.run_header import read_versioned

SHOWN = ("exact_match", "category_match", "micro_precision", "micro_recall", "micro_f1", "macro_f1")
"""Rates whose differences the page shows; the CSV has them all."""


def read_pairs(path: Path) -> dict[str, Any]:
    """Return what `eval.paired` wrote. Raises `DataError` when it is missing, broken or of another schema version."""
    paired = read_versioned(path, "pairs", SCHEMA_VERSION, "run eval.paired, which writes it")
    if "overall" not in paired:
        raise DataError(f"{path}: has no overall; run eval.paired, which writes it")
    return paired


def build_pair(paired: Mapping[str, Any], n_examples: int, show_texts_of: Sequence[str]) -> dict[str, Any]:
    """Return what is shown of one pair: labels, outcomes by scenario, differences overall, cases that one alone gets right."""
    groups = {name: paired["scenarios"][name] for name in SCENARIOS if name in paired["scenarios"]}
    if len(groups) > 1:
        groups["overall"] = paired["overall"]
    return {
        "a": str(paired["a"]["label"]),
        "b": str(paired["b"]["label"]),
        "scoring": dict(paired["scoring"]),
        "n": paired["overall"]["n"],
        "union": paired["overall"]["cases"]["union"],
        "only_a": paired["overall"]["cases"]["only_a"],
        "only_b": paired["overall"]["cases"]["only_b"],
        "outcomes": [_describe_outcomes(name, group) for name, group in groups.items()],
        "differences": [
            _describe_difference(name, key, group["rates"][key])
            for name, group in groups.items()
            for key in _order_rates(group["rates"])
        ],
        "cases": {side: _list_cases(paired, side, n_examples, show_texts_of) for side in ("only_a", "only_b")},
    }


def _describe_outcomes(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    cases, n = group["cases"], group["n"]
    return {
        "scenario": name,
        "name": "all texts" if name == "overall" else name.replace("_", " "),
        "n": n,
        **{outcome: cases[outcome] for outcome in OUTCOMES},
        "union": cases["union"],
        "widths": {outcome: round(100 * cases[outcome] / n, 2) for outcome in OUTCOMES},
    }


def _describe_difference(scenario: str, key: str, rate: Mapping[str, float]) -> dict[str, Any]:
    measure = describe_measure(key)
    facts = {"scenario": scenario, "metric": key, "name": measure.name, "unit": measure.unit, "shown": key in SHOWN}
    return facts | {name: rate[name] for name in ("a", "b", "difference", "low", "high", "p")}


def _order_rates(rates: Mapping[str, Any]) -> list[str]:
    """Return the keys of a group's rates in the order of every table."""
    return list_measures([{key: {"value": rate["difference"]} for key, rate in rates.items()}])


def _list_cases(paired: Mapping[str, Any], side: str, n: int, show_texts_of: Sequence[str]) -> list[dict[str, Any]]:
    """Return cases that one side alone gets right, a scenario after the other in turn; none where texts may not be shown."""
    if not n or not all(may_show_texts(paired[name]["header"], show_texts_of) for name in "ab"):
        return []
    examples = read_shown(paired["a"]["header"])
    by_scenario = [group["ids"][side] for group in paired["scenarios"].values()]
    ids = [id for turn in zip_longest(*by_scenario) for id in turn if id in examples][:n]
    return [
        {
            "id": id,
            "scenario": examples[id].scenario,
            "text": shorten_text(examples[id].text),
            "codes": list(examples[id].codes),
        }
        for id in ids
    ]
