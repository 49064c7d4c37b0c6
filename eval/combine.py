"""Answer with a model and a floor together: the floor where the model is unsure. Also: what knowing whom to trust would give.

    python -m eval.combine outputs/stage2/predictions.jsonl outputs/floor/predictions.jsonl \
        --validation outputs/stage2/validation/predictions.jsonl outputs/floor/validation/predictions.jsonl \
        --output outputs/union/predictions.jsonl

The floor answers where the model wrote no code, or is less sure than a threshold: one for single codes and one for lists, each
that of most exact matches on the validation predictions. How sure a list is, is the product over its codes. An answer that the
floor has none for stays the model's. Codes have no scores, since those of the two are not of one kind; the attribute
`answered_by` says whose an answer is. `eval.score` reads the file like any other.

*Either right* counts a text as right where one of the two is. Nothing can answer like that: it takes the right codes to choose.
It is an upper bound for every way of combining the two by choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, FilePath

from data_gen.examples import SCENARIOS
from eval.metrics import measure
from eval.paired import check_same
from eval.predictions import STATUSES, Prediction, write_line
from eval.reporting.markdown import write_cell, write_markdown
from eval.scoring.bootstrap import bootstrap
from eval.scoring.calibration import collect_answers
from eval.scoring.cases import build_cases, collect_written
from eval.scoring.checks import Run, check_validation, read_run
from eval.scoring.tally import count
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, DataError
from icd10cm.run_header import build_header, read_header, write_json, write_text

ENGINE = "union"
_PASSED_ON = ("data", "restricted", "corpus", "data_header", "data_releases", "model_release", "long_text")
_CHOSEN_BY = ("scenarios", "limit", "sample", "sample_of", "seed")
"""Keys of a header that say what was answered, and settings that say which examples of it."""


class CombineSettings(Settings):
    """What to combine, and how."""

    predictions: list[FilePath] = Field(
        min_length=2, max_length=2, description="two files of eval.predict for the same examples: a model's, then a floor's"
    )
    validation: list[FilePath] = Field(
        [], max_length=2, description="the same two for validation examples, to choose the thresholds on"
    )
    threshold: float | None = Field(None, ge=0, le=1, description="least confidence that keeps the model's code, not chosen")
    list_threshold: float = Field(
        0.0, ge=0, le=1, description="with threshold: least confidence that keeps a list of codes; 0 keeps every list"
    )
    output: Path = Field(Path("union/predictions.jsonl"), description="predictions file to write, in a folder of its own")
    label: str = Field("union", description="short name for reports")
    code_file: FilePath | None = Field(None, description="CMS code file of their release; the embedded release when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    dry_run: bool = Field(False, description="read, check and print everything, write nothing")


class Thresholds(NamedTuple):
    """The least confidence, 0 to 1, from which the model's answer counts: of a single code, and of a list."""

    single: float
    several: float


class Pair(NamedTuple):
    """The answers of a model and of a floor to the same examples, in the same order.

    Attributes:
        model: the model's.
        floor: the floor's.
        confidences: of the model's answers, 0 to 1, shape (n,); 0 where no code was written.
        open: whether the floor may answer instead, boolean, shape (n,).
        lists: whether the model wrote several codes, boolean, shape (n,).
    """

    model: list[Prediction]
    floor: list[Prediction]
    confidences: np.ndarray
    open: np.ndarray
    lists: np.ndarray


