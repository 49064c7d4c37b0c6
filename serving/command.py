"""Settings of the server, and the vLLM command they stand for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, FilePath, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from icd10cm import embedded
from icd10cm.code_files import guess_release
from icd10cm.config import Settings
from icd10cm.errors import ConfigError
from serving.checkpoint import Checkpoint
from serving.hardware import build_cpu_options, build_vllm_environment, is_cpu_build, round_rank
from serving.middleware import ANSWER_VARIABLE, CONTEXT_VARIABLE, MODEL_VARIABLE, RELEASE_VARIABLE

_LONGEST_CONTEXT = 8192


class ServeSettings(Settings):
    """How to serve a checkpoint: one YAML file under `configs/serving/`."""

    model: Path = Field(description="checkpoint folder")
    served_model_name: str = Field("icdtune", min_length=1, description="name of the model in requests")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every network")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    dtype: str = Field("auto", description="auto (the checkpoint's own), float32, bfloat16 or float16")
    max_model_len: PositiveInt | None = Field(
        None, description=f"longest prompt and answer together, in tokens; the checkpoint's own, at most {_LONGEST_CONTEXT}"
    )
    max_num_seqs: PositiveInt | None = Field(None, description="most requests computed at a time; vLLM's own choice when empty")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory to use")
    kv_cache_gib: PositiveFloat | None = Field(
        None, description="memory for the attention cache in GiB; on a CPU room for two full-length answers, at least 0.25"
    )
    cpu_threads: PositiveInt | None = Field(None, description="threads for computing without a GPU; all cores but one")
    constrained: bool = Field(True, description="let answers hold existing codes only; a request can switch it off for itself")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to keep to; the embedded one when empty")
    prompt_template: bool = Field(True, description="put raw texts sent to /v1/completions into the chat template")
    temperature: NonNegativeFloat = Field(0.0, description="sampling temperature where a request gives none")
    max_tokens: PositiveInt = Field(512, description="most tokens an answer may have")
    start_timeout: PositiveFloat = Field(900.0, description="seconds to wait until the server answers")
    log_file: Path = Field(Path("outputs/serving/vllm.log"), description="where vLLM's own messages go")
    extra_args: dict[str, Any] = Field(default_factory=dict, description="any other vLLM flags, such as {seed: 1}")

    @field_validator("extra_args")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        taken = {"logits-processors": "constrained", "middleware": "prompt_template", "kv-cache-memory-bytes": "kv_cache_gib",
                 "override-generation-config": "temperature and max_tokens"} | {
                 name.replace("_", "-"): name for name in cls.model_fields}  # fmt: skip
        clashes = [f"{key!r} is set by {taken[_name_flag(key)]}" for key in extra if _name_flag(key) in taken]
        if clashes:
            raise ValueError("; ".join(clashes))
        return extra


class Launch(NamedTuple):
    """A command with the environment variables it needs beside those of this process."""

    command: list[str]
    environment: dict[str, str]


def build_launch(settings: ServeSettings, checkpoint: Checkpoint) -> Launch:
    """Return how vLLM is started for `settings`.

    The server is started as a module: the `vllm` command of the CPU build looks for a distribution of that name and fails.

    Raises:
        ConfigError: `max_model_len` is more than the checkpoint reads.
    """
    context = settings.max_model_len or min(checkpoint.context, _LONGEST_CONTEXT)
    if context > checkpoint.context:
        raise ConfigError(f"'max_model_len' {context} is more than the {checkpoint.context} tokens {checkpoint.path} reads")
    flags: dict[str, Any] = {
        "model": str(checkpoint.path),
        "served-model-name": settings.served_model_name,
        "host": settings.host,
        "port": settings.port,
        "dtype": checkpoint.dtype if settings.dtype == "auto" else settings.dtype,
        "max-model-len": context,
        "override-generation-config": {"temperature": settings.temperature, "max_new_tokens": settings.max_tokens},
    }
    if checkpoint.base:
        # the adapter answers under the served name, its base beside it
        flags |= {
            "model": str(checkpoint.base),
            "chat-template": str(checkpoint.path / "chat_template.jinja"),
            "served-model-name": f"{settings.served_model_name}-base",
            "enable-lora": True,
            "max-lora-rank": round_rank(checkpoint.rank),
            "lora-modules": f"{settings.served_model_name}={checkpoint.path}",
        }
    if settings.max_num_seqs:
        flags["max-num-seqs"] = settings.max_num_seqs
    if settings.kv_cache_gib:
        flags["kv-cache-memory-bytes"] = int(settings.kv_cache_gib * 2**30)
    if is_cpu_build():
        flags = {_name_flag(key): value for key, value in build_cpu_options(checkpoint, context).items()} | flags
    else:
        flags["gpu-memory-utilization"] = settings.gpu_memory_utilization
    environment = build_vllm_environment(settings.code_file, settings.cpu_threads)
    if settings.constrained:
        flags["logits-processors"] = "serving.vllm_constraint:CodeConstraint"
    if settings.prompt_template:
        flags["middleware"] = "serving.middleware.PromptTemplate"
        environment |= {
            MODEL_VARIABLE: str(checkpoint.path.resolve()),
            CONTEXT_VARIABLE: str(context),
            ANSWER_VARIABLE: str(settings.max_tokens),
            RELEASE_VARIABLE: _name_release(settings, checkpoint),
        }
    flags |= {_name_flag(key): value for key, value in settings.extra_args.items()}
    words = [word for name, value in flags.items() for word in _write_flag(name, value)]
    return Launch([sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words], environment)


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
