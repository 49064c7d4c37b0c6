"""`run.json` of a job: written before each step that is sent, so that a killed run knows what may have happened."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icd10cm.errors import ConfigError
from icd10cm.run_header import read_header, write_json

JOB = "job_id"
DEAD = ("failed", "cancelled")
ENDED = ("succeeded", *DEAD)


class JobRecord:
    """The header of a run and what is known of its job; every change is on the disk before anything else happens.

    Attributes:
        header: content of `run.json`: beside the header's own keys what is at the provider (`training_file`,
            `validation_file`, `job_id`), `sent` (which of these may be there, and since when), `label`, `job_status`,
            `last_event`, `dead_jobs`.
    """

    def __init__(self, path: Path, header: dict[str, Any]):
        self._path, self.header = path, header

    @property
    def job_id(self) -> str | None:
        """The job under way or finished, None before it is created and after it failed."""
        return self.header.get(JOB)

    def update(self, **facts: Any) -> None:
        """Write down facts."""
        self.header |= facts
        write_json(self._path, self.header)

    def note_sent(self, step: str) -> None:
        """Write down that what makes the provider's `step` is about to be sent."""
        self.update(sent=self.header.get("sent", {}) | {step: time.time()})

    def note_settled(self, step: str, its_id: str | None = None) -> None:
        """Write down what came of a step: the id at the provider, None when it was refused."""
        others = {name: at for name, at in self.header.get("sent", {}).items() if name != step}
        self.update(sent=others, **{step: its_id})

    def find_sent(self, step: str) -> float | None:
        """Return when a step was sent whose outcome is unknown, None when it is known."""
        return self.header.get("sent", {}).get(step)

    def bury_job(self) -> None:
        """Write down that the job came to nothing, so that the next run creates another."""
        self.update(dead_jobs=[*self.header.get("dead_jobs", []), self.job_id], job_id=None)


def read_record(folder: Path) -> JobRecord:
    """Return the record in a folder. Raises `DataError` when there is none."""
    return JobRecord(folder / "run.json", read_header(folder / "run.json"))


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from working on the same job. Raises `ConfigError` when one does."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder}: another process works on this job; wait for its end, or stop it") from None
        yield
    finally:
        os.close(file)
