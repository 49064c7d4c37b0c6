"""The results as Markdown in the hub's model card style, to be pasted into a checkpoint's README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from eval.reporting.columns import Column, find_main
from eval.reporting.markdown import write_cell, write_counts, write_markdown
from eval.reporting.measures import describe_measure, is_rate, show_value
from eval.reporting.restriction import find_corpus

_IN_CARD = ("exact_match", "category_match", "micro_f1", "macro_f1")


def write_model_card(columns: Sequence[Column], content: Mapping[str, Any]) -> str:
    """Return the section on evaluation, and the metadata for the top of the card."""
    main = find_main(columns)
    labels = [column["label"] + (" (no training)" if column["is_floor"] else "") for column in content["columns"]]
    heading = content["headline"]["name"]
    lines = [
        "## Evaluation",
        "",
        f"{heading[0].upper()}{heading[1:]} in percent with 95 % intervals ({_say_unit(main)}).",
        "",
        write_markdown(["text", "n", *labels], [_list_scenario(row) for row in content["scenarios"]]),
        "",
        f"Over all texts, ICD-10-CM release {main.scores['scoring']['release']}:",
        "",
        write_markdown(
            ["", *labels], [_list_measure(row) for row in (*content["answers"], *content["codes"], *content["ranking"])]
        ),
        "",
        "Predictions outside the label set count as wrong (open set); a code that does not exist or cannot be submitted is a "
        "wrong code and never dropped. Macro F1 is the mean of F1 over the codes that are right somewhere. "
        + " ".join(finding["claim"] for finding in content["findings"][1:]),
        "",
        "Decision support only: a certified coder decides.",
        "",
        "Metadata for the top of the card (between the `---` lines):",
        "",
        "```yaml",
        *yaml.safe_dump(build_metadata(main), sort_keys=False, allow_unicode=True, width=120).splitlines(),
        "```",
        "",
    ]
    return "\n".join(lines)


def build_metadata(column: Column) -> dict[str, Any]:
    """Return `model-index`, which the hub reads results from: percent with one digit, a result per kind of text."""
    header = column.scores["header"]
    corpus = find_corpus(header) or "icdtune test set"
    groups = [*column.scores["scenarios"].items(), ("all texts", column.scores["overall"])]
    results = [
        {
            "task": {"type": "text-generation", "name": "ICD-10-CM coding"},
            "dataset": {"type": corpus.replace(" ", "-"), "name": f"{corpus}, {scenario.replace('_', ' ')}"},
            "metrics": [
                {"type": key, "name": describe_measure(key).name, "value": float(show_value(group[key]["value"]))}
                for key in _IN_CARD
                if is_rate(group.get(key))
            ],
        }
        for scenario, group in groups
    ]
    return {"model-index": [{"name": column.label, "results": results}]}


def _say_unit(column: Column) -> str:
    scoring = column.scores["scoring"]
    return f"bootstrap over {scoring.get('unit') or 'examples'}, {scoring['n_boot']:,} resamples"


def _list_scenario(row: Mapping[str, Any]) -> list[str]:
    return [row["name"], write_counts(row["counts"]), *(write_cell(cell) for cell in row["cells"])]


def _list_measure(row: Mapping[str, Any]) -> list[str]:
    return [row["name"], *(write_cell(cell, row["unit"]) for cell in row["cells"])]
