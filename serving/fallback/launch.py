"""The command that starts the fallback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icd10cm.errors import ConfigError
from serving.hardware import choose_threads
from serving.model_facts import SERVED_VARIABLE

if TYPE_CHECKING:
    from serving.checkpoint import Checkpoint
    from serving.command import Launch, ServeSettings

_MOST_AT_A_TIME = 32


def build_fallback(settings: ServeSettings, checkpoint: Checkpoint, notice: str = "") -> Launch:
    """Return how the fallback is started for `settings`.

    Raises:
        ConfigError: the settings ask for what only vLLM can do.
    """
    from serving.command import choose_context, describe_served, write_launch

    asked = {
        "adapters": bool(settings.adapters),
        "quantization": settings.quantization is not None,
        "tensor_parallel_size": settings.tensor_parallel_size > 1,
        "data_parallel_size": settings.data_parallel_size > 1,
        "extra_args": bool(settings.extra_args),
    }
    if any(asked.values()):
        names = ", ".join(name for name, is_asked in asked.items() if is_asked)
        raise ConfigError(f"{names}: needs vLLM, but {notice or 'engine is transformers'}; leave it out or make vLLM run")
    flags = {
        "model": str(checkpoint.path),
        "host": settings.host,
        "port": settings.port,
        "dtype": settings.dtype,
        "max-model-len": choose_context(settings, checkpoint),
        "max-num-seqs": settings.max_num_seqs or _MOST_AT_A_TIME,
        "temperature": settings.temperature,
        "code-file": str(settings.code_file) if settings.code_file else None,
        # what runs on a GPU hardly computes on the CPU
        "cpu-threads": settings.cpu_threads or choose_threads(),
    }
    served = describe_served(settings, checkpoint, "transformers", notice)
    environment = {"HF_HUB_OFFLINE": "1", SERVED_VARIABLE: served.model_dump_json()}
    return write_launch("serving.fallback.serve", flags, environment)
