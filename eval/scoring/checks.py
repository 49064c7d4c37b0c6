"""What predictions are checked for before they are scored: their header, their data, and validation that is really apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.examples import Example, read_examples
from eval.predicting.selecting import select_examples
from eval.predictions import Prediction, read_predictions
from icd10cm.codeset import CodeSet
from icd10cm.errors import DataError
from icd10cm.prompts import PROMPT_VERSION
from icd10cm.run_header import hash_file, read_header

Header = Mapping[str, Any]


class Run(NamedTuple):
    """A predictions file that can be scored.

    Attributes:
        path: the file.
        header: run.json beside it.
        predictions: in the order of the file.
        notes: what to know of it, one line each.
    """

    path: Path
    header: dict[str, Any]
    predictions: list[Prediction]
    notes: list[str]


def read_run(path: Path, codes: CodeSet, data: Path | None = None) -> Run:
    """Read a predictions file with its header, and check both.

    Args:
        path: the file.
        codes: the release that it is scored against.
        data: where the examples are, if not where the header says.

    Raises:
        DataError: it cannot be scored; names file, line and reason.
    """
    header = read_header(path.with_name("run.json"))
    notes = check_header(header, codes, path)
    predictions = read_predictions(path)
    notes += check_finished(header, len(predictions), path)
    return Run(path, header, predictions, notes + check_data(header, predictions, path, data))


def check_header(header: Header, codes: CodeSet, path: Path) -> list[str]:
    """Refuse predictions of another release; return a note where their prompt was another one. Raises `DataError`."""
    release = header.get("release")
    if release not in (None, codes.release):
        raise DataError(
            f"{path}: predictions of release {release}, but the code set is release {codes.release}; "
            "give the file of that release with --code-file, and --release if its name lacks the year"
        )
    version = header.get("prompt_version", PROMPT_VERSION)
    return [] if version == PROMPT_VERSION else [f"made with prompt version {version}, this version has {PROMPT_VERSION}"]


def check_finished(header: Header, n: int, path: Path) -> list[str]:
    """Refuse predictions that are fewer or more than their run counted; return a note where it never came to count them."""
    counted = header.get("counts", {}).get("n")
    if counted is None:
        return [f"run.json has no counts, so the run may have been stopped; these are {n:,} predictions"]
    if counted != n:
        raise DataError(f"{path}: {n:,} predictions, but its run counted {counted:,}; run the same eval.predict command again")
    return []


def check_data(header: Header, predictions: Sequence[Prediction], path: Path, data: Path | None = None) -> list[str]:
    """Compare predictions with the examples they answer; return a note where those cannot be had or have changed.

    Args:
        header: run.json of the predictions; names the data file, its sha256, and which examples were chosen.
        predictions: what to check.
        path: their file, for errors.
        data: where the data file is, if not where the header says.

    Raises:
        DataError: an id is not in the data, scenario or codes differ from it, or an example was not answered.
    """
    named = str(header.get("data") or "")
    source = data or Path(named)
    if not named and not data:
        return ["the header names no data file, so ids and codes were not compared with the examples; give it with --data"]
    if not source.is_file():
        return [f"{source} is not there, so ids and codes were not compared with the examples; give it with --data"]
    same = header.get("inputs", {}).get(named) == hash_file(source)
    if not same and data is None:
        return [f"{source} is not the file that was answered, so ids and codes were not compared with it"]
    _compare(header, predictions, read_examples(source), path, source)
    return [] if same else [f"{source} has other bytes than the file that was answered; ids, scenarios and codes are the same"]


def check_validation(scored: Run, validation: Run) -> list[str]:
    """Refuse validation predictions that are not apart from those scored, or that another engine made.

    Returns:
        a note where the model has another name; it may be the same one by another path.

    Raises:
        DataError: the same file, a shared id or patient, or another engine, release, prompt or source of scores.
    """
    advice = "a threshold or calibration must be fitted on other patients than it is judged on"
    path, source = scored.path, validation.path
    if hash_file(source) == hash_file(path):
        raise DataError(f"{source}: the validation predictions are the predictions to score; {advice}")
    for name in ("id", "patient"):
        ours, theirs = ({getattr(prediction, name) for prediction in run.predictions} for run in (scored, validation))
        shared = sorted((ours & theirs) - {""})
        if shared:
            first = show(scored.header, shared[0])
            raise DataError(f"{source}: shares {len(shared):,} {name}s with {path}, {first} first; {advice}")
    for key in ("engine", "release", "prompt_version", "score_source", "ranking_source", "constrained"):
        here, there = scored.header.get(key), validation.header.get(key)
        if here != there:
            raise DataError(
                f"{source}: {key} {there!r}, but {here!r} in {path}; predict both with the same engine and settings"
            )
    here, there = scored.header.get("model"), validation.header.get("model")
    return [] if here == there else [f"validation predictions name the model {there}, those scored {here}"]


def show(header: Header, value: str) -> str:
    """Return an id or codes in quotes, or that they are not shown: those of restricted data belong into no message."""
    return "(not shown)" if header.get("restricted") else repr(value)


def _compare(header: Header, predictions: Sequence[Prediction], examples: Sequence[Example], path: Path, source: Path) -> None:
    chosen = header.get("settings", {})
    scenarios, limit = chosen.get("scenarios") or [], chosen.get("limit") or 0
    sample, seed, sample_of = chosen.get("sample") or 0, chosen.get("seed") or 0, chosen.get("sample_of")
    selected = select_examples(examples, scenarios, limit, source, sample, seed, sample_of)
    known, wanted = {example.id: example for example in examples}, {example.id for example in selected}
    advice = "run the same eval.predict command again"
    for number, prediction in enumerate(predictions, 1):
        where, example = f"{path}, line {number}", known.get(prediction.id)
        if example is None:
            raise DataError(f"{where}: id {show(header, prediction.id)} is not in {source}; {advice}")
        if prediction.scenario != example.scenario:
            raise DataError(f"{where}: scenario {prediction.scenario!r}, but {example.scenario!r} in {source}; {advice}")
        if set(prediction.codes) != set(example.codes):
            ours, theirs = (show(header, ", ".join(found.codes)) for found in (prediction, example))
            raise DataError(f"{where}: right codes {ours}, but {theirs} in {source}; {advice}")
    missing = sorted(wanted - {prediction.id for prediction in predictions})
    if missing:
        share = f"{len(missing):,} of {len(wanted):,} examples of {source}"
        raise DataError(f"{path}: {share} have no answer, {show(header, missing[0])} first; {advice}")
