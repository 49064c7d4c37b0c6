"""Processes that we start end with us, even where we are killed: a server left behind would keep its port and its memory."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def build_parting() -> Callable[[], None] | None:
    """Return what a child does before it begins (`preexec_fn`): ask Linux for SIGTERM when its parent is gone; None elsewhere.

    The parent is the thread that starts the child, so this is for threads that live as long as the child may.
    """
    if not sys.platform.startswith("linux"):
        return None
    # found now: between fork and exec only the call itself is safe
    control = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        control(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return ask
