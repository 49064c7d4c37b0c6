"""What was asked and answered, kept in an append-only file: what was paid for is never lost and never paid for again.

`answers.jsonl` has one record per line, of five kinds:

- `about`: the model and the release that all answers of the store are for; once, before the first request.
- `sent`: a request is about to be sent, with the most it can cost and the time; written before it is.
- `refused`: the server answered with an error, which costs nothing; with a `reason` when asking again is no use.
- `answer`: the server answered; on the disk (fsync) before anything else happens to it.
- `batch`: a batch of requests changed its state (`submitting`, `submitted`, `collected`, `failed`).

A request that was sent and neither refused nor answered (a cut connection, a kill) is lost: it may have been paid for, so
it counts with the most it can cost. `recovery` looks for its answer at the provider before it is sent again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.errors import DataError

FILE_NAME = "answers.jsonl"


class Sent(NamedTuple):
    """One sending of a request.

    Attributes:
        most: US dollars that it can cost at most.
        at: seconds since 1970.
    """

    most: float
    at: float


class Store:
    """The answers in a folder; open it by `open_store` or `read_store`.

    Attributes:
        folder: where it lies.
        about: what all its answers are for (`model`, `release`), empty in a store of older versions.
        batches: label to what is known of each batch.
        refused: request to the reason why no answer will come.
    """

    def __init__(self, folder: Path, file: int | None, writable: bool):
        self.folder = folder
        self.about: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self._file, self._writable, self._end = file, writable, 0
        self._places: dict[str, tuple[int, int]] = {}
        self._answered_cost = self._open_cost = 0.0
        self._open_sent: Counter[tuple[str, float]] = Counter()
        self._last_sent: dict[str, Sent] = {}
        if file is not None:
            self._load(file)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def spent(self) -> float:
        """US dollars of the answers, and of the requests under way or lost at the most they can cost."""
        return self._answered_cost + self._open_cost

    @property
    def n_lost(self) -> int:
        """Requests sent and neither answered nor refused."""
        return self._open_sent.total()

    @property
    def open_batches(self) -> list[str]:
        """Labels of the batches that were, or may have been, submitted and are not collected."""
        return [label for label, batch in self.batches.items() if batch["state"] in ("submitting", "submitted")]

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the answer to the request `key`, None when there is none."""
        if key not in self._places or self._file is None:
            return None
        start, length = self._places[key]
        return json.loads(os.pread(self._file, length, start))

    def find_lost(self, key: str) -> Sent | None:
        """Return when the request `key` was last sent if that was neither answered nor refused, and it has no answer."""
        sent = self._last_sent.get(key)
        return sent if sent and key not in self and self._open_sent[key, sent.most] > 0 else None

    def check_about(self, **about: str) -> None:
        """Write down what the answers are for (`model`, `release`), or compare it with what a filled store says.

        Raises:
            DataError: the store is for another model or release.
        """
        if not self.about and self._writable:
            self._append({"kind": "about", **about})
        for name, ours in about.items():
            theirs = self.about.get(name, ours)
            if theirs != ours:
                raise DataError(
                    f"{self.folder / FILE_NAME}: holds answers for {name} {theirs}, not {ours}; give another `writer.store`, "
                    f"or the {name} it was filled for"
                )

    def add_sent(self, key: str, most: float) -> None:
        """Note that a request is about to be sent, which can cost as much as `most` US dollars."""
        self._append({"kind": "sent", "key": key, "most": most, "at": round(time.time(), 3)})

    def add_refused(self, key: str, most: float, reason: str = "") -> None:
        """Note that a request noted by `add_sent` was refused and cost nothing; with a reason it is not asked again."""
        self._append({"kind": "refused", "key": key, "most": most, "reason": reason})

    def add_answer(self, key: str, body: Any, cost: float, most: float, sync: bool = True, **facts: Any) -> None:
        """Keep an answer; it is on the disk when this returns. An answer to a request that has one is not kept.

        Args:
            key: of the request.
            body: JSON of the answer, or its text when it is no JSON.
            cost: US dollars.
            most: what was noted before it was sent.
            sync: False leaves it to a later `sync` to put it on the disk.
            facts: what else to keep of it, such as the code.
        """
        if key not in self:
            self._append({"kind": "answer", "key": key, "cost": cost, "most": most, **facts, "body": body}, sync)

    def add_batch(self, label: str, **facts: Any) -> None:
        """Keep what is known of a batch, on the disk when this returns: `state`, `id`, `most` (request to US dollars)."""
        self._append({"kind": "batch", "label": label, **facts}, sync=True)

    def sync(self) -> None:
        """Wait until all is on the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def _append(self, record: Mapping[str, Any], sync: bool = False) -> None:
        assert self._file is not None and self._writable, "a store that is only read"
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if sync:
            self.sync()
        self._count(json.loads(line), self._end, len(line))
        self._end += len(line)

    def _load(self, file: int) -> None:
        """Read every record; a torn last line, which a kill leaves, is cut off in a store that is written."""
        with os.fdopen(os.dup(file), "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._count(json.loads(line), self._end, len(line))
                except (ValueError, KeyError, TypeError):
                    raise DataError(
                        f"{self.folder / FILE_NAME}, line {number}: not a record of this store; "
                        "restore the file from a copy, or remove the line and pay for its answer again"
                    ) from None
                self._end += len(line)
        if self._writable and os.fstat(file).st_size > self._end:
            os.ftruncate(file, self._end)
            self.sync()

    def _count(self, record: Mapping[str, Any], start: int, length: int) -> None:
        match record["kind"]:
            case "about":
                self.about = {name: str(value) for name, value in record.items() if name != "kind"}
            case "sent":
                self._note_sent(record["key"], record["most"])
                # records of older versions have no time: whatever they asked for has long come to its end
                self._last_sent[record["key"]] = Sent(record["most"], record.get("at", 0.0))
            case "refused":
                self._close_sent(record["key"], record["most"])
                if record["reason"]:
                    self.refused[record["key"]] = record["reason"]
            case "answer":
                self._places.setdefault(record["key"], (start, length))
                self._answered_cost += record["cost"]
                self._close_sent(record["key"], record["most"])
                self._last_sent.pop(record["key"], None)
            case "batch":
                batch = self.batches.setdefault(record["label"], {})
                batch.update(record)
                for key, most in record.get("most", {}).items():
                    self._note_sent(key, most)
                if batch["state"] in ("collected", "failed"):
                    for key, most in batch.pop("most", {}).items():
                        self._close_sent(key, most)
            case other:
                raise ValueError(other)

    def _note_sent(self, key: str, most: float) -> None:
        self._open_sent[key, most] += 1
        self._open_cost += most

    def _close_sent(self, key: str, most: float) -> None:
        if self._open_sent[key, most] <= 1:
            self._open_cost -= most * self._open_sent.pop((key, most), 0)
        else:
            self._open_sent[key, most] -= 1
            self._open_cost -= most


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open a store to add to it. Raises `DataError` when it cannot be written, is open elsewhere, or is broken."""
    path = folder / FILE_NAME
    with _explain_failure(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{path}: another process is writing to it; wait for its end, or give another `store`") from None
        yield Store(folder, file, writable=True)
    finally:
        os.close(file)


@contextmanager
def read_store(folder: Path) -> Iterator[Store]:
    """Open a store to read it, whether or not it exists or is being written. Raises `DataError` when it is broken."""
    path = folder / FILE_NAME
    with _explain_failure(path):
        file = os.open(path, os.O_RDONLY) if path.exists() else None
        if file is not None:
            os.pread(file, 1, 0)  # a folder opens, and can then not be read
    try:
        yield Store(folder, file, writable=False)
    finally:
        if file is not None:
            os.close(file)


@contextmanager
def _explain_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); give another folder as `writer.store`") from None
