"""Engines: who generates. Add one as a file with a class that has `name` and `generate`, and a line in `build_engine`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from icd10cm.codeset import CodeSet
from icd10cm.errors import EngineError
from serving.engines.base import NO_ALTERNATIVES, Alternatives, Engine, Generation

__all__ = ["Alternatives", "Engine", "Generation", "build_engine", "choose_engine", "compare_release"]

ENGINES = ("auto", "transformers", "vllm", "endpoint")


def build_engine(
    engine: str = "auto",
    *,
    model: Path | None = None,
    base_url: str | Sequence[str] | None = None,
    model_name: str | None = None,
    code_file: Path | None = None,
    constrained: bool = True,
    instruct: bool = False,
    max_tokens: int = 256,
    batch_size: int = 64,
    dtype: str = "auto",
    concurrency: int = 32,
    timeout: float = 120.0,
    retries: int = 4,
    patience: float = 0.0,
    alternatives: Alternatives = NO_ALTERNATIVES,
    progress: bool = True,
) -> Engine:
    """Return an engine, ready to generate.

    Args:
        engine: one of `ENGINES`; `auto` is `choose_engine`'s choice.
        model: checkpoint folder, for every engine but `endpoint`.
        base_url: of an OpenAI-compatible server, for `endpoint`; several of the same model share the work.
        model_name: name of the model on those servers.
        code_file: release to which answers are limited; the embedded one when None.
        constrained: whether answers are limited to existing codes.
        instruct: whether `endpoint` sends the instruction as a system message.
        max_tokens: the most tokens an answer may have.
        batch_size: prompts at a time, for `transformers`.
        dtype: `auto` or a torch type, for `transformers` and `vllm`.
        concurrency: requests at a time at each server, for `endpoint`.
        timeout: seconds for one request, for `endpoint`.
        retries: of a request that failed in passing, for `endpoint`.
        patience: seconds to wait when no server answers any more, for `endpoint`.
        alternatives: other answers to give besides the greedy one; beams are for `transformers` alone.
        progress: whether to show a bar on stderr.

    Raises:
        CheckpointError, CodeFileError, EngineError: the model, the codes or the server cannot be used.
    """
    kind = choose_engine(engine, model, base_url)
    check_alternatives(kind, alternatives.way)
    if kind == "endpoint":
        from serving.engines.endpoint_engine import EndpointEngine

        return EndpointEngine(
            base_url or (),
            model_name,
            constrained=constrained,
            instruct=instruct,
            max_tokens=max_tokens,
            concurrency=concurrency,
            timeout=timeout,
            retries=retries,
            patience=patience,
            alternatives=alternatives,
            progress=progress,
        )
    from serving.checkpoint import check_checkpoint

    assert model is not None
    checkpoint = check_checkpoint(model)
    codes = CodeSet.load(code_file)
    if kind == "vllm":
        from serving.engines.vllm_engine import VllmEngine
        from serving.hardware import check_head_size

        check_head_size(checkpoint)
        return VllmEngine(
            checkpoint,
            code_file,
            constrained=constrained,
            max_tokens=max_tokens,
            dtype=dtype,
            alternatives=alternatives,
            progress=progress,
        )
    from serving.engines.transformers_engine import TransformersEngine

    return TransformersEngine(
        model,
        codes if constrained else None,
        max_tokens=max_tokens,
        batch_size=batch_size,
        dtype=dtype,
        alternatives=alternatives,
        progress=progress,
    )


def check_alternatives(kind: str, way: str) -> None:
    """Refuse what an engine cannot give. Raises `EngineError`."""
    if way == "beam" and kind != "transformers":
        raise EngineError(f"ranking: beam needs engine transformers, this is {kind}; take ranking: sampling")


def compare_release(engine: Engine, codes: CodeSet) -> list[str]:
    """Return a warning where a server says that it answers with the codes of another release than `codes`."""
    served = getattr(engine, "release", None)
    if served in (None, codes.release):
        return []
    return [f"the server answers with the codes of release {served}, but those of release {codes.release} are loaded"]


def choose_engine(engine: str, model: Path | None, base_url: str | Sequence[str] | None) -> str:
    """Return the engine to use: for `auto` a server where a URL is given, vLLM where there is a GPU, otherwise transformers.

    Raises:
        EngineError: the engine lacks what it needs, or is not known.
    """
    if engine not in ENGINES:
        raise EngineError(f"no engine {engine!r}; known: {', '.join(ENGINES)}")
    if model is None and base_url is None:
        raise EngineError("give a checkpoint folder (--model) or the URL of a server (--base-url)")
    if model is not None and base_url is not None:
        raise EngineError("give a checkpoint folder (--model) or the URL of a server (--base-url), not both")
    if engine == "auto":
        return "endpoint" if base_url else "vllm" if _has_gpu_and_vllm() else "transformers"
    if (engine == "endpoint") != (base_url is not None):
        raise EngineError(f"engine {engine} needs {'--base-url' if engine == 'endpoint' else '--model'}")
    return engine


def _has_gpu_and_vllm() -> bool:
    if importlib.util.find_spec("vllm") is None:
        return False
    from serving.hardware import is_cpu_build

    if is_cpu_build():
        return False
    import torch

    return torch.cuda.is_available()
