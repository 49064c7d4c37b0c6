"""What is logged: one line for each request, with neither text nor query, and errors without what they quote."""

from __future__ import annotations

import logging
import os
import sys

ACCESS = logging.getLogger("icdtune.access")
_TALKATIVE = ("openai", "httpx", "httpcore", "asyncio", "uvicorn.access", "multipart")
"""Libraries that write whole requests when they are asked to say more."""


class _ToStderr(logging.Handler):
    """Writes to what stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def set_up_logs(access_log: bool) -> None:
    """Send our own lines to stderr, and keep libraries from logging what they send and receive."""
    os.environ.pop("OPENAI_LOG", None)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    ours = logging.getLogger("icdtune")
    ours.setLevel(logging.INFO)
    ACCESS.setLevel(logging.INFO if access_log else logging.WARNING)
    if not ours.handlers:
        handler = _ToStderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        ours.addHandler(handler)
        ours.propagate = False


def log_access(method: str, route: str, status: int, seconds: float, key: str, request_id: str) -> None:
    """Log a request that was answered. `route` is the path's pattern, for a path may be anything."""
    shown = method if method.isalpha() and len(method) < 10 else "?"
    ACCESS.info("%s %s %d %.0f ms key=%s request=%s", shown, route, status, 1000 * seconds, key, request_id)
