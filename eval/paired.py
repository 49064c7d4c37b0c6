"""Compare two predictions files over the same examples: differences with intervals, and which cases each alone gets right.

    python -m eval.paired outputs/stage2/predictions.jsonl outputs/floor/predictions.jsonl --output outputs/paired.json

Both are resampled together, so that what makes an example hard for both cancels out: a paired interval is narrower than two
separate ones suggest. The p-value is two-sided, from the same resamples: the least level whose interval excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, FilePath

from data_gen.examples import SCENARIOS
from eval.metrics import measure, measure_weighted
from eval.predictions import Prediction
from eval.scoring.bootstrap import LEVEL, REFLECTED, Resampling, find_interval, resample
from eval.scoring.cases import Cases, build_cases, restrict
from eval.scoring.checks import Run, read_run, show
from eval.scoring.tally import Tally, count
from eval.scoring.taxonomy import find_kind
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file, write_json

SCHEMA_VERSION = 1
OUTCOMES = ("both", "only_a", "only_b", "neither")
"""Who gets a case exactly right."""

_DIGITS = 10


class PairedSettings(Settings):
    """What to compare and how."""

    predictions: list[FilePath] = Field(
        min_length=2, max_length=2, description="two files of eval.predict, their run.json beside them: A, then B"
    )
    output: Path = Field(Path("paired.json"), description="where to write")
    code_file: FilePath | None = Field(None, description="CMS code file of their release; the embedded release when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    n_boot: int = Field(1000, ge=100, description="bootstrap resamples behind each interval")
    seed: int = Field(0, ge=0, description="seed of the resamples")
    n_ids: int = Field(20, ge=0, description="cases to name of each outcome and scenario")
    dry_run: bool = Field(False, description="read and check everything, write nothing")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare two predictions files."""
    settings = load_settings(PairedSettings, argv, doc=__doc__, prog="eval.paired", positional="predictions")
    codes = CodeSet.load(settings.code_file, settings.release)
    runs = [read_run(path, codes) for path in settings.predictions]
    a, b = (sorted(run.predictions, key=lambda prediction: prediction.id) for run in runs)
    check_same(a, b, *runs)
    for run in runs:
        for note in run.notes:
            say(f"note: {run.path}: {note}")
    if settings.dry_run:
        say(f"would compare {len(a):,} cases with {settings.n_boot:,} resamples and write {settings.output}")
        return
    paired = build_paired(a, b, codes, Resampling(settings.n_boot, settings.seed), settings.n_ids)
    paired |= {name: _describe_run(run) for name, run in zip("ab", runs, strict=True)}
    write_json(settings.output, paired)
    print(write_table(paired))
    say(f"written: {settings.output}")


def check_same(a: Sequence[Prediction], b: Sequence[Prediction], run_a: Run, run_b: Run) -> None:
    """Refuse predictions, each sorted by id, that are not of the same examples. Raises `DataError`."""
    ids_a, ids_b = {prediction.id for prediction in a}, {prediction.id for prediction in b}
    if ids_a != ids_b:
        odd = min(ids_a ^ ids_b)
        holder, other = (run_a, run_b) if odd in ids_a else (run_b, run_a)
        raise DataError(
            f"{other.path}: {len(ids_a ^ ids_b):,} examples are in one file only, such as {show(holder.header, odd)} of "
            f"{holder.path}; predict the same data with both"
        )
    for one, two in zip(a, b, strict=True):
        keys = [key for key in ("scenario", "patient") if getattr(one, key) != getattr(two, key)]
        keys += ["codes"] if set(one.codes) != set(two.codes) else []
        if keys:
            which = show(run_a.header, two.id)
            raise DataError(f"{run_b.path}: {keys[0]} of {which} not as in {run_a.path}; predict the same data with both")


