"""One record of the audit log: a line of JSON that names the record before it by its hash."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIRST = "0" * 64
"""What the first record of a log has for the hash of the record before it."""

RECOVERY, ROTATION = "recovery", "rotation"
"""Kinds that the log writes itself: after a torn line, and as the first record of a file that follows another one."""

_CHAIN = ("sequence", "time", "kind", "previous", "hash")


def build_record(kind: str, sequence: int, previous: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its hash. Raises `ValueError` where a field has one of the names that the chain needs."""
    if taken := [name for name in fields if name in _CHAIN]:
        raise ValueError(f"a record's own field cannot be called {taken[0]!r}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"sequence": sequence, "time": now, "kind": kind, **fields, "previous": previous}
    return {**record, "hash": hash_record(record)}


def hash_record(record: Mapping[str, Any]) -> str:
    """Return the sha256 over the canonical JSON of a record without its own hash, that of the record before included."""
    return hashlib.sha256(write_canonical({name: value for name, value in record.items() if name != "hash"})).hexdigest()


def write_canonical(content: Any) -> bytes:
    """Return JSON with sorted keys, no blanks and ASCII only: the same bytes for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def write_line(record: Mapping[str, Any]) -> bytes:
    """Return the line of a record, fields in the order that a person reads them in."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def read_line(line: bytes) -> dict[str, Any] | str:
    """Return the record of a line without its end, or what is wrong with it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(record, dict):
        return "is not a record"
    if missing := [name for name in _CHAIN if name not in record]:
        return f"has no {missing[0]!r}"
    if line != write_line(record)[:-1]:  # a key given twice, blanks: what was hashed is not what stands there
        return "is not written as a record is"
    if record["hash"] != hash_record(record):
        return "was changed: its hash does not fit its content"
    return record
