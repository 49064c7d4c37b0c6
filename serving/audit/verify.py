"""Verify an audit log: does every record still stand where and as it was written?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.errors import DataError
from serving.audit.records import FIRST, RECOVERY, ROTATION, read_line


class Verdict(NamedTuple):
    """What a log is worth.

    Attributes:
        ok: whether nothing was found.
        n_records: records that are as they were, up to the first that is not.
        head: hash of the last of them.
        torn: lines that a crash or a full disk cut off, each followed by the record that says so.
        problem: `FILE, line N: …`, empty where there is none.
    """

    ok: bool
    n_records: int
    head: str
    torn: int
    problem: str


def verify(files: Sequence[Path], head: str | None = None) -> Verdict:
    """Follow the chain through a log's files, oldest first.

    Args:
        files: the log, or several of its files in their order; the first may be one that follows another file.
        head: hash that the log is known to have had: of its last record, or of an earlier one.

    Raises:
        DataError: a file cannot be read.
    """
    chain = _Chain(head)
    for number, path in enumerate(files):
        for line_number, line, following in _read_lines(path):
            problem = chain.follow(line, following, is_start=number == 0 and line_number == 1)
            if problem:
                return chain.judge(f"{path}, line {line_number}: {problem}")
    if not chain.count:
        return chain.judge(f"{files[-1]}: holds no record")
    if chain.pending:
        return chain.judge(f"{files[-1]}: the last line is torn; the record that the next start writes will say so")
    if head is not None and not chain.has_met_head:
        return chain.judge(f"{files[-1]}: cut off: no record has the hash {head}, which the log once had")
    return chain.judge("")


class _Chain:
    """The records followed so far."""

    def __init__(self, wanted: str | None):
        self.wanted = wanted
        self.has_met_head = False
        self.count = self.torn = self.sequence = 0
        self.hash = FIRST
        self.pending = b""
        self._seen: set[str] = set()

    def follow(self, line: bytes, following: bytes | None, is_start: bool) -> str:
        """Take the next line; returns what is wrong with it, empty where nothing is."""
        if self._is_torn(line, following):
            self.torn += 1
            return ""
        if following is None and not line.endswith(b"\n"):
            self.pending = line
            return ""
        record = read_line(line.rstrip(b"\n"))
        if isinstance(record, str):
            return record
        if is_start and record["kind"] == ROTATION:
            self.hash, self.sequence = record["previous"], record["sequence"] - 1
        if record["previous"] != self.hash or record["sequence"] != self.sequence + 1:
            return self._explain_gap(record)
        self.hash, self.sequence = record["hash"], record["sequence"]
        self._seen.add(self.hash)
        self.count += 1
        self.has_met_head = self.has_met_head or self.hash == self.wanted
        return ""

    def judge(self, problem: str) -> Verdict:
        return Verdict(not problem, self.count, self.hash, self.torn, problem)

    def _is_torn(self, line: bytes, following: bytes | None) -> bool:
        """Whether the next line is a record of recovery that names this one."""
        after = read_line(following.rstrip(b"\n")) if following else ""
        return (
            isinstance(after, dict)
            and after["kind"] == RECOVERY
            and after.get("torn_sha256") == hashlib.sha256(line.rstrip(b"\n")).hexdigest()
            and after["previous"] == self.hash
        )

    def _explain_gap(self, record: dict[str, Any]) -> str:
        number = record["sequence"]
        if record["hash"] in self._seen:
            return f"record {number} stands here a second time"
        if not isinstance(number, int) or number <= self.sequence:
            return f"record {number} was inserted, or moved here: record {self.sequence} stands before it"
        if number > self.sequence + 1:
            missing = (
                f"record {self.sequence + 1}" if number == self.sequence + 2 else f"records {self.sequence + 1} to {number - 1}"
            )
            return f"{missing} removed or moved: record {number} follows record {self.sequence}"
        return f"record {number} does not follow the record before it: that one was exchanged, or this one was inserted"


def _read_lines(path: Path) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield number, line with its end, and the line after it."""
    try:
        with path.open("rb") as file:
            line = file.readline()
            number = 1
            while line:
                following = file.readline()
                yield number, line, following or None
                line, number = following, number + 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the log's file or its folder") from None
