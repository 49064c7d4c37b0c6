"""Score predictions: rates with intervals per scenario, kinds of mistakes, some of the worst answers. Offline, no GPU.

python -m eval.score outputs/demo/stage2/predictions.jsonl --output outputs/demo/stage2/scores.json
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath

from data_gen.examples import SCENARIOS
from eval.bootstrap import LEVEL, bootstrap
from eval.metrics import count, count_statuses, measure
from eval.predictions import Prediction, read_predictions
from eval.scores_file import SCHEMA_VERSION
from eval.taxonomy import KINDS, count_kinds, find_kind
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import DataError
from icd10cm.prompts import PROMPT_VERSION
from icd10cm.run_header import hash_file, read_header, write_json

_DIGITS = 10
"""Digits kept of a rate: more than anyone needs, fewer than could differ between machines."""


class ScoreSettings(Settings):
    """What to score and how."""

    predictions: FilePath = Field(description="predictions.jsonl of eval.predict, its run.json beside it")
    output: Path | None = Field(None, description="where to write; scores.json beside the predictions when omitted")
    code_file: FilePath | None = Field(
        None, description="CMS code file of the release that the predictions were made with; the embedded release when omitted"
    )
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    n_boot: int = Field(1000, ge=100, description="bootstrap resamples behind each interval")
    seed: int = Field(0, ge=0, description="seed of the resamples")
    n_examples: int = Field(12, ge=0, description="worst answers to list per scenario")
    dry_run: bool = Field(False, description="read and check everything, write nothing")


def main(argv: Sequence[str] | None = None) -> None:
    """Score one predictions file."""
    settings = load_settings(ScoreSettings, argv, doc=__doc__, prog="eval.score", positional="predictions")
    output = settings.output or settings.predictions.with_name("scores.json")
    header = read_header(settings.predictions.with_name("run.json"))
    codes = CodeSet.load(settings.code_file, settings.release)
    check_header(header, codes, settings.predictions)
    predictions = read_predictions(settings.predictions)
    check_finished(header, len(predictions), settings.predictions)
    if settings.dry_run:
        say(f"would score {len(predictions):,} predictions with {settings.n_boot:,} resamples and write {output}")
        return
    scores = build_scores(predictions, header, codes, settings.n_boot, settings.seed, settings.n_examples)
    scores["scoring"]["predictions_sha256"] = hash_file(settings.predictions)
    write_json(output, scores)
    print(write_table(scores))
    say(f"written: {output}")


def check_header(header: dict[str, Any], codes: CodeSet, path: Path) -> None:
    """Refuse predictions of another release; warn of another prompt version. Raises `DataError`."""
    release = header.get("release")
    if release not in (None, codes.release):
        raise DataError(
            f"{path}: predictions of release {release}, but the code set is release {codes.release}; "
            "give the file of that release with --code-file, and --release if its name lacks the year"
        )
    if header.get("prompt_version", PROMPT_VERSION) != PROMPT_VERSION:
        say(f"note: {path} was made with prompt version {header['prompt_version']}, this version has {PROMPT_VERSION}")


def check_finished(header: dict[str, Any], n: int, path: Path) -> None:
    """Refuse predictions that are fewer or more than their run counted; warn where it never came to count them."""
    counted = header.get("counts", {}).get("n")
    if counted is None:
        say(f"note: run.json beside {path} has no counts, so the run may have been stopped; these are {n:,} predictions")
    elif counted != n:
        raise DataError(f"{path}: {n:,} predictions, but its run counted {counted:,}; run the same eval.predict command again")


def build_scores(
    predictions: Sequence[Prediction],
    header: dict[str, Any],
    codes: CodeSet,
    n_boot: int = 1000,
    seed: int = 0,
    n_examples: int = 12,
) -> dict[str, Any]:
    """Return the content of `scores.json`; the same for the same predictions in any order."""
    ordered = sorted(predictions, key=lambda prediction: prediction.id)
    groups = {scenario: [p for p in ordered if p.scenario == scenario] for scenario in SCENARIOS}
    groups = {scenario: group for scenario, group in groups.items() if group}
    return {
        "schema_version": SCHEMA_VERSION,
        "header": header,
        "scoring": {
            "n_boot": n_boot,
            "seed": seed,
            "interval": f"bootstrap over examples, percentiles, {LEVEL:.0%}",
            "release": codes.release,
        },
        "scenarios": {scenario: score_group(group, n_boot, seed) for scenario, group in groups.items()},
        "overall": score_group(ordered, n_boot, seed),
        "errors": {scenario: count_kinds(group, codes) for scenario, group in groups.items()},
        "examples": {scenario: pick_worst(group, codes, n_examples) for scenario, group in groups.items()},
    }


def score_group(predictions: Sequence[Prediction], n_boot: int, seed: int) -> dict[str, Any]:
    """Return `n`, every rate as `{value, low, high}`, and the counts of answers that are no ordinary answers."""
    tally = count(predictions)
    values, intervals = measure(tally), bootstrap(tally, n_boot, seed)
    rates = {
        name: {
            key: round(number, _DIGITS) for key, number in zip(("value", "low", "high"), (value, *intervals[name]), strict=True)
        }
        for name, value in values.items()
    }
    return {"n": len(predictions), **rates, **count_statuses(predictions)}


def pick_worst(predictions: Sequence[Prediction], codes: CodeSet, n: int) -> list[dict[str, Any]]:
    """Return `n` wrong answers without their texts: each kind of mistake in turn, worst kind first, the surest first."""
    kinds = [(find_kind(prediction, codes), prediction) for prediction in predictions]
    by_kind = [
        sorted((p for found, p in kinds if found == kind), key=lambda p: (-(_read_score(p) or 0.0), p.id)) for kind in KINDS
    ]
    rounds = zip_longest(*by_kind)
    picked = [prediction for in_turn in rounds for prediction in in_turn if prediction is not None][:n]
    kind_of = {prediction.id: kind for kind, prediction in kinds}
    return [
        {
            "id": prediction.id,
            "kind": kind_of[prediction.id],
            "codes": list(prediction.codes),
            "predicted": [scored.code for scored in prediction.predicted],
            "rejected": list(prediction.rejected),
            "score": _read_score(prediction),
        }
        for prediction in picked
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
