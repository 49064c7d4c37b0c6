"""Look at the processes of this machine: who runs, and who belongs to whom."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from serving.process import find_free_port


def is_running(pid: int) -> bool:
    """Whether a process is there and more than a dead one that nobody has fetched yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def list_family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    tasks = Path(f"/proc/{pid}/task")
    children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    return [pid, *(member for child in children for member in list_family(child))]


def wait_for(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once `is_so` says so; fail where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether a server answers with 200 there."""
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def find_test_port(first: int) -> int:
    """Return a free port from `first` on; processes of one test run look in ranges of their own, or two could take the same."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return find_free_port("127.0.0.1", first + 2000 * worker)
