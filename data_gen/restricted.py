"""Whether the texts of a data file may not be shown: MIMIC-IV's, and those that a user marks so."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icd10cm.run_header import read_header

KEY = "restricted"
"""In `run.json` beside the data, true or false; in the metadata of a parquet file, where it survives a copy, `true`."""


def mark_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose files say that their texts may not be shown."""
    return schema.with_metadata({**(schema.metadata or {}), KEY.encode(): b"true"})


def is_restricted(data: Path) -> bool:
    """Whether a data file says, by itself or in the `run.json` beside it, that its texts may not be shown."""
    if data.suffix == ".parquet" and data.is_file():
        try:
            metadata = pq.read_schema(data).metadata or {}
        except (pa.ArrowException, OSError):
            metadata = {}
        if metadata.get(KEY.encode()) == b"true":
            return True
    header = data.with_name("run.json")
    return header.is_file() and bool(read_header(header).get(KEY))
