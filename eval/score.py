"""Score predictions: rates with intervals per scenario and group, calibration, kinds of mistakes. Offline, no GPU.

    python -m eval.score outputs/demo/stage2/predictions.jsonl --output outputs/demo/stage2/scores.json
    python -m eval.score outputs/test/predictions.jsonl --train outputs/data/train.parquet \
        --validation outputs/validation/predictions.jsonl

20,000 notes of 10 codes with rankings of 20, with everything that is on by default, take 13 s of one core and 0.4 GB, without
rankings 11 s (`benchmarks/scoring_speed.py`), the whole command 17 s. About half are the resamples of 37 groups, shared
alike by drawing, sparse products of weights with the counts of each code, and means over codes; the rest is counting, sorting
mistakes and areas under the curve. Exact areas for each resample would be dearest by far, hence their linear part
(`eval.scoring.ranked`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, FilePath

from data_gen.examples import SCENARIOS
from eval.metrics import measure
from eval.predictions import Prediction
from eval.scores_file import SCHEMA_VERSION
from eval.scoring.bootstrap import LEVEL, Resampling, bootstrap
from eval.scoring.breakdown import SMALL, Group, count_codes, list_groups
from eval.scoring.calibration import build_calibration
from eval.scoring.cases import Cases, build_cases, find_right_codes, restrict
from eval.scoring.checks import check_validation, read_run
from eval.scoring.tally import count
from eval.scoring.taxonomy import KINDS, count_confusions, count_kinds, count_refused, count_statuses, find_mistake
from eval.scoring.threshold import apply_threshold, choose_threshold
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.run_header import hash_file, write_json

_DIGITS = 10
"""Digits kept of a rate: more than anyone needs, fewer than could differ between machines."""


class ScoreSettings(Settings):
    """What to score and how."""

    predictions: FilePath = Field(description="predictions.jsonl of eval.predict, its run.json beside it")
    output: Path | None = Field(None, description="where to write; scores.json beside the predictions when omitted")
    data: FilePath | None = Field(
        None, description="examples that were answered, to compare ids and codes with; where the header says when omitted"
    )
    validation: FilePath | None = Field(
        None, description="predictions of the same engine for validation examples, to fit a threshold and a calibration on"
    )
    train: FilePath | None = Field(None, description="training examples, to break scores down by how often they have a code")
    calibrator: Literal["temperature", "isotonic"] = Field("temperature", description="what is fitted to confidences")
    code_file: FilePath | None = Field(
        None, description="CMS code file of the release that the predictions were made with; the embedded release when omitted"
    )
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    n_boot: int = Field(1000, ge=100, description="bootstrap resamples behind each interval")
    seed: int = Field(0, ge=0, description="seed of the resamples")
    n_examples: int = Field(12, ge=0, description="worst answers to list per scenario")
    dry_run: bool = Field(False, description="read and check everything, write nothing")


class Fitted(NamedTuple):
    """What a threshold and a calibration are fitted on.

    Attributes:
        predictions: those of other examples than are scored.
        source: where they are from, for the reader.
        calibrator: a key of `eval.scoring.calibration.CALIBRATORS`.
    """

    predictions: Sequence[Prediction]
    source: str
    calibrator: str = "temperature"


def main(argv: Sequence[str] | None = None) -> None:
    """Score one predictions file."""
    settings = load_settings(ScoreSettings, argv, doc=__doc__, prog="eval.score", positional="predictions")
    path, output = settings.predictions, settings.output or settings.predictions.with_name("scores.json")
    codes = CodeSet.load(settings.code_file, settings.release)
    run = read_run(path, codes, settings.data)
    notes, fitted = run.notes, None
    if settings.validation:
        validation = read_run(settings.validation, codes)
        notes = [*notes, *check_validation(run, validation), *(f"validation: {note}" for note in validation.notes)]
        fitted = Fitted(validation.predictions, str(validation.path), settings.calibrator)
    trained = count_codes(settings.train) if settings.train else None
    for note in notes:
        say(f"note: {path}: {note}")
    if settings.dry_run:
        say(f"would score {len(run.predictions):,} predictions with {settings.n_boot:,} resamples and write {output}")
        return
    resampling = Resampling(settings.n_boot, settings.seed)
    scores = build_scores(run.predictions, run.header, codes, resampling, settings.n_examples, trained, fitted)
    files = {"predictions": path, "validation": settings.validation, "train": settings.train}
    scores["scoring"] |= {f"{name}_sha256": hash_file(file) for name, file in files.items() if file}
    scores["scoring"]["notes"] = notes
    write_json(output, scores)
    print(write_table(scores))
    say(f"written: {output}")


def build_scores(
    predictions: Sequence[Prediction],
    header: Mapping[str, Any],
    codes: CodeSet,
    resampling: Resampling,
    n_examples: int = 12,
    trained: Mapping[str, int] | None = None,
    fitted: Fitted | None = None,
) -> dict[str, Any]:
    """Return the content of `scores.json`; the same for the same predictions in any order.

    Args:
        predictions: one or more.
        header: their run.json.
        codes: the release they were made with.
        resampling: how intervals are drawn.
        n_examples: worst answers to list per scenario.
        trained: how many training examples each code has; without it nothing is broken down by frequency.
        fitted: what a threshold and a calibration are fitted on; without it there are none.
    """
    from tqdm import tqdm

    ordered = sorted(predictions, key=lambda prediction: prediction.id)
    cases, source = build_cases(ordered), find_score_source(header)
    masks = {name: np.array([p.scenario == name for p in ordered]) for name in SCENARIOS}
    masks = {name: rows for name, rows in masks.items() if rows.any()}
    mistakes = [find_mistake(prediction, codes) for prediction in ordered]
    kinds = [mistake.kind for mistake in mistakes]
    overall = score_group(ordered, cases, codes, resampling)

    def score_rows(rows: np.ndarray, part: Cases, areas: bool) -> dict[str, Any]:
        everything = part.n == cases.n and len(part.rows) == len(cases.rows) and (part.ranks is None) == (cases.ranks is None)
        return overall if everything else score_group(_choose(ordered, rows), part, codes, resampling, areas)

    def score_part(group: Group) -> dict[str, Any]:
        scored = score_rows(group.rows, group.cases, areas=False)
        bar.update()
        return {"label": group.label, "small": group.cases.n < SMALL, **scored}

    groups = list_groups(ordered, cases, trained)
    bar = tqdm(total=sum(map(len, groups.values())), desc="scoring", unit="group", leave=False, disable=None)
    with bar:
        breakdowns = {dimension: [score_part(group) for group in parts] for dimension, parts in groups.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "header": dict(header),
        "scoring": {
            **resampling._asdict(),
            "interval": f"bootstrap over {cases.unit}, percentiles (macro rates reflected), {LEVEL:.0%}",
            "unit": cases.unit,
            "release": codes.release,
            "score_source": source,
        },
        "scenarios": {name: score_rows(rows, restrict(cases, rows), areas=True) for name, rows in masks.items()},
        "overall": overall,
        "closed_set": score_closed(ordered, cases, codes, resampling),
        "breakdowns": breakdowns,
        "thresholded": score_thresholded(ordered, fitted, codes, resampling) if fitted else None,
        "calibration": _calibrate(ordered, source, fitted),
        "confusion": [list(row) for row in count_confusions(mistakes)],
        "errors": {name: count_kinds(_choose(kinds, rows)) for name, rows in masks.items()},
        "examples": {
            name: pick_worst(_choose(ordered, rows), _choose(kinds, rows), n_examples) for name, rows in masks.items()
        },
    }


def find_score_source(header: Mapping[str, Any]) -> str:
    """Return what scores are, one of `eval.scoring.calibration.SOURCES`; headers of earlier versions do not say."""
    of_engine = {"floor": "cosine", "search": "search"}.get(str(header.get("engine")), "logprob")
    return str(header.get("score_source") or of_engine)


def score_group(
    predictions: Sequence[Prediction], cases: Cases, codes: CodeSet, resampling: Resampling, areas: bool = True
) -> dict[str, Any]:
    """Return `n`, `n_patients`, every rate as `{value, low, high}`, and the counts of answers that are no ordinary answers.

    Args:
        predictions: those of the group.
        cases: what is scored of them, in the same order.
        codes: the release, to tell codes that never were from headings and retired ones.
        resampling: how intervals are drawn.
        areas: whether areas under the curve are wanted, too; they take long.
    """
    tally = count(cases, areas)
    values, intervals = measure(tally), bootstrap(tally, *resampling)
    rates = {name: _write_ends(value, intervals[name]) for name, value in values.items()}
    sizes = {"n": cases.n, "n_patients": cases.n_patients}
    return {**sizes, **rates, **count_refused(predictions, codes), **count_statuses(predictions)}


def score_closed(predictions: Sequence[Prediction], cases: Cases, codes: CodeSet, resampling: Resampling) -> dict[str, Any]:
    """Return the group of all predictions less what they wrote and ranked outside the codes that are right somewhere."""
    return score_group(predictions, restrict(cases, codes=find_right_codes(cases)), codes, resampling)


def score_thresholded(
    predictions: Sequence[Prediction], fitted: Fitted, codes: CodeSet, resampling: Resampling
) -> dict[str, Any]:
    """Return the threshold that is best on the validation predictions, and the group of `predictions` under it."""
    threshold, micro_f1 = choose_threshold(fitted.predictions)
    chosen = apply_threshold(predictions, threshold)
    return {
        "threshold": threshold,
        "chosen_on": fitted.source,
        "validation_n": len(fitted.predictions),
        "validation_micro_f1": round(micro_f1, _DIGITS),
        "overall": score_group(chosen, build_cases(chosen), codes, resampling),
    }


def _calibrate(predictions: Sequence[Prediction], source: str, fitted: Fitted | None) -> dict[str, Any] | None:
    if fitted is None:
        return build_calibration(predictions, source)
    return build_calibration(predictions, source, fitted.predictions, fitted.calibrator)


def _choose(items: Sequence[Any], rows: np.ndarray) -> list[Any]:
    return [item for item, chosen in zip(items, rows, strict=True) if chosen]


def _write_ends(value: float, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    return {"value": round(value, _DIGITS), "low": round(low, _DIGITS), "high": round(high, _DIGITS)}


def pick_worst(predictions: Sequence[Prediction], kinds: Sequence[str | None], n: int) -> list[dict[str, Any]]:
    """Return `n` wrong answers without their texts: each kind of mistake in turn, worst kind first, the surest first."""
    by_kind: dict[str, list[Prediction]] = {kind: [] for kind in KINDS}
    for prediction, kind in zip(predictions, kinds, strict=True):
        if kind is not None:
            by_kind[kind].append(prediction)
    for found in by_kind.values():
        found.sort(key=lambda prediction: (-(_read_score(prediction) or 0.0), prediction.id))
    rounds = zip_longest(*([(kind, prediction) for prediction in found] for kind, found in by_kind.items()))
    picked = [item for in_turn in rounds for item in in_turn if item is not None][:n]
    return [
        {
            "id": prediction.id,
            "kind": kind,
            "codes": list(prediction.codes),
            "predicted": [scored.code for scored in prediction.predicted],
            "rejected": list(prediction.rejected),
            "score": _read_score(prediction),
        }
        for kind, prediction in picked
    ]


def write_table(scores: dict[str, Any]) -> str:
    """Return exact and category match as lines of text."""
    lines = [f"{'scenario':<12} {'n':>6}  {'exact match':<23}  {'category match':<23}  {'invalid':>7}"]
    for name, group in [*scores["scenarios"].items(), ("overall", scores["overall"])]:
        rates = "  ".join(f"{_write_rate(group[metric]):<23}" for metric in ("exact_match", "category_match"))
        lines.append(f"{name:<12} {group['n']:>6,}  {rates}  {group['invalid_rate']['value']:>7.1%}")
    return "\n".join(lines)


def _write_rate(rate: dict[str, float]) -> str:
    return f"{100 * rate['value']:5.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _read_score(prediction: Prediction) -> float | None:
    return prediction.predicted[0].score if prediction.predicted else None


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
