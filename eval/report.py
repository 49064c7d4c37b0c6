"""Draw scores as one HTML page that needs nothing else, for a clinician and a reviewer; every number beside it as CSV and JSON.

python -m eval.report outputs/demo/stage1/scores.json outputs/demo/stage2/scores.json outputs/demo/floor/scores.json \
    --output outputs/demo/report.html

Beside the page go `report.csv`, `report.json` and `report.md` (a section for the checkpoint's model card).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import DirectoryPath, Field, FilePath

from eval.reporting.columns import Column, build_columns, find_differences, join_words
from eval.reporting.content import Wishes, build_content
from eval.reporting.flat import write_csv
from eval.reporting.model_card import write_model_card
from eval.reporting.page import write_page
from eval.reporting.pairs import read_pairs
from eval.reporting.restriction import check_names, list_restricted
from eval.reporting.training import read_runs
from eval.scores_file import read_scores
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import write_text

BESIDE = (".csv", ".json", ".md")
"""What goes beside the page, under its name."""


class ReportSettings(Settings):
    """What to draw."""

    scores: list[FilePath] = Field(min_length=1, description="scores.json files, a column each, in this order")
    output: Path = Field(Path("report.html"), description="page to write; .csv, .json and .md of the same name go beside it")
    paired: list[FilePath] = Field([], description="files of eval.paired: which cases each of two engines alone gets right")
    training: list[DirectoryPath] = Field([], description="checkpoint folders whose curves are drawn, in this order")
    show_texts_of: list[str] = Field(
        [], description="restricted corpora whose texts the report may show, by name (mimic_iv); none when omitted"
    )
    code_file: FilePath | None = Field(None, description="CMS code file that has the titles; the embedded release when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    n_examples: int = Field(5, ge=0, description="mistakes to show per scenario and column, of those that the scores list")
    n_confusions: int = Field(15, ge=0, description="pairs of categories taken for one another to show per column")
    title: str = Field("How well it writes ICD-10-CM codes", description="heading of the page")
    dry_run: bool = Field(False, description="read and check everything, write nothing")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page and what goes beside it."""
    settings = load_settings(ReportSettings, argv, doc=__doc__, prog="eval.report", positional="scores")
    outputs = list_outputs(settings)
    columns = build_columns([read_scores(path) for path in settings.scores])
    check_names(columns, settings.show_texts_of)
    pairs, runs = [read_pairs(path) for path in settings.paired], read_runs(settings.training)
    codes = CodeSet.load(settings.code_file, settings.release)
    for warning in list_warnings(columns, codes, settings.show_texts_of):
        say(f"warning: {warning}")
    if settings.dry_run:
        say(f"would draw {', '.join(column.label for column in columns)} into {join_words([*map(str, outputs)])}")
        return
    wishes = Wishes(settings.title, settings.n_examples, settings.n_confusions, settings.show_texts_of)
    content = build_content(columns, codes, wishes, pairs, runs)
    beside = (
        write_csv(columns, content),
        json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        write_model_card(columns, content),
    )
    for path, text in zip(outputs, (write_page(columns, content), *beside), strict=True):
        write_text(path, text)
    say(f"written: {join_words([*map(str, outputs)])}")


def list_outputs(settings: ReportSettings) -> list[Path]:
    """Return the files to write, the page first. Raises `ConfigError` when one of them is an input."""
    outputs = [settings.output, *(settings.output.with_suffix(suffix) for suffix in BESIDE)]
    inputs = {path.resolve() for path in (*settings.scores, *settings.paired)}
    for path in outputs:
        if path.resolve() in inputs or outputs.count(path) > 1:
            raise ConfigError(
                f"command line: 'output': {settings.output} would write {path} over what it is read from; name it .html"
            )
    return outputs


def list_warnings(columns: Sequence[Column], codes: CodeSet, show_texts_of: Sequence[str] = ()) -> list[str]:
    """Return in words what to know before the columns are compared, before the report is passed on, and of the titles."""
    releases = sorted({str(column.scores["scoring"]["release"]) for column in columns})
    warnings = []
    differences = find_differences(columns)
    if differences:
        warnings.append(f"the scores differ in their {join_words(differences)}, so they can't be compared number by number")
    if releases != [codes.release]:
        warnings.append(
            f"scores of release {join_words(releases)}, but the titles shown are of release {codes.release}; give --code-file"
        )
    if show_texts_of and list_restricted([column.scores["header"] for column in columns]):
        warnings.append(f"the report holds texts of {join_words(sorted(show_texts_of))}; its terms of use go with every copy")
    return warnings


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
