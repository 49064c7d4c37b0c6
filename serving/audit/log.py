"""Append records to the audit log, durably and in one chain, from as many threads and processes as there are.

log = AuditLog(Path("outputs/serving/audit/audit.jsonl"))
log.append("coding", {"request_id": "…", "codes": []})

A record is one write to a file opened for appending, flushed to the disk before `append` returns; all writers take turns by a
lock on `audit.lock`. Whatever a crash or a full disk left of a last line is kept, and the next record says so.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.errors import DataError
from serving.audit.records import FIRST, RECOVERY, ROTATION, build_record, read_line, write_line

_BLOCK = 65536


class AuditError(DataError):
    """A record could not be written; what it is about must not go out."""


class Written(NamedTuple):
    """Where a record stands.

    Attributes:
        sequence: its number, 1 the first of the log.
        hash: its hash, which `icdtune audit verify --head` takes.
    """

    sequence: int
    hash: str


class _Head(NamedTuple):
    """The last record: its place in the chain, and the file as it was after it was written."""

    sequence: int
    hash: str
    day: str
    file: int
    size: int


class AuditLog:
    """A log file, rotated to `NAME-SEQUENCE.jsonl` beside it when its day or its size is over."""

    def __init__(self, path: Path, max_bytes: int = 0, daily: bool = False):
        """Make the folder where there is none, and try the log.

        Args:
            path: the file that is written to.
            max_bytes: size after which another file is begun, 0 for never.
            daily: whether another file is begun each day (UTC).

        Raises:
            AuditError: the folder or the log cannot be written, or its first or last line is none of its own.
        """
        self.path, self._max_bytes, self._daily = path, max_bytes, daily
        self._mutex = threading.Lock()
        self._head: _Head | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AuditError(f"{path.parent}: the folder of the audit log cannot be made ({error.strerror})") from None
        with self._lock():
            self._head_now()

    def append(self, kind: str, fields: Mapping[str, Any]) -> Written:
        """Write one record and return where it stands. Raises `AuditError`, the record not being written then."""
        return self.append_all([(kind, fields)])[0]

    def append_all(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Written]:
        """Write records one after the other and flush them to the disk together. Raises `AuditError` as `append` does."""
        with self._lock():
            if self._is_over(self._head_now()):
                self._rotate()
            with self._open() as file:
                head = self._find_head(file)
                if head.sequence and not head.size:
                    first = (ROTATION, {"previous_file": self._list_rotated()[-1].name})
                    return self._write(file, head, [first, *events])[1:]
                return self._write(file, head, events)

    def _head_now(self) -> _Head:
        with self._open() as file:
            return self._find_head(file)

    def _write(self, file: int, head: _Head, events: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Written]:
        sequence, previous, day, size = head.sequence, head.hash, head.day, head.size
        self._head = None
        written = []
        for kind, fields in events:
            record = build_record(kind, sequence + 1, previous, fields)
            line = write_line(record)
            # cut short means a full disk: what is there stays, and the next writer names it
            if (n := os.write(file, line)) != len(line):
                raise AuditError(f"{self.path}: the audit log cannot be written (only {n} of {len(line)} bytes fit)")
            sequence, previous, day, size = sequence + 1, record["hash"], record["time"][:10], size + len(line)
            written.append(Written(sequence, previous))
        os.fsync(file)
        self._head = _Head(sequence, previous, day, head.file, size)
        return written

    def _find_head(self, file: int) -> _Head:
        """Return the last record, after a record of recovery where the last line is torn."""
        facts = os.fstat(file)
        if self._head and (self._head.file, self._head.size) == (facts.st_ino, facts.st_size):
            return self._head
        whole, torn = _read_end(file, facts.st_size)
        head = _Head(0, FIRST, "", facts.st_ino, facts.st_size)
        if whole:
            record = self._check(self.path, whole)
            head = head._replace(sequence=record["sequence"], hash=record["hash"], day=record["time"][:10])
        elif rotated := self._list_rotated():
            record = self._read_last(rotated[-1])
            head = head._replace(sequence=record["sequence"], hash=record["hash"])
        return self._recover(file, head, torn) if torn else head

    def _recover(self, file: int, head: _Head, torn: bytes) -> _Head:
        """Write, behind a torn line, the record that names it."""
        facts = {"torn_bytes": len(torn), "torn_sha256": hashlib.sha256(torn).hexdigest()}
        record = build_record(RECOVERY, head.sequence + 1, head.hash, facts)
        line = b"\n" + write_line(record)
        n = 0
        try:
            n = os.write(file, line)
        finally:
            if n != len(line):  # the torn line is kept, half a record of recovery is not
                os.ftruncate(file, head.size)
        if n != len(line):
            raise AuditError(f"{self.path}: the audit log cannot be written (only {n} of {len(line)} bytes fit)")
        os.fsync(file)
        self._head = _Head(record["sequence"], record["hash"], record["time"][:10], head.file, head.size + n)
        return self._head

    def _is_over(self, head: _Head) -> bool:
        if not head.sequence or not head.size:
            return False
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        return (self._daily and head.day < today) or 0 < self._max_bytes <= head.size

    def _rotate(self) -> None:
        """Move the full file aside, under the number of its first record."""
        with self.path.open("rb") as full:
            first = self._check(self.path, full.readline().rstrip(b"\n"))
        self.path.rename(self.path.with_name(f"{self.path.stem}-{first['sequence']:010d}{self.path.suffix}"))
        _sync_folder(self.path.parent)

    def _list_rotated(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}-{'[0-9]' * 10}{self.path.suffix}"))

    def _read_last(self, path: Path) -> dict[str, Any]:
        file = os.open(path, os.O_RDONLY)
        try:
            return self._check(path, _read_end(file, os.fstat(file).st_size)[0])
        finally:
            os.close(file)

    def _check(self, path: Path, line: bytes) -> dict[str, Any]:
        record = read_line(line)
        if isinstance(record, str):
            raise AuditError(
                f"{path}: its first or last line {record}; look at it with `icdtune audit verify`, then move the log's files "
                "away: a new log begins"
            )
        return record

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if is_new:
                _sync_folder(self.path.parent)
            yield file
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one writer at a time go on, among threads and processes; what the disk says becomes an `AuditError`."""
        with self._mutex:
            try:
                file = os.open(self.path.with_name("audit.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    yield
                finally:
                    os.close(file)
            except OSError as error:
                raise AuditError(f"{self.path}: the audit log cannot be written ({error.strerror})") from None


def _read_end(file: int, size: int) -> tuple[bytes, bytes]:
    """Return the last whole line without its end, and what stands behind it."""
    end = b""
    start = size
    while start > 0 and end.count(b"\n") < 2:
        start, stop = max(0, start - _BLOCK), start
        end = os.pread(file, stop - start, start) + end
    lines = end.split(b"\n")
    return (lines[-2] if len(lines) > 1 else b""), lines[-1]


def _sync_folder(folder: Path) -> None:
    """Make a file's name as durable as its content."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