def main(argv: Sequence[str] | None = None) -> None:
    """Combine two predictions files."""
    settings = load_settings(CombineSettings, argv, doc=__doc__, prog="eval.combine", positional="predictions")
    check_settings(settings)
    codes = CodeSet.load(settings.code_file, settings.release)
    runs = [read_run(path, codes) for path in settings.predictions]
    held = [read_run(path, codes) for path in settings.validation]
    notes = [f"{run.path}: {note}" for run in (*runs, *held) for note in run.notes]
    for here, there in zip(runs, held, strict=False):
        notes += [f"{there.path}: {note}" for note in check_validation(here, there)]
    for note in notes:
        say(f"note: {note}")
    pair = build_pair(*runs)
    thresholds = (
        choose_thresholds(build_pair(*held))
        if settings.threshold is None
        else Thresholds(settings.threshold, settings.list_threshold)
    )
    combined = combine(pair, thresholds)
    figures = compare(pair, combined)
    labels = [str(run.header.get("label")) for run in runs]
    print(write_table(figures, [*labels, settings.label]))
    answered = f"the floor answers {sum(map(_is_floors, combined)):,} of {len(combined):,}"
    print(f"\nthreshold {thresholds.single:.4f}, of lists {thresholds.several:.4f}: {answered}")
    if settings.dry_run:
        say(f"would write {settings.output} and {settings.output.with_name('run.json')}")
        return
    header = build_union_header(settings, runs, held, codes)
    header |= {"threshold": thresholds.single, "list_threshold": thresholds.several}
    header |= {"exact_match": figures, "notes": notes}
    statuses = [prediction.status for prediction in combined]
    header["counts"] = {"n": len(combined), **{status: statuses.count(status) for status in STATUSES}}
    write_text(settings.output, "".join(map(write_line, combined)))
    write_json(settings.output.with_name("run.json"), header)
    say(f"written: {settings.output}")


def check_settings(settings: CombineSettings) -> None:
    """Refuse settings that do not go together, and a folder that something else wrote. Raises `ConfigError`."""
    if (settings.threshold is None) != (len(settings.validation) == 2):
        raise ConfigError("give either --validation, with the predictions of both for validation examples, or --threshold")
    if settings.list_threshold and settings.threshold is None:
        raise ConfigError("--list-threshold goes with --threshold; with --validation both are chosen")
    run = settings.output.with_name("run.json")
    if run.is_file() and (stage := read_header(run).get("stage")) != "eval.combine":
        raise ConfigError(f"{run}: belongs to what {stage} wrote; give --output a folder of its own")


def build_pair(model: Run, floor: Run) -> Pair:
    """Return the answers of both, sorted by id. Raises `DataError` where they are of other examples, or without scores."""
    a, b = (sorted(run.predictions, key=lambda prediction: prediction.id) for run in (model, floor))
    check_same(a, b, model, floor)
    if any(scored.score is None for prediction in a for scored in prediction.predicted):
        raise DataError(f"{model.path}: a code has no score, so nobody knows how sure the model was; predict with scores")
    confidences = collect_answers(a, str(model.header.get("score_source") or "logprob")).confidences
    is_open = [bool(other.predicted) for other in b]
    is_list = [len(one.predicted) > 1 for one in a]
    return Pair(a, b, confidences, np.array(is_open, dtype=bool), np.array(is_list, dtype=bool))


def choose_thresholds(pair: Pair) -> Thresholds:
    """Return the confidences below which the floor should answer: of most exact matches, the lowest of equally good ones."""
    gains = _find_right(pair.floor).astype(int) - _find_right(pair.model)
    single, several = (
        _choose_threshold(gains[chosen], pair.confidences[chosen])
        for chosen in (pair.open & ~pair.lists, pair.open & pair.lists)
    )
    return Thresholds(single, several)


def _choose_threshold(gains: np.ndarray, confidences: np.ndarray) -> float:
    """Return the threshold below which the gains add up to most; 0 where nobody gains anything."""
    candidates = np.unique(np.append(confidences, [0.0, 1.0]))
    order = np.argsort(confidences, kind="stable")
    below = np.searchsorted(confidences[order], candidates)
    totals = np.append(0, np.cumsum(gains[order]))[below]
    return float(candidates[totals.argmax()])


