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

DEAD = ("failed", "cancelled")
ENDED = ("succeeded", *DEAD)


class JobRecord:
    """The header of a run and what is known of its job; every change is on the disk before anything else happens.

    Attributes:
        header: content of `run.json`: beside the header's own keys `job_id`, `job_status`, `sent` (step to the time at which
            it was sent, as long as its answer is out), `dead_jobs` and `last_event`.
    """

    def __init__(self, path: Path, header: dict[str, Any]):
        self._path, self.header = path, header

    @property
    def job_id(self) -> str | None:
        """The job under way or finished, None before it is created and after it failed."""
        return self.header.get("job_id")

    def update(self, **facts: Any) -> None:
        """Write down facts."""
        self.header |= facts
        write_json(self._path, self.header)

    def note_sent(self, step: str) -> None:
        """Write down that a step is about to be sent."""
        self.update(sent=self.header.get("sent", {}) | {step: time.time()})

    def note_settled(self, step: str, **facts: Any) -> None:
        """Write down that it is known whether a step was done."""
        self.update(sent={name: at for name, at in self.header.get("sent", {}).items() if name != step}, **facts)

    def find_sent(self, step: str) -> float | None:
        """Return when a step was sent whose outcome is unknown, None when there is none."""
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
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"{folder}: another process works on this job; wait for its end, or stop it") from None
    finally:
        os.close(file)
