"""One function over many items on several cores, results in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

_CHUNK = 64
Item = TypeVar("Item")
Result = TypeVar("Result")


def count_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(call: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield `call(item)` for each item, in order, from `workers` processes; from this one when that is 1.

    The processes are forks, so nothing is copied to them; where a system cannot fork, this process does the work. A
    worker ends by itself when this process is gone: its pipe breaks.
    """
    if workers < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(call, items)
        return
    context = multiprocessing.get_context("fork")
    receivers: list[Connection] = []
    processes = []
    try:
        for number in range(workers):
            receiver, sender = context.Pipe(duplex=False)
            receivers.append(receiver)
            process = context.Process(target=_work, args=(call, items, number, workers, sender, tuple(receivers)), daemon=True)
            process.start()
            processes.append(process)
            sender.close()
        for start in range(0, len(items), _CHUNK):
            results = receivers[start // _CHUNK % workers].recv()
            if isinstance(results, BaseException):
                raise results
            yield from results
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(
    call: Callable[[Any], Any],
    items: Sequence[Any],
    number: int,
    workers: int,
    sender: Connection,
    receivers: tuple[Connection, ...],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for receiver in receivers:
        receiver.close()
    with contextlib.suppress(BrokenPipeError):
        try:
            for start in range(number * _CHUNK, len(items), workers * _CHUNK):
                sender.send([call(item) for item in items[start : start + _CHUNK]])
        except BrokenPipeError:
            raise
        except Exception as error:
            sender.send(error)
