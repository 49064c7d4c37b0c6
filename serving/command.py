"""Settings of the server, and the vLLM command they stand for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, FilePath, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from icd10cm import embedded
from icd10cm.code_files import guess_release
from icd10cm.config import Settings
from icd10cm.errors import ConfigError
from serving.adapters import Adapter, build_adapter_flags, check_adapters
from serving.checkpoint import Checkpoint
from serving.default_model import find_model
from serving.hardware import avoid_slow_bf16, build_cpu_options, build_vllm_environment, is_cpu_build
from serving.model_facts import SERVED_VARIABLE, Served

_LONGEST_CONTEXT = 8192
_LOOPBACK = ("127.", "localhost", "::1", "[::1]")
_SET_BY = {
    "logits-processors": "constrained",
    "middleware": "prompt_template",
    "kv-cache-memory-bytes": "kv_cache_gib",
    "override-generation-config": "temperature and max_tokens",
    **dict.fromkeys(("enable-lora", "lora-modules", "max-loras", "max-lora-rank"), "adapters"),
}
"""vLLM flags, and the settings that write them under another name."""


class ServeSettings(Settings):
    """How to serve a checkpoint: one YAML file under `configs/serving/`."""

    engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto",
        description="vllm; transformers, which is slower and runs everywhere; auto: vllm where it can run the checkpoint",
    )
    model: Path = Field(default_factory=find_model, description="checkpoint folder; the default model's when left out")
    served_model_name: str = Field("icdtune", min_length=1, description="name of the model in requests")
    adapters: dict[str, Path] = Field(
        default_factory=dict, description="LoRA adapter folders to serve beside the model, by their names in requests"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every network")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    dtype: str = Field(
        "auto",
        description="auto (the checkpoint's own, but no bf16 on a CPU that only imitates it), float32, bfloat16 or float16",
    )
    quantization: str | None = Field(
        None, description="how vLLM quantises the weights, such as fp8; a quantised checkpoint is served as it is when empty"
    )
    tensor_parallel_size: PositiveInt = Field(1, description="GPUs that share each layer, for a model too large for one")
    data_parallel_size: PositiveInt = Field(1, description="copies of the model, each on GPUs of its own, for more requests")
    max_model_len: PositiveInt | None = Field(
        None, description=f"longest prompt and answer together, in tokens; the checkpoint's own, at most {_LONGEST_CONTEXT}"
    )
    max_num_seqs: PositiveInt | None = Field(None, description="most requests computed at a time; vLLM's own choice when empty")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory to use")
    enable_prefix_caching: bool = Field(True, description="keep the attention of beginnings that prompts share")
    kv_cache_gib: PositiveFloat | None = Field(
        None, description="memory for the attention cache in GiB; on a CPU room for two full-length answers, at least 0.25"
    )
    cpu_threads: PositiveInt | None = Field(None, description="threads for computing without a GPU; all cores but one")
    constrained: bool = Field(True, description="let answers hold existing codes only; a request can switch it off for itself")
    allow_unconstrained: bool | None = Field(
        None, description="whether a request may switch that off; true when empty and the host is this machine's own"
    )
    code_file: FilePath | None = Field(None, description="CMS code file of the release to keep to; the embedded one when empty")
    prompt_template: bool = Field(True, description="put raw texts sent to /v1/completions into the chat template")
    temperature: NonNegativeFloat = Field(0.0, description="sampling temperature where a request gives none")
    max_tokens: PositiveInt = Field(512, description="most tokens an answer may have")
    max_body_bytes: PositiveInt = Field(4 * 2**20, description="largest request that is read, in bytes")
    start_timeout: PositiveFloat = Field(900.0, description="seconds to wait until the server answers")
    shutdown_timeout: NonNegativeInt = Field(60, description="seconds that requests under way get to finish when it is stopped")
    log_file: Path = Field(Path("outputs/serving/vllm.log"), description="where vLLM's own messages go")
    extra_args: dict[str, Any] = Field(default_factory=dict, description="any other vLLM flags, such as {seed: 1}")

    @field_validator("extra_args")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        taken = _SET_BY | {name.replace("_", "-"): name for name in cls.model_fields}
        clashes = [f"{key!r} is set by {taken[_name_flag(key)]}" for key in extra if _name_flag(key) in taken]
        if clashes:
            raise ValueError("; ".join(clashes))
        return extra


class Launch(NamedTuple):
    """A command with the environment variables it needs beside those of this process."""

    command: list[str]
    environment: dict[str, str]


def describe_served(settings: ServeSettings, checkpoint: Checkpoint, engine: str, notice: str = "") -> Served:
    """Return what the server process that `settings` start has to know of them.

    Raises:
        ConfigError: `max_model_len` is more than the checkpoint reads.
    """
    own = {settings.served_model_name: checkpoint.path}
    folders = own | settings.adapters | ({f"{settings.served_model_name}-base": checkpoint.base} if checkpoint.base else {})
    switchable = settings.allow_unconstrained
    return Served(
        engine=engine,
        models={name: folder.resolve() for name, folder in folders.items()},
        release=_name_release(settings, checkpoint),
        context=choose_context(settings, checkpoint),
        max_tokens=settings.max_tokens,
        constrained=settings.constrained,
        allow_unconstrained=is_loopback(settings.host) if switchable is None else switchable,
        prompt_template=settings.prompt_template,
        max_body_bytes=settings.max_body_bytes,
        shutdown_timeout=settings.shutdown_timeout,
        notice=notice,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    return host.startswith(_LOOPBACK)


def choose_context(settings: ServeSettings, checkpoint: Checkpoint) -> int:
    """Return the longest prompt and answer together, in tokens. Raises `ConfigError` where the checkpoint reads less."""
    context = settings.max_model_len or min(checkpoint.context, _LONGEST_CONTEXT)
    if context > checkpoint.context:
        raise ConfigError(f"'max_model_len' {context} is more than the {checkpoint.context} tokens {checkpoint.path} reads")
    return context


def build_launch(settings: ServeSettings, checkpoint: Checkpoint, notice: str = "") -> Launch:
    """Return how vLLM is started for `settings`.

    The server is started as a module: the `vllm` command of the CPU build looks for a distribution of that name and fails.

    Raises:
        CheckpointError, ConfigError: an adapter does not fit, `max_model_len` is more than the checkpoint reads.
    """
    context = choose_context(settings, checkpoint)
    if settings.dtype == "auto" and not settings.quantization:
        checkpoint = avoid_slow_bf16(checkpoint)
    flags: dict[str, Any] = {
        "model": str(checkpoint.path),
        "served-model-name": settings.served_model_name,
        "host": settings.host,
        "port": settings.port,
        "dtype": checkpoint.dtype if settings.dtype == "auto" else settings.dtype,
        "max-model-len": context,
        "override-generation-config": {"temperature": settings.temperature, "max_new_tokens": settings.max_tokens},
        "enable-prefix-caching": settings.enable_prefix_caching,
        "shutdown-timeout": settings.shutdown_timeout,
    }
    adapters = check_adapters(settings.adapters, checkpoint, settings.served_model_name)
    if checkpoint.base:
        # the adapter answers under the served name, its base beside it
        flags |= {
            "model": str(checkpoint.base),
            "chat-template": str(checkpoint.path / "chat_template.jinja"),
            "served-model-name": f"{settings.served_model_name}-base",
        }
        adapters = [Adapter(settings.served_model_name, checkpoint.path, checkpoint.rank), *adapters]
    flags |= build_adapter_flags(adapters)
    if settings.quantization:
        if checkpoint.quantization and not settings.quantization.startswith(checkpoint.quantization):
            raise ConfigError(
                f"'quantization' is {settings.quantization}, but {checkpoint.path} is quantised already "
                f"({checkpoint.quantization}); leave it empty"
            )
        flags["quantization"] = settings.quantization
    engines = {"tensor-parallel-size": settings.tensor_parallel_size, "data-parallel-size": settings.data_parallel_size}
    flags |= {name: size for name, size in engines.items() if size > 1}
    if settings.max_num_seqs:
        flags["max-num-seqs"] = settings.max_num_seqs
    if settings.kv_cache_gib:
        flags["kv-cache-memory-bytes"] = int(settings.kv_cache_gib * 2**30)
    if is_cpu_build():
        flags = {_name_flag(key): value for key, value in build_cpu_options(checkpoint, context).items()} | flags
    else:
        flags["gpu-memory-utilization"] = settings.gpu_memory_utilization
    n_engines = settings.tensor_parallel_size * settings.data_parallel_size
    environment = build_vllm_environment(settings.code_file, settings.cpu_threads, n_engines)
    if settings.constrained:
        flags["logits-processors"] = "serving.vllm_constraint:CodeConstraint"
    flags["middleware"] = "serving.middleware.Gate"
    environment[SERVED_VARIABLE] = describe_served(settings, checkpoint, "vllm", notice).model_dump_json()
    flags |= {_name_flag(key): value for key, value in settings.extra_args.items()}
    return write_launch("vllm.entrypoints.openai.api_server", flags, environment)


def write_launch(module: str, flags: dict[str, Any], environment: dict[str, str]) -> Launch:
    """Return the launch of a module with `flags`, of which those without a value are left out."""
    words = [word for name, value in flags.items() for word in _write_flag(name, value)]
    return Launch([sys.executable, "-m", module, *words], environment)


def _name_release(settings: ServeSettings, checkpoint: Checkpoint) -> str:
    """Return the release whose codes are answered: that of the code set, or of a free checkpoint; empty where unknown."""
    if not settings.constrained:
        return checkpoint.release or ""
    release = guess_release(settings.code_file) if settings.code_file else embedded.RELEASE
    return "" if release == "unknown" else release


def _name_flag(key: str) -> str:
    return key.lstrip("-").replace("_", "-")


def _write_flag(name: str, value: Any) -> list[str]:
    match value:
        case None:
            return []
        case bool():
            return [f"--{name}" if value else f"--no-{name}"]
        case dict():
            return [f"--{name}", json.dumps(value)]
        case list():
            return [f"--{name}", *map(str, value)]
        case _:
            return [f"--{name}", str(value)]
