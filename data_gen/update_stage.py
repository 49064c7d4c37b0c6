"""The training stage of an update: `sft.yaml`, which starts from the model and keeps what its last stage was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

STAGE_FILE = "sft.yaml"
_KEPT = {
    "dtype": "bfloat16",
    "use_cpu": False,
    "bf16": True,
    "attn_implementation": None,
    "adam_beta2": 0.999,
    "weight_decay": 0.0,
    "max_length": 1024,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 1,
    "too_long": "error",
}
"""Keys that are as they were when the model was trained, with values for a model that does not say."""
_LAST_LEARNING_RATE = 5.0e-6
_HEADER = """\
# Teaches release {new} to a checkpoint of release {old}: added and changed codes, with a rehearsal of the rest.
#   {command}
# Written by icdtune update. Batch, length and precision are those that the model was last trained with.
"""


def write_stage(settings: Any, trained: Mapping[str, Any], old: str, new: str) -> str:
    """Return `sft.yaml`.

    Args:
        settings: those of the update.
        trained: run header of the model.
        old: release of the model.
        new: release of the data.
    """
    before = trained.get("settings") or {}
    learning_rate = settings.learning_rate or 0.5 * (before.get("learning_rate") or _LAST_LEARNING_RATE)
    kept = {key: before.get(key, default) for key, default in _KEPT.items()}
    values = {
        "data": str(settings.output_dir),
        "output_dir": str(settings.output_dir / "model"),
        "model_name_or_path": str(settings.model),
        "stage": "update",
        **{key: value for key, value in kept.items() if value is not None},
        "gradient_checkpointing": False,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "num_train_epochs": settings.epochs,
        "per_device_eval_batch_size": 64,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_steps": 20,
        "report_to": "none",
        "seed": settings.seed,
    }
    header = _HEADER.format(old=old, new=new, command=write_command(settings.output_dir, trained))
    return header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def write_command(folder: Path, trained: Mapping[str, Any]) -> str:
    """Return the command that trains the stage, on the kind of machine that the model was trained on."""
    machine = "cpu" if (trained.get("settings") or {}).get("use_cpu") else "zero2_4gpu"
    return f"accelerate launch --config_file configs/accelerate/{machine}.yaml -m finetune.sft --config {folder / STAGE_FILE}"
