"""What every entry does around its work: one-line errors with exit status 2, and a calm Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from icd10cm.errors import ICDTuneError

BAD_INPUT, STOPPED = 2, 130
_FOLDER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def run_entry(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Call `main(argv)` and return the exit status: its own (None is 0), 2 for an error of the input, 130 for Ctrl-C."""
    try:
        return main(argv) or 0
    except ICDTuneError as error:
        say_error(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        say_error("what was done is kept; run the same command again to go on", kind="stopped")
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _FOLDER_ERRORS:
            raise
        say_error(f"{error.filename or 'writing'}: {error.strerror}; make room or choose another folder, then run it again")
        return BAD_INPUT


@contextmanager
def interrupt_when_terminated() -> Iterator[None]:
    """Let SIGTERM and a closed terminal do what Ctrl-C does, so that scratch files go; not where they are caught or ignored."""
    here = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == here:
            raise KeyboardInterrupt
        # a fork of this process is ended as if nobody had caught the signal
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if is_main and signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def say_error(text: str, kind: str = "error") -> None:
    """Write one line to stderr."""
    print(f"icdtune: {kind}: {' '.join(text.split())}", file=sys.stderr, flush=True)


def say(text: str = "") -> None:
    """Write a line of progress for a person to stderr; stdout is for results."""
    print(text, file=sys.stderr, flush=True)
