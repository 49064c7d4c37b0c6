"""Write the scores of several engines side by side as a Markdown table, for a README or a paper.

    python -m eval.table outputs/demo/stage1/scores.json outputs/demo/stage2/scores.json outputs/demo/floor/scores.json
    python -m eval.table outputs/demo/stage2/scores.json outputs/demo/floor/scores.json --by chapter

A column for each file under its label, a row for each kind of text, or for each group of a breakdown of `scores.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath

from eval.reporting.breakdowns import build_breakdown
from eval.reporting.columns import HEADLINE, Column, build_columns, find_differences, join_words
from eval.reporting.markdown import write_cell, write_counts, write_markdown
from eval.reporting.measures import describe_measure, list_measures
from eval.reporting.tables import build_rows
from eval.scores_file import read_scores
from icd10cm.config import Settings, load_settings, suggest_name
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import write_text


class TableSettings(Settings):
    """What to put side by side."""

    scores: list[FilePath] = Field(min_length=1, description="scores.json files, a column each, in this order")
    by: str = Field("scenario", description="scenario, or a breakdown of the scores such as chapter, held_out, n_codes")
    metric: str | None = Field(None, description="the rate; when omitted exact_match, micro_f1 for groups of codes (chapter)")
    output: Path | None = Field(None, description="file to write; printed when omitted")


def main(argv: Sequence[str] | None = None) -> None:
    """Print or write one table."""
    settings = load_settings(TableSettings, argv, doc=__doc__, prog="eval.table", positional="scores")
    columns = build_columns([read_scores(path) for path in settings.scores])
    if differences := find_differences(columns):
        say(f"warning: the scores differ in their {join_words(differences)}, so they can't be compared number by number")
    table = write_table(columns, settings.by, settings.metric)
    if settings.output:
        write_text(settings.output, f"{table}\n")
        say(f"written: {settings.output}")
    else:
        print(table)


def write_table(columns: Sequence[Column], by: str = "scenario", metric: str | None = None) -> str:
    """Return the table.

    Args:
        columns: at least one.
        by: `scenario`, or a breakdown that the scores have.
        metric: a rate of `eval.metrics`; one that suits the rows when None.

    Raises:
        ConfigError: no column has such a breakdown or such a rate.
    """
    breakdowns = dict.fromkeys(name for column in columns for name in column.scores.get("breakdowns") or {})
    known = ("scenario", *breakdowns)
    if by not in known:
        raise ConfigError(f"'by': the scores have no {by!r}{suggest_name(by, known)}; they have {', '.join(known)}")
    rates = list_measures([column.scores["overall"] for column in columns])
    if metric and metric not in rates:
        raise ConfigError(f"'metric': the scores have no {metric!r}{suggest_name(metric, rates)}; they have {', '.join(rates)}")
    if by == "scenario":
        metric = metric or HEADLINE
        rows, head = build_rows(columns, metric), "text"
    else:
        part = build_breakdown(columns, by, metric)
        rows, head, metric = part["rows"], by.replace("_", " "), part["metric"]
    unit = describe_measure(metric).unit
    heads = [f"{head} ({describe_measure(metric).name})", "n", *(column.label for column in columns)]
    cells = [[_name_row(row), write_counts(row["counts"]), *(write_cell(cell, unit) for cell in row["cells"])] for row in rows]
    return write_markdown(heads, cells)


def _name_row(row: Mapping[str, Any]) -> str:
    return str(row["name"]) if "name" in row else f"{row['label']} {row['title']}".strip()


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
