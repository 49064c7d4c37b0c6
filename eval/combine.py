"""Answer with a model and a floor together: the floor where the model is unsure. Also: what knowing whom to trust would give.

    python -m eval.combine outputs/stage2/predictions.jsonl outputs/floor/predictions.jsonl \
        --validation outputs/stage2/validation/predictions.jsonl outputs/floor/validation/predictions.jsonl \
        --output outputs/union/predictions.jsonl

The floor answers where the model wrote no code, or a single one with less confidence than a threshold: the one of most exact
matches on the validation predictions. A list of codes stays the model's, however unsure, since a floor only splits texts that
plainly set their conditions apart; so does an answer that the floor has none for. Codes have no scores, since those of the two
are not of one kind; the attribute `answered_by` says whose an answer is. `eval.score` reads the file like any other.

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
_CHOSEN_BY = ("scenarios", "limit", "sample", "seed")
"""Keys of a header that say what was answered, and settings that say which examples of it."""


class CombineSettings(Settings):
    """What to combine, and how."""

    predictions: list[FilePath] = Field(
        min_length=2, max_length=2, description="two files of eval.predict for the same examples: a model's, then a floor's"
    )
    validation: list[FilePath] = Field(
        [], max_length=2, description="the same two for validation examples, to choose the threshold on"
    )
    threshold: float | None = Field(None, ge=0, le=1, description="least confidence that keeps the model's code, not chosen")
    output: Path = Field(Path("union/predictions.jsonl"), description="predictions file to write, in a folder of its own")
    label: str = Field("union", description="short name for reports")
    code_file: FilePath | None = Field(None, description="CMS code file of their release; the embedded release when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    dry_run: bool = Field(False, description="read, check and print everything, write nothing")


class Pair(NamedTuple):
    """The answers of a model and of a floor to the same examples, in the same order.

    Attributes:
        model: the model's.
        floor: the floor's.
        confidences: of the model's answers, 0 to 1, shape (n,); 0 where no code was written.
        open: whether the floor may answer instead, boolean, shape (n,).
    """

    model: list[Prediction]
    floor: list[Prediction]
    confidences: np.ndarray
    open: np.ndarray


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
    threshold = choose_threshold(build_pair(*held)) if settings.threshold is None else settings.threshold
    combined = combine(pair, threshold)
    figures = compare(pair, combined)
    labels = [str(run.header.get("label")) for run in runs]
    print(write_table(figures, [*labels, settings.label]))
    print(f"\nthreshold {threshold:.4f}: the floor answers {sum(_is_floors(one) for one in combined):,} of {len(combined):,}")
    if settings.dry_run:
        say(f"would write {settings.output} and {settings.output.with_name('run.json')}")
        return
    header = build_union_header(settings, runs, held, codes)
    header |= {"threshold": threshold, "exact_match": figures, "notes": notes}
    statuses = [prediction.status for prediction in combined]
    header["counts"] = {"n": len(combined), **{status: statuses.count(status) for status in STATUSES}}
    write_text(settings.output, "".join(map(write_line, combined)))
    write_json(settings.output.with_name("run.json"), header)
    say(f"written: {settings.output}")


def check_settings(settings: CombineSettings) -> None:
    """Refuse settings that do not go together, and a folder that something else wrote. Raises `ConfigError`."""
    if (settings.threshold is None) != (len(settings.validation) == 2):
        raise ConfigError("give either --validation, with the predictions of both for validation examples, or --threshold")
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
    is_open = [len(one.predicted) < 2 and bool(other.predicted) for one, other in zip(a, b, strict=True)]
    return Pair(a, b, confidences, np.array(is_open, dtype=bool))


def choose_threshold(pair: Pair) -> float:
    """Return the confidence below which the floor should answer: of most exact matches, the lowest of equally good ones."""
    gains = (_find_right(pair.floor).astype(int) - _find_right(pair.model))[pair.open]
    confidences = pair.confidences[pair.open]
    candidates = np.unique(np.append(confidences, 1.0))
    order = np.argsort(confidences, kind="stable")
    below = np.searchsorted(confidences[order], candidates)
    totals = np.append(0, np.cumsum(gains[order]))[below]
    return float(candidates[totals.argmax()])


def combine(pair: Pair, threshold: float) -> list[Prediction]:
    """Return whose answer counts where the model's counts from `threshold` on, with the attribute `answered_by`."""
    taken = pair.open & ((pair.confidences < threshold) | (pair.confidences == 0))
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
