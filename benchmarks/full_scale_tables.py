"""Every table of a full-scale run as Markdown, from the files that `benchmarks/full_scale.sh` wrote.

python benchmarks/full_scale_tables.py outputs/full_scratch --output outputs/full_scratch/results.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eval.combine import write_table
from eval.reporting.columns import build_columns
from eval.reporting.markdown import write_markdown
from eval.scores_file import read_scores
from eval.table import write_table as write_score_table
from icd10cm.entry import run_entry, say
from icd10cm.run_header import hash_file, read_header, write_text

_SHORT = 12
"""Characters of a hash that tell files apart."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument("--model", default="stage2", help="folder of the model that is measured in full (default: stage2)")
    parser.add_argument("--floors", nargs="+", default=["floor", "search"], help="floors that answered, the headline's first")
    parser.add_argument("--output", type=Path, default=Path("results.md"), help="file to write")
    arguments = parser.parse_args(argv)
    sections = list_sections(arguments.folder, arguments.model, arguments.floors)
    write_text(arguments.output, "\n\n".join(f"### {title}\n\n{text}" for title, text in sections) + "\n")
    say(f"written: {arguments.output}")


def list_sections(folder: Path, model: str, floors: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each section."""
    measured = [model, *floors, *(f"union_{floor}" for floor in floors)]
    first, everyone = floors[0], [*(stage for stage in ("stage1", "stage2") if stage != model), *measured]
    yield "By kind of text", write_columns(folder, [f"{who}/test" for who in everyone])
    yield (
        "Answers with a code that is not billable",
        write_columns(folder, [f"{who}/test" for who in everyone], metric="invalid_rate"),
    )
    lists = [f"{model}/whole", f"{model}/test", *(f"{floor}/test" for floor in floors)]
    yield "By number of codes: lists read whole, and condition by condition", write_columns(folder, lists, by="n_codes")
    yield "Seen and unseen texts", write_columns(folder, [f"{model}/seen", f"{model}/test"])
    yield (
        "Codes of which training had variants, and codes of which it had the title alone",
        write_columns(folder, ["stage1/test", f"{model}/test", f"{first}/test"], by="scenario_held_out"),
    )
    yield "By chapter", write_columns(folder, [f"{model}/test", f"{first}/test"], by="chapter")
    for floor in floors:
        header = read_header(folder / f"union_{floor}" / "test" / "run.json")
        yield f"Model and {floor} together", write_union(header, floor)
    for name in sorted(path.parent.name for path in folder.glob(f"{model}/*/scores.json")):
        if name not in ("test", "whole", "validation", "seen"):
            scored = [f"{who}/{name}" for who in measured]
            metric = "micro_f1" if name == "codiesp" else None
            yield name.replace("elsewhere_", "").replace("_", " "), write_columns(folder, scored, metric=metric)
    yield "Runs", write_runs(folder)


def write_columns(folder: Path, scored: Sequence[str], by: str = "scenario", metric: str | None = None) -> str:
    """Return the table of some of the scores."""
    return write_score_table(build_columns([read_scores(folder / name / "scores.json") for name in scored]), by, metric)


def write_union(header: dict[str, Any], floor: str) -> str:
    """Return what the union brought and what it could bring at most, with its thresholds."""
    table = write_table(header["exact_match"], ["model", floor, "union"])
    single, several = (f"{header[name]:.4f}" for name in ("threshold", "list_threshold"))
    return f"{table}\n\nThe floor answers below a confidence of {single}, of lists {several}."


def write_runs(folder: Path) -> str:
    """Return size, steps and hours of each stage, and the hashes of data and weights."""
    rows = []
    for stage in (
        stage for stage in ("stage1", "stage2", "everyday", "names") if (folder / stage / "model" / "run.json").is_file()
    ):
        header = read_header(folder / stage / "model" / "run.json")
        weights = sorted((folder / stage / "model").glob("*.safetensors"))
        facts = (f"{header['n_parameters']:,}", f"{header['steps']:,}", f"{_add_seconds(folder, stage) / 3600:.2f}")
        rows.append([stage, *facts, str(header["git_commit"])[:_SHORT], *(hash_file(path)[:_SHORT] for path in weights)])
    heads = ["", "parameters", "steps", "hours", "commit", "sha256 of the weights"]
    files = [[path.name, hash_file(path)[:_SHORT]] for path in sorted((folder / "data").glob("*.parquet"))]
    return "\n\n".join([write_markdown(heads, rows), write_markdown(["data", "sha256"], files)])


def _add_seconds(folder: Path, stage: str) -> float:
    """Return the seconds that all calls of a stage took, start and evaluations included."""
    lines = (folder / "times.tsv").read_text(encoding="utf-8").splitlines() if (folder / "times.tsv").is_file() else []
    called = [line.split("\t") for line in lines]
    own = sum(float(seconds) for _, step, seconds, _ in called if step == stage)
    return own or float(read_header(folder / stage / "model" / "run.json")["train_seconds"])


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
