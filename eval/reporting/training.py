"""How a checkpoint learned: loss or reward, and the answers to the validation slice, by step, from its `run.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icd10cm.errors import DataError
from icd10cm.run_header import read_header

PANELS = {
    "reward": ("Mean reward", "plain", {"reward": "train, sampled", "eval_reward": "validation, greedy"}),
    "loss": ("Loss per learned token", "log", {"loss": "train", "eval_loss": "validation"}),
    "matches": (
        "Validation slice, answered freely",
        "percent",
        {"eval_exact_match": "exact match", "eval_category_match": "category match"},
    ),
    "accuracy": (
        "Tokens guessed right",
        "percent",
        {"mean_token_accuracy": "train", "eval_mean_token_accuracy": "validation"},
    ),
}
"""Panel to its title, its scale, and what of the history it draws under which name."""


def read_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return each run's label, facts and panels.

    Raises:
        DataError: no `run.json`, or one of a run that is unfinished or trained nothing.
    """
    return [_read_run(folder) for folder in folders]


def build_panels(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the panels that a history fills: key, title, scale, and lines of (step, value); a reward instead of its loss."""
    found = []
    for key, (title, scale, names) in PANELS.items():
        lines = [
            {
                "name": label,
                "key": name,
                "points": [[entry["step"], entry[name]] for entry in history if _is_number(entry.get(name))],
            }
            for name, label in names.items()
        ]
        lines = [line for line in lines if line["points"]]
        if lines:
            found.append({"key": key, "title": title, "scale": scale, "lines": lines})
    rewarded = any(panel["key"] == "reward" for panel in found)
    return [panel for panel in found if not (rewarded and panel["key"] == "loss")]


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    header = read_header(path)
    panels = build_panels(header.get("history") or [])
    if not panels:
        raise DataError(f"{path}: holds no history of a training run; finetune.sft and finetune.grpo write one when they end")
    settings = header.get("settings", {})
    return {
        "label": str(folder),
        "stage": str(settings.get("stage", header.get("stage", ""))),
        "method": str(header.get("stage", "")).rpartition(".")[2],
        "steps": header.get("steps"),
        "seconds": header.get("train_seconds"),
        "n_parameters": header.get("n_parameters"),
        "base": settings.get("model_name_or_path") or "a Llama built from scratch",
        "panels": panels,
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
