"""Go on with predictions that an interrupted run left, and with none that another run made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.predictions import Prediction, read_finished, write_line
from icd10cm.entry import say
from icd10cm.errors import ConfigError
from icd10cm.run_header import read_header, write_text

_CHANGEABLE = {
    "output", "batch_size", "concurrency", "timeout", "retries", "patience", "overwrite", "dry_run",
    "allow_clinical_text_to_leave",
}  # fmt: skip
"""Settings that may differ when a run goes on, since no answer depends on them."""


def take_over(path: Path, header: dict[str, Any], wanted: set[str], overwrite: bool = False) -> dict[str, Prediction]:
    """Return by id the predictions that an earlier run of the same command left, without its failures.

    Args:
        path: the predictions file.
        header: of the run that goes on.
        wanted: ids of its examples.
        overwrite: throw away what is there.

    Raises:
        ConfigError: what is there was made otherwise; names the differences.
    """
    run = path.with_name("run.json")
    if run.is_file() and (stage := read_header(run).get("stage")) != header["stage"]:
        raise ConfigError(f"{run}: belongs to what {stage} wrote; give --output a folder of its own")
    if overwrite:
        path.unlink(missing_ok=True)
        run.unlink(missing_ok=True)
    if not path.exists():
        return {}
    differences = compare_headers(read_header(run), header) if run.is_file() else ["it has no run.json"]
    if differences:
        raise ConfigError(
            f"{path}: holds predictions of another run: {'; '.join(differences)}; choose another --output, or add --overwrite"
        )
    kept = {p.id: p for p in read_finished(path).predictions if p.status != "error" and p.id in wanted}
    # failures are asked again, so their lines must go before new ones are appended
    write_in_order(path, list(kept.values()))
    say(f"{path}: {len(kept):,} of {len(wanted):,} are answered already")
    return kept


def compare_headers(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what differs between two runs and could change an answer."""
    differences = []
    for key in ("engine", "release", "prompt_version"):
        if before.get(key) != now[key]:
            differences.append(f"{key} {before.get(key)} there, {now[key]} here")
    there, here = before.get("settings", {}), now["settings"]
    for key in sorted((there.keys() | here.keys()) - _CHANGEABLE):
        if there.get(key) != here.get(key):
            differences.append(f"{key} {there.get(key)!r} there, {here.get(key)!r} here")
    if not differences:
        before_files, now_files = before.get("inputs", {}), now["inputs"]
        differences = [f"{name} has changed since" for name in sorted(now_files) if before_files.get(name) != now_files[name]]
    return differences


def write_in_order(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write a whole predictions file in one step."""
    write_text(path, "".join(map(write_line, predictions)))