def build_paired(
    a: Sequence[Prediction], b: Sequence[Prediction], codes: CodeSet, resampling: Resampling, n_ids: int = 20
) -> dict[str, Any]:
    """Return the comparison of two lists of predictions for the same examples, each sorted by id.

    Returns:
        `schema_version`, `scoring`, and in `scenarios` by name and in `overall`: `n`, `n_patients`; `rates`, each with the
        values of `a` and `b`, their `difference` (A less B), its ends `low` and `high`, and `p`; `cases`, how many are of each
        outcome and of their `union` (either right), with `ids` of some.
    """
    right = [np.array([find_kind(p, codes) is None for p in predictions], dtype=bool) for predictions in (a, b)]
    cases = [build_cases(predictions) for predictions in (a, b)]
    ids = np.array([prediction.id for prediction in a], dtype=object)
    masks = {name: np.array([prediction.scenario == name for prediction in a]) for name in SCENARIOS}
    everything = np.ones(len(a), dtype=bool)

    def compare(rows: np.ndarray) -> dict[str, Any]:
        parts = [restrict(part, rows) for part in cases]
        rates = compare_rates(parts[0], parts[1], resampling)
        sizes = {"n": parts[0].n, "n_patients": parts[0].n_patients}
        return {**sizes, "rates": rates, **sort_outcomes(right[0][rows], right[1][rows], ids[rows], n_ids)}

    return {
        "schema_version": SCHEMA_VERSION,
        "scoring": {
            **resampling._asdict(),
            "unit": cases[0].unit,
            "interval": f"paired bootstrap over {cases[0].unit}, percentiles, {LEVEL:.0%}",
            "release": codes.release,
        },
        "scenarios": {name: compare(rows) for name, rows in masks.items() if rows.any()},
        "overall": compare(everything),
    }


def compare_rates(a: Cases, b: Cases, resampling: Resampling) -> dict[str, dict[str, float]]:
    """Return every rate that both have: `a`, `b`, `difference`, `low`, `high`, `p`."""
    tallies = [count(cases) for cases in (a, b)]
    values = [measure(tally) for tally in tallies]
    shared = [name for name in values[0] if name in values[1]]

    def subtract(weights: np.ndarray) -> dict[str, np.ndarray]:
        ours, theirs = (measure_weighted(tally, weights) for tally in tallies)
        return {name: ours[name] - theirs[name] for name in shared}

    drawn = resample(subtract, tallies[0].n_units, resampling, _add_widths(tallies))
    return {name: _describe(name, values[0][name], values[1][name], drawn[name]) for name in shared}


def sort_outcomes(a: np.ndarray, b: np.ndarray, ids: np.ndarray, n_ids: int) -> dict[str, Any]:
    """Return how many cases only A, only B, both or neither gets right, in `cases`, with the first ids of each in `ids`."""
    masks = dict(zip(OUTCOMES, (a & b, a & ~b, ~a & b, ~a & ~b), strict=True))
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    return {
        "cases": {**counts, "union": int((a | b).sum())},
        "ids": {name: ids[mask][:n_ids].tolist() for name, mask in masks.items()},
    }


def write_table(paired: Mapping[str, Any]) -> str:
    """Return the differences in exact match, and who gets what right, as lines of text."""
    lines = [f"A: {paired['a']['label']}    B: {paired['b']['label']}"]
    head = f"{'scenario':<12} {'n':>6}  {'exact match, A less B':<25} {'p':>6}"
    lines.append(f"{head}  {'both':>6} {'only A':>6} {'only B':>6} {'neither':>7}")
    for name, group in [*paired["scenarios"].items(), ("overall", paired["overall"])]:
        rate, cases = group["rates"]["exact_match"], group["cases"]
        ends = f"{100 * rate['difference']:+.1f} ({100 * rate['low']:+.1f} to {100 * rate['high']:+.1f})"
        counts = f"{cases['both']:>6,} {cases['only_a']:>6,} {cases['only_b']:>6,} {cases['neither']:>7,}"
        lines.append(f"{name:<12} {group['n']:>6,}  {ends:<25} {rate['p']:>6.3f}  {counts}")
    return "\n".join(lines)


def _describe(name: str, a: float, b: float, drawn: np.ndarray) -> dict[str, float]:
    # means over codes are shifted by resampling, see eval.scoring.bootstrap
    drawn = 2 * (a - b) - drawn if name in REFLECTED else drawn
    low, high = find_interval(drawn)
    least = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(1.0, 2 * (least + 1) / (len(drawn) + 1))
    found = {"a": a, "b": b, "difference": a - b, "low": min(low, a - b), "high": max(high, a - b), "p": p}
    return {key: round(float(number), _DIGITS) for key, number in found.items()}


def _describe_run(run: Run) -> dict[str, Any]:
    label = str(run.header.get("label") or run.header.get("model") or run.path)
    return {"label": label, "predictions": str(run.path), "predictions_sha256": hash_file(run.path), "header": run.header}


def _add_widths(tallies: Sequence[Tally]) -> int:
    return sum(tally.widest for tally in tallies)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