def combine(pair: Pair, thresholds: Thresholds) -> list[Prediction]:
    """Return whose answer counts where the model's counts from the thresholds on, with the attribute `answered_by`."""
    least = np.where(pair.lists, thresholds.several, thresholds.single)
    is_nothing = np.array([not one.predicted for one in pair.model], dtype=bool)
    taken = pair.open & ((pair.confidences < least) | is_nothing)
    return [
        _mark(floor, "floor") if is_taken else _mark(model, "model")
        for model, floor, is_taken in zip(pair.model, pair.floor, taken, strict=True)
    ]


def compare(pair: Pair, combined: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """Return by scenario, and over all in `overall`: `n`, `from_floor`, and the exact match of `model`, `floor`, `union` and
    `either`, each with its interval.
    """
    right = _find_right(pair.model)
    either = [a if is_right else b for a, b, is_right in zip(pair.model, pair.floor, right, strict=True)]
    answers = {"model": pair.model, "floor": pair.floor, "union": combined, "either": either}
    found = {}
    for name in (*SCENARIOS, "overall"):
        rows = [row for row, prediction in enumerate(pair.model) if name in (prediction.scenario, "overall")]
        if rows:
            rates = {key: _measure_exact([predictions[row] for row in rows]) for key, predictions in answers.items()}
            found[name] = {"n": len(rows), "from_floor": sum(_is_floors(combined[row]) for row in rows), **rates}
    return found


def write_table(figures: dict[str, dict[str, Any]], labels: Sequence[str]) -> str:
    """Return the exact matches as a Markdown table; `labels` are those of model, floor and union."""
    heads = ["text (exact match)", "n", *labels, "answered by the floor", "either right (upper bound)"]
    rows = [
        [
            "all texts" if name == "overall" else name.replace("_", " "),
            f"{group['n']:,}",
            *(write_cell(group[key]) for key in ("model", "floor", "union")),
            f"{group['from_floor']:,}",
            write_cell(group["either"]),
        ]
        for name, group in figures.items()
    ]
    return write_markdown(heads, rows)


def build_union_header(settings: CombineSettings, runs: Sequence[Run], held: Sequence[Run], codes: CodeSet) -> dict[str, Any]:
    """Return the header of the union: what was answered from the model's, and both as the model."""
    first = runs[0].header
    chosen = {key: value for key, value in first.get("settings", {}).items() if key in _CHOSEN_BY}
    header = build_header(
        "eval.combine",
        chosen | settings.model_dump(mode="json"),
        [run.path for run in (*runs, *held)],
        codes.release,
        label=settings.label,
        engine=ENGINE,
        model=" and ".join(str(run.header.get("model")) for run in runs),
        constrained=all(run.header.get("constrained") for run in runs),
        **{key: first[key] for key in _PASSED_ON if key in first},
    )
    data = str(first.get("data") or "")
    header["inputs"] |= {name: sha256 for name, sha256 in first.get("inputs", {}).items() if name == data}
    return header


def _mark(prediction: Prediction, name: str) -> Prediction:
    predicted = tuple(scored._replace(score=None) for scored in prediction.predicted)
    attributes = tuple(sorted({**dict(prediction.attributes), "answered_by": name}.items()))
    return prediction._replace(predicted=predicted, ranking=(), attributes=attributes)


def _is_floors(prediction: Prediction) -> bool:
    return dict(prediction.attributes)["answered_by"] == "floor"


def _find_right(predictions: Sequence[Prediction]) -> np.ndarray:
    """Return which answers are exactly right, boolean, shape (n,)."""
    return np.array([one.status == "ok" and collect_written(one) == set(one.codes) for one in predictions], dtype=bool)


def _measure_exact(predictions: Sequence[Prediction]) -> dict[str, float]:
    tally = count(build_cases([prediction._replace(ranking=()) for prediction in predictions]), areas=False)
    low, high = bootstrap(tally)["exact_match"]
    return {"value": measure(tally)["exact_match"], "low": low, "high": high}


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
