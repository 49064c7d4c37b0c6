"""A thread that writes answers: it takes what has come, writes it as one batch, and takes what has come meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from serving.fallback.jobs import Job

logger = logging.getLogger(__name__)


class Batches:
    """Jobs of many requests, written together."""

    def __init__(self, write: Callable[[Sequence[Job]], None], most: int):
        """Start the thread.

        Args:
            write: writes the answers to some jobs.
            most: jobs at a time.
        """
        self._write, self._most = write, most
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batches", daemon=True).start()

    def add(self, jobs: Sequence[Job]) -> None:
        """Let `jobs` be written with those of other requests."""
        for job in jobs:
            self._waiting.put(job)

    def _run(self) -> None:
        while True:
            jobs = [self._waiting.get()]
            while len(jobs) < self._most:
                try:
                    jobs.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            jobs = [job for job in jobs if not job.cancelled]
            try:
                if jobs:
                    self._write(jobs)
            except Exception as error:  # one batch must not end the server; its requests are told
                logger.exception("a batch of %d answers failed", len(jobs))
                for job in jobs:
                    job.error = error
            for job in jobs:
                if job.finish_reason is None:
                    job.report(True)
