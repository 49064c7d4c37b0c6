"""The texts of the examples, as long as the data file is the one that was answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_gen.examples import Example, read_examples
from icd10cm.run_header import hash_file

LONGEST_TEXT = 400


def read_shown(header: Mapping[str, Any]) -> dict[str, Example]:
    """Return the examples of a predictions header by id; empty when the file has gone or is not the same any more."""
    path = Path(str(header.get("data") or ""))
    if not path.is_file() or header.get("inputs", {}).get(str(header["data"])) != hash_file(path):
        return {}
    return {example.id: example for example in read_examples(path)}


def shorten_text(text: str) -> str:
    """Return a text, its end cut off at a word where it is long."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT].rsplit(" ", 1)[0] + " …"
