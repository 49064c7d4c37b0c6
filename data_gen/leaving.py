"""Clinical text does not leave this machine, unless the user says that it may: one rule for whatever asks a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from data_gen.examples import Example
from data_gen.restricted import is_restricted
from icd10cm.address import is_this_machine
from icd10cm.run_header import read_header


def check_leaving(what: str, urls: Iterable[str], allowed: bool, instead: str, prefix: str = "") -> None:
    """Refuse to send clinical text to another machine.

    Args:
        what: the clinical text.
        urls: addresses that it would be sent to.
        allowed: the user's `allow_clinical_text_to_leave`.
        instead: what to do otherwise.
        prefix: what stands before that key where it is set, such as `writer.`.

    Raises:
        ValueError: one of the addresses is not this machine, and `allowed` is false.
    """
    away = next((url for url in urls if not is_this_machine(url)), None)
    if away is None or allowed:
        return
    raise ValueError(
        f"{what} counts as clinical text, which may not leave this machine for {urlsplit(away).hostname or 'another'}, nor may "
        f"what is counted in it; {instead}, or set {prefix}allow_clinical_text_to_leave: true where the data use agreement "
        "permits it (PhysioNet's does not for most services)"
    )


def find_clinical(files: Sequence[Path], examples: Iterable[Example]) -> str | None:
    """Return what makes data clinical, for a person to read; None where nothing says so.

    Args:
        files: the data files; each may be marked, or made after a file of real patients (`run.json` beside it).
        examples: their rows; a source whose name begins with mimic is clinical, whatever became of the mark.

    Raises:
        DataError: a `run.json` cannot be read, so that nobody knows.
    """
    for file in files:
        if is_restricted(file):
            return f"{file} (marked as restricted)"
    sources = sorted({example.source for example in examples if example.source.lower().startswith("mimic")})
    if sources:
        return f"source {sources[0]}"
    for header in dict.fromkeys(file.with_name("run.json") for file in files):
        made_with = read_header(header).get("settings", {}) if header.is_file() else {}
        priors = [made_with, *(made_with.get(rows) or {} for rows in ("multiple", "note"))]
        named = [("diagnoses_file", (place.get("prior") or {}).get("diagnoses_file")) for place in priors]
        named += [("examples_file", (made_with.get("writer") or {}).get("examples_file"))]
        for key, path in named:
            if path:
                return f"{header.parent}, made with {key} {path},"
    return None
