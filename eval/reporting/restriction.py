"""Whose texts may be shown: those of a restricted corpus never are, unless the corpus is asked for by name.

>>> find_corpus({"corpus": "mimic_iv", "restricted": True})
'mimic_iv'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_gen import restricted as corpus_mark
from eval.reporting.columns import Column
from icd10cm.config import suggest_name
from icd10cm.errors import ConfigError, DataError
from icd10cm.run_header import read_header

Header = Mapping[str, Any]

_ALWAYS_RESTRICTED = "mimic"
"""Corpora whose name or file has this are restricted, whatever else is said of them."""


def find_corpus(header: Header) -> str:
    """Return the name of the corpus that predictions are of, lower case; empty when it is not recorded."""
    beside = read_beside(header)
    name = header.get("corpus") or _get_data_header(header).get("corpus") or beside.get("corpus") or ""
    return str(name or beside.get("settings", {}).get("corpus") or "").strip().lower()


def find_labels(header: Header) -> str:
    """Return which labels of a corpus count, such as `full` or `top`; empty when it is not recorded."""
    parts = [header, _get_data_header(header), read_beside(header)]
    found = next((part["labels"] for part in parts if part.get("labels")), "")
    return str(found.get("kind", "")) if isinstance(found, Mapping) else str(found)


def is_restricted(header: Header) -> bool:
    """Whether predictions are of a corpus whose texts may not be shown, by their own header or by the data file's."""
    data = str(header.get("data") or "")
    said = [header.get("restricted"), _get_data_header(header).get("restricted")]
    named = _ALWAYS_RESTRICTED in f"{find_corpus(header)} {data}".lower()
    return named or any(said) or (bool(data) and corpus_mark.is_restricted(Path(data)))


def may_show_texts(header: Header, show_texts_of: Sequence[str]) -> bool:
    """Whether the texts of examples may enter the report."""
    return not is_restricted(header) or name_restricted(header) in {name.strip().lower() for name in show_texts_of}


def name_restricted(header: Header) -> str:
    """Return the name by which the texts of a restricted corpus are asked for."""
    return find_corpus(header) or "unnamed"


def list_restricted(headers: Sequence[Header]) -> list[str]:
    """Return the names of the restricted corpora in a report."""
    return sorted({name_restricted(header) for header in headers if is_restricted(header)})


def check_names(columns: Sequence[Column], show_texts_of: Sequence[str]) -> None:
    """Refuse a name that is no restricted corpus of the report. Raises `ConfigError`."""
    known = list_restricted([column.scores["header"] for column in columns])
    for name in show_texts_of:
        if name.strip().lower() not in known:
            hint = suggest_name(name, known) if known else "; none is restricted, so leave it out"
            raise ConfigError(f"command line: 'show_texts_of': no restricted corpus {name!r} among the scores{hint}")


def read_beside(header: Header) -> Header:
    """Return the run header beside the data file, empty where there is none."""
    if not header.get("data"):
        return {}
    try:
        return read_header(Path(str(header["data"])).with_name("run.json"))
    except DataError:
        return {}


def _get_data_header(header: Header) -> Header:
    found = header.get("data_header")
    return found if isinstance(found, Mapping) else {}
