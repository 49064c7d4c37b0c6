"""Draw scores as one HTML page that needs nothing else, for a clinician and a reviewer; the table beside it as CSV.

python -m eval.report outputs/demo/stage1/scores.json outputs/demo/stage2/scores.json outputs/demo/floor/scores.json \
    --output outputs/demo/report.html
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath

from data_gen.examples import SCENARIOS
from eval import report_charts, report_tables
from eval.metrics import METRICS
from eval.references import LLMCODER
from eval.report_tables import Column
from eval.scores_file import read_scores
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.run_header import write_text

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


class ReportSettings(Settings):
    """What to draw."""

    scores: list[FilePath] = Field(min_length=1, description="scores.json files, a column each, in this order")
    output: Path = Field(Path("report.html"), description="page to write; a .csv of the same name goes beside it")
    code_file: FilePath | None = Field(None, description="CMS code file that has the titles; the embedded release when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    n_examples: int = Field(5, ge=0, description="mistakes to show per scenario and column, of those that the scores list")
    title: str = Field("How well it writes ICD-10-CM codes", description="heading of the page")
    dry_run: bool = Field(False, description="read and check everything, write nothing")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page and its CSV."""
    settings = load_settings(ReportSettings, argv, doc=__doc__, prog="eval.report", positional="scores")
    columns = report_tables.build_columns([read_scores(path) for path in settings.scores])
    codes = CodeSet.load(settings.code_file, settings.release)
    for warning in list_warnings(columns, codes):
        say(f"warning: {warning}")
    table = settings.output.with_suffix(".csv")
    if settings.dry_run:
        say(f"would draw {', '.join(column.label for column in columns)} into {settings.output} and {table}")
        return
    write_text(settings.output, write_page(columns, codes, settings.title, settings.n_examples))
    write_text(table, write_csv(columns))
    say(f"written: {settings.output} and {table}")


def list_warnings(columns: Sequence[Column], codes: CodeSet) -> list[str]:
    """Return in words what to know before the columns are compared, and whether the titles are of another release."""
    releases = sorted({str(column.scores["scoring"]["release"]) for column in columns})
    warnings = []
    differences = report_tables.find_differences(columns)
    if differences:
        warnings.append(f"the scores differ in their {join_words(differences)}, so they can't be compared number by number")
    if releases != [codes.release]:
        warnings.append(
            f"scores of release {join_words(releases)}, but the titles shown are of release {codes.release}; give --code-file"
        )
    return warnings


def write_page(columns: Sequence[Column], codes: CodeSet, title: str, n_examples: int) -> str:
    """Return the HTML page."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["words"] = join_words
    environment.filters["spoken"] = lambda name: name.replace("_", " ").replace("f1", "F1")
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(build_context(columns, codes, title, n_examples))


def build_context(columns: Sequence[Column], codes: CodeSet, title: str, n_examples: int) -> dict[str, Any]:
    """Return what the template shows."""
    from markupsafe import Markup

    main_column = report_tables.find_main(columns)
    return {
        "title": title,
        "columns": columns,
        "series": report_charts.number_series(columns),
        "main": main_column,
        "first": next((column for column in columns if not column.is_floor), columns[0]),
        "rows": report_tables.build_rows(columns),
        "all_rows": {metric: report_tables.build_rows(columns, metric) for metric in METRICS},
        "metric_texts": report_tables.METRIC_TEXTS,
        "against_floor": report_tables.compare_to_floor(columns),
        "differences": report_tables.find_differences(columns),
        "chart": Markup(report_charts.draw_scenarios(columns)),
        "narrow_chart": Markup(report_charts.draw_scenarios(columns, narrow=True)),
        "references": LLMCODER,
        "reference_rows": [
            s for s in SCENARIOS if s in main_column.scores["scenarios"] and any(s in r for r in LLMCODER.values())
        ],
        "n_examples": n_examples,
        "mistakes": report_tables.build_mistakes(columns),
        "worst": [(column, report_tables.build_worst(column, codes, n_examples)) for column in columns],
    }


def write_csv(columns: Sequence[Column]) -> str:
    """Return every number of the page as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(report_tables.list_csv_rows(columns))
    return text.getvalue()


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
