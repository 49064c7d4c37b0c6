"""A model server of our own, started again whenever it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from icd10cm.entry import say
from serving.api.settings import ApiSettings
from serving.command import ServeSettings
from serving.default_model import find_model
from serving.orphans import build_parting

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LASTING = 60.0
"""Seconds after which a server counts as having started well."""
_STOP_SECONDS = 90.0
"""More than the server itself takes to stop all that it started."""


class Supervisor:
    """Runs a server in a process of its own, so that stopping it needs no patience of ours."""

    def __init__(self, command: Sequence[str]):
        """Prepare; `command` is what `build_command` returns."""
        self._command = list(command)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="model server", daemon=True)

    def start(self) -> None:
        """Start the server, and a thread that looks after it."""
        self._launch()
        self._thread.start()

    def stop(self) -> None:
        """Stop the server and all that it started."""
        self._stopping.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(_STOP_SECONDS)

    def _launch(self) -> None:
        # Ctrl-C reaches us alone: the server must outlive the requests that are under way
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=build_parting()
        )

    def _keep_running(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            assert self._process is not None
            started = time.monotonic()
            status = self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _LASTING:
                pause = _FIRST_PAUSE
            say(f"the model server ended with status {status}; it is started again in {pause:g} s")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            self._launch()
            if self._stopping.is_set():
                self._process.terminate()


def build_server_settings(settings: ApiSettings, port: int) -> dict[str, Any]:
    """Return the settings of the model server that `model`, or the lack of it, stands for."""
    given = {"model": find_model(settings.model), "code_file": settings.code_file, "port": port}
    return {**given, "host": "127.0.0.1", **settings.server}


def build_command(settings: ServeSettings) -> list[str]:
    """Return how `serving.serve` is started: the model, and every setting that differs from its default."""
    words = [sys.executable, "-m", "serving.serve"]
    given = {"model": str(settings.model), **settings.model_dump(mode="json", exclude_defaults=True)}
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)]
    return words
