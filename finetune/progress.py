"""The progress bar of a stage: loss and time left in the bar, one line for each evaluation."""

from __future__ import annotations

import sys
from typing import Any

from transformers import ProgressCallback


class StageProgress(ProgressCallback):
    """Transformers' bar without the dictionaries that it prints at every logging step."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Put the training loss into the bar, and write a line when the validation slice was answered."""
        bar, logs = self.training_bar, logs or {}
        if not state.is_world_process_zero or bar is None:
            return
        shown = next((name for name in ("reward", "loss") if logs.get(name) is not None), None)
        if shown:
            bar.set_postfix_str(f"{shown} {logs[shown]:.3f}")
        if "eval_exact_match" in logs:
            exact, category = logs["eval_exact_match"], logs["eval_category_match"]
            reward = f", reward {logs['eval_reward']:.3f}" if "eval_reward" in logs else ""
            bar.write(
                f"step {state.global_step}: validation exact match {exact:.1%}, category match {category:.1%}{reward}",
                file=sys.stderr,
            )
