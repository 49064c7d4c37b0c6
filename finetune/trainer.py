"""TRL's `SFTTrainer`, whose evaluations also answer a validation slice and count exact matches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import ProgressCallback
from trl import SFTTrainer
from trl.models.utils import unwrap_model_for_generation

from data_gen.examples import Example
from finetune.progress import StageProgress
from finetune.validation import answer_examples, count_matches


class CodeTrainer(SFTTrainer):
    """Adds `eval_exact_match` and `eval_category_match`, so that they can be logged, plotted and chosen as best."""

    def __init__(self, *args: Any, validation_examples: Sequence[Example], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.remove_callback(ProgressCallback)
        self.add_callback(StageProgress)
        self._validation_examples = list(validation_examples)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return TRL's metrics and the two match rates, 0 to 1; each process answers its share."""
        metrics = super().evaluate(*args, **kwargs)
        matches = self._count_matches()
        self.log(dict(matches))
        metrics.update(matches)
        return metrics

    def _count_matches(self) -> dict[str, float]:
        accelerator = self.accelerator
        share = self._validation_examples[accelerator.process_index :: accelerator.num_processes]
        with unwrap_model_for_generation(self.model_wrapped, accelerator) as model:
            answers = answer_examples(model, self.processing_class, share, self.args.per_device_eval_batch_size)
        counts = torch.tensor([[*count_matches(share, answers), len(share)]], device=accelerator.device)
        exact, category, total = accelerator.gather(counts).sum(dim=0).tolist()
        return {"eval_exact_match": exact / max(total, 1), "eval_category_match": category / max(total, 1)}
