"""`training.png` beside a checkpoint: the loss or the reward, and the answers to the validation slice, against steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from finetune.model_card import CURVES_FILE

_LOSS, _EXACT, _CATEGORY = "#33658a", "#2a9d8f", "#e9a23b"


class CurveWriter(TrainerCallback):
    """Draws the curves anew after each evaluation and at the end; a resumed run goes on in the same picture."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw what is known so far."""
        self._draw(args, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw the whole run."""
        self._draw(args, state)

    def _draw(self, args: Any, state: Any) -> None:
        if state.is_world_process_zero:
            draw_curves(state.log_history, Path(args.output_dir) / CURVES_FILE)


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write a picture of a run's history, as transformers keeps it; nothing when it has no loss yet."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    if not _find(history, "loss"):
        return
    figure = Figure(figsize=(8, 3.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    learned, title, scale = (
        ("reward", "Mean reward: sampled in training, greedy in validation", "linear")
        if _find(history, "reward")
        else ("loss", "Loss per learned token", "log")
    )
    left.plot(*zip(*_find(history, learned), strict=True), color=_LOSS, label="train")
    if found := _find(history, f"eval_{learned}"):
        left.plot(*zip(*found, strict=True), color=_CATEGORY, marker="o", markersize=3, label="validation")
    left.set(xlabel="step", yscale=scale)
    left.set_title(title, fontsize="medium")
    for name, label, colour in (("eval_exact_match", "exact", _EXACT), ("eval_category_match", "category", _CATEGORY)):
        if found := _find(history, name):
            right.plot(*zip(*found, strict=True), color=colour, marker="o", markersize=3, label=label)
            step, share = found[-1]
            right.annotate(f"{share:.1%}", (step, share), textcoords="offset points", xytext=(-4, 5), ha="right", color=colour)
    right.set(xlabel="step", ylim=(0, 1.05))
    right.set_title("Validation slice, answered without constraint", fontsize="medium")
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, format="png")
    scratch.replace(path)


def _find(history: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return (step, value) where a history holds `name`."""
    return [(entry["step"], entry[name]) for entry in history if entry.get(name) is not None]
