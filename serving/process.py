"""Start a server, wait until it answers, and stop it with every process it started.

with start_server(ServeSettings(model=Path("outputs/demo/stage2/model"))) as server:
    print(server.base_url)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from icd10cm.entry import say
from icd10cm.errors import CheckpointError, ConfigError, EngineError
from serving.checkpoint import Checkpoint, check_checkpoint
from serving.command import Launch, ServeSettings, build_launch
from serving.fallback.launch import build_fallback
from serving.hardware import KEY_VARIABLE, check_head_size, check_vllm
from serving.orphans import build_parting

_STOP_SECONDS = 20.0
_SHOWN_LINES = 12
_NAMES = {"vllm": "vLLM", "transformers": "the server over transformers"}


class Server(NamedTuple):
    """A server that answers.

    Attributes:
        base_url: what an OpenAI client needs, such as `http://127.0.0.1:8000/v1`.
        model: name of the model in requests.
        seconds: how long it took to start.
        log_file: where its messages go.
        process: the server's first process.
        engine: `vllm` or `transformers`.
    """

    base_url: str
    model: str
    seconds: float
    log_file: Path
    process: subprocess.Popen[bytes]
    engine: str = "vllm"


class Choice(NamedTuple):
    """The engine that serves, and why it is not the one that was hoped for; empty where it is."""

    engine: str
    notice: str


def check_settings(settings: ServeSettings) -> tuple[Checkpoint, CodeSet]:
    """Find what would go wrong before a server is started, which takes a while to say so; returns what the settings name.

    Raises:
        CheckpointError, CodeFileError, ConfigError, EngineError: one line on what is wrong and what to do.
    """
    codes = CodeSet.load(settings.code_file)
    checkpoint = check_checkpoint(settings.model, codes.release)
    choose_server(settings, checkpoint)
    return checkpoint, codes


def choose_server(settings: ServeSettings, checkpoint: Checkpoint) -> Choice:
    """Return the engine for `settings`: for `auto` vLLM where it is installed and can run the checkpoint.

    Raises:
        CheckpointError, EngineError: vLLM was asked for and cannot run it.
    """
    if settings.engine == "transformers":
        return Choice("transformers", "served by transformers, which is slower than vLLM: engine is transformers")
    try:
        check_vllm()
        check_head_size(checkpoint)
    except (CheckpointError, EngineError) as problem:
        if settings.engine == "vllm":
            raise
        return Choice("transformers", f"served by transformers, which is slower than vLLM: {str(problem).partition(';')[0]}")
    return Choice("vllm", "")


def plan_launch(settings: ServeSettings, checkpoint: Checkpoint) -> tuple[Launch, Choice]:
    """Return how the server is started, and by which engine. Raises what `choose_server` and `build_launch` raise."""
    choice = choose_server(settings, checkpoint)
    build = build_launch if choice.engine == "vllm" else build_fallback
    return build(settings, checkpoint, choice.notice), choice


def check_port(host: str, port: int) -> None:
    """Raise `ConfigError` where nothing can listen on `port`, with the next port that is free."""
    problem = _try_port(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        free = find_free_port(host, port)
        raise ConfigError(f"port {port} on {host} is in use; port {free} is free: --port {free}")
    raise ConfigError(f"cannot listen on {host} port {port} ({problem.strerror or problem})")


def find_free_port(host: str, port: int) -> int:
    """Return `port`, or the next one that is free. Raises `ConfigError` where none of the next 200 is."""
    for candidate in range(port, min(port + 200, 65536)):
        if _try_port(host, candidate) is None:
            return candidate
    raise ConfigError(f"no port from {port} on is free on {host}; choose another one with --port")


@contextlib.contextmanager
def start_server(settings: ServeSettings, progress: bool = True) -> Iterator[Server]:
    """Start vLLM or the fallback, give the server once it has answered a request, and stop it at the end.

    Raises:
        CheckpointError, CodeFileError, ConfigError: something is wrong with the input, before anything is started.
        EngineError: the server ended or did not answer in time; the last lines of its log go to stderr.
    """
    checkpoint, _ = check_settings(settings)
    launch, choice = plan_launch(settings, checkpoint)
    check_port(settings.host, settings.port)
    started = time.monotonic()
    process = _launch(launch, settings.log_file)
    try:
        _wait_until_ready(settings, _NAMES[choice.engine], process, started, progress)
        url = f"{_find_root(settings)}/v1"
        seconds = time.monotonic() - started
        yield Server(url, settings.served_model_name, seconds, settings.log_file, process, choice.engine)
    finally:
        stop_process(process, settings.shutdown_timeout)


def stop_process(process: subprocess.Popen[bytes], seconds: float = 0.0) -> None:
    """End a process started by `start_server` and all that it started: politely, then for good.

    Args:
        process: the first one of its group.
        seconds: what it may take for requests under way, besides what stopping takes.
    """
    try:
        process.send_signal(signal.SIGTERM)
        _wait_for_end(process, _STOP_SECONDS + seconds)
    finally:  # also when Ctrl-C comes a second time
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _wait_for_end(process, _STOP_SECONDS)


def _launch(launch: Launch, log_file: Path) -> subprocess.Popen[bytes]:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        return subprocess.Popen(
            launch.command,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only, which then stops the whole group
            preexec_fn=build_parting(),
        )


def _wait_until_ready(
    settings: ServeSettings, engine: str, process: subprocess.Popen[bytes], started: float, progress: bool
) -> None:
    from tqdm import tqdm

    root = _find_root(settings)
    if progress and not sys.stderr.isatty():
        say(f"starting {engine}, which takes up to a minute on two cores (log: {settings.log_file})")
    layout = f"starting {engine}: " + "{elapsed} (log: " + str(settings.log_file).replace("{", "{{").replace("}", "}}") + ")"
    with tqdm(bar_format=layout, leave=False, disable=not progress or not sys.stderr.isatty()) as bar:
        while not _is_healthy(root):
            if process.poll() is not None:
                raise _explain_end(settings.log_file, f"{engine} ended with status {process.returncode} before it could answer")
            if time.monotonic() - started > settings.start_timeout:
                raise _explain_end(settings.log_file, f"{engine} did not answer within {settings.start_timeout:g} s")
            bar.update(0)
            bar.refresh()
            time.sleep(0.2)
        problem = _ask_once(root, settings.served_model_name)
        if problem:
            raise _explain_end(settings.log_file, f"{engine} started but could not answer a first request ({problem})")


def _is_healthy(root: str) -> bool:
    try:
        with urllib.request.urlopen(f"{root}/health", timeout=5) as reply:
            return reply.status == 200
    except (OSError, ValueError):
        return False


def _ask_once(root: str, model: str) -> str:
    """Send a first request, so that `ready` is true of the model and not only of the server; returns what went wrong."""
    body = json.dumps({"model": model, "prompt": "diabetes", "max_tokens": 8}).encode()
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{root}/v1/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            json.load(reply)
    except urllib.error.HTTPError as error:
        return "" if error.code == 401 else f"HTTP {error.code}"  # a key among extra_args is asked for: it is up
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _explain_end(log_file: Path, problem: str) -> EngineError:
    lines = [line for line in log_file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for line in lines[-_SHOWN_LINES:]:
        say(f"  | {line[:200]}")
    causes = [line for line in lines if ("Error: " in line or "error: " in line) and " WARNING " not in line]
    causes = [line for line in causes if "See root cause above" not in line] or causes
    cause = f": {causes[-1].split('] ')[-1].strip()[:300]}" if causes else ""
    return EngineError(f"{problem}{cause}; see {log_file}")


def _find_root(settings: ServeSettings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"


def _try_port(host: str, port: int) -> OSError | None:
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _wait_for_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (process.poll() is None or _is_group_alive(process.pid)):
        time.sleep(0.05)


def _is_group_alive(group: int) -> bool:
    """Whether a process of the group runs; in a container whose first process fetches no orphans, dead ones stay listed."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if not Path("/proc/self/stat").exists():
        return True
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False
