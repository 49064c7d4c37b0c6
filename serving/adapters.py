"""LoRA adapters served by name beside a model: do they fit it, and what vLLM is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.adapter_files import check_base, find_base, is_adapter, read_adapter
from icd10cm.errors import CheckpointError, ConfigError
from serving.checkpoint import Checkpoint
from serving.hardware import LARGEST_RANK, is_cpu_build, round_rank

_CONFIG_KEYS = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
_UNKNOWN_TO_VLLM = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern")


class Adapter(NamedTuple):
    """An adapter of the served model: its name in requests, its folder, its rank."""

    name: str
    path: Path
    rank: int


def check_adapters(adapters: Mapping[str, Path], checkpoint: Checkpoint, taken: str) -> list[Adapter]:
    """Return the adapters that are served beside `checkpoint`.

    Args:
        adapters: folder of each adapter by its name in requests.
        checkpoint: the model that is served, whole or an adapter itself, whose base then carries them all.
        taken: the name that the model has itself.

    Raises:
        CheckpointError, ConfigError: a folder holds no adapter, or one that the model cannot carry.
    """
    if adapters and checkpoint.quantization and is_cpu_build():
        raise CheckpointError(
            f"{checkpoint.path}: its weights are quantised ({checkpoint.quantization}), which in vLLM for CPUs carry no "
            "adapters; serve the model that is not quantised"
        )
    names = {taken, f"{taken}-base"} if checkpoint.base else {taken}
    checked = []
    for name, folder in adapters.items():
        if name in names:
            raise ConfigError(f"'adapters': the name {name!r} is that of the model itself; give the adapter another one")
        checked.append(Adapter(name, folder, _check_adapter(folder, checkpoint)))
    return checked


def build_adapter_flags(adapters: list[Adapter]) -> dict[str, Any]:
    """Return the vLLM flags that serve `adapters` by name; all of them stay loaded."""
    if not adapters:
        return {}
    return {
        "enable-lora": True,
        "max-lora-rank": round_rank(max(adapter.rank for adapter in adapters)),
        "max-loras": len(adapters),
        "lora-modules": [f"{adapter.name}={adapter.path}" for adapter in adapters],
    }


def _check_adapter(folder: Path, checkpoint: Checkpoint) -> int:
    """Return the rank of an adapter that fits `checkpoint`."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such adapter folder; `finetune.sft` with use_peft writes one")
    if not is_adapter(folder):
        raise CheckpointError(f"{folder}: holds no LoRA adapter (adapter_config.json); a whole model is served by itself")
    config = read_adapter(folder)
    kind, rank = config.get("peft_type"), int(config.get("r") or 0)
    if kind != "LORA" or rank < 1:
        raise CheckpointError(f"{folder}: is an adapter of kind {kind} and rank {rank}; vLLM serves LoRA adapters only")
    if rank > LARGEST_RANK:
        raise CheckpointError(
            f"{folder}: its rank {rank} is more than the {LARGEST_RANK} of vLLM; merge it with `icdtune merge`"
        )
    for key in _UNKNOWN_TO_VLLM:
        if config.get(key):
            raise CheckpointError(f"{folder}: was trained with {key}, which vLLM cannot serve; merge it with `icdtune merge`")
    model = checkpoint.base or checkpoint.path
    check_base(folder, model)
    _compare_base(folder, model)
    return rank


def _compare_base(folder: Path, model: Path) -> None:
    """Refuse an adapter whose own base, where it is on this machine, has another shape than the served model."""
    from serving.checkpoint import read_json

    try:
        base = find_base(folder)
    except CheckpointError:
        return  # its base is not here; the tokenizer was compared, and vLLM compares the shapes of the weights
    if base.resolve() == model.resolve() or not (base / "config.json").is_file():
        return
    trained, served = read_json(base / "config.json"), read_json(model / "config.json")
    for key in _CONFIG_KEYS:
        if trained.get(key) != served.get(key):
            raise CheckpointError(
                f"{folder}: was trained on {base} ({key} {trained.get(key)}), but {model} is served ({key} {served.get(key)})"
            )
