"""TRL's `SFTTrainer` with a loss on completions alone, whose evaluations also answer a validation slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import ProgressCallback
from trl import SFTConfig, SFTTrainer

from data_gen.examples import Example
from finetune.completion_loss import CompletionCollator, score_completions
from finetune.curves import CurveWriter
from finetune.progress import StageProgress
from finetune.row_lengths import count_tokens
from finetune.tied_weights import drop_copies
from finetune.validation import answer_together, count_matches

_BY_LENGTH = ("group_by_length", "batch_rebalance")


class CodeTrainer(SFTTrainer):
    """Adds `eval_exact_match` and `eval_category_match`, so that they can be logged, plotted and chosen as best.

    Packed and padding-free batches, which need flash attention, go through TRL's own loss.

    Args:
        args: TRL's config.
        validation_examples: what each evaluation answers.
        kwargs: the other arguments of `SFTTrainer`; the data sets have `input_ids` and `labels`.
    """

    def __init__(self, *, args: SFTConfig, validation_examples: Sequence[Example], **kwargs: Any):
        self._is_padded = not (args.packing or args.padding_free)
        if self._is_padded:
            args.dataset_kwargs = cast(dict[str, Any], args.dataset_kwargs or {}) | {"skip_prepare_dataset": True}
            pad_token_id = kwargs["processing_class"].pad_token_id
            if args.train_sampling_strategy in _BY_LENGTH:
                rows = kwargs["train_dataset"]
                # a sampler that finds no such column reads every row of the data for its length
                kwargs["train_dataset"] = rows.add_column(args.length_column_name, count_tokens(rows))
            kwargs.setdefault("data_collator", CompletionCollator(pad_token_id, cast(int | None, args.pad_to_multiple_of)))
        super().__init__(args=args, **kwargs)
        self.remove_callback(ProgressCallback)
        self.add_callback(StageProgress)
        self.add_callback(CurveWriter)
        self._validation_examples = list(validation_examples)
        self._counts: dict[str, torch.Tensor] = {}

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self._is_padded:
            self._signature_columns: Any = ["input_ids", "labels", self.args.length_column_name]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        sampler: Any = super()._get_train_sampler(train_dataset)
        # a column of a data set, which is asked for one length at a time: three minutes for 1.7 million rows
        if hasattr(sampler, "lengths"):
            sampler.lengths = sampler.lengths[:]
        return sampler

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of the learned tokens, those of all processes and accumulated batches counted."""
        if not self._is_padded:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        scored = score_completions(model, inputs)
        n_learned = scored.n_learned if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = scored.loss / n_learned.clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        self._count(scored.n_correct, scored.n_learned, inputs["attention_mask"].sum())
        return (loss, {"loss": loss}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the share of learned tokens that were the likeliest, and the tokens seen; asked of the devices only here."""
        mode = self._find_mode()
        if mode in self._counts:
            correct, learned, tokens = self.accelerator.reduce(self._counts.pop(mode), "sum").tolist()
            self._metrics[mode]["mean_token_accuracy"] = [correct / max(learned, 1)]
            if mode == "train":
                self._total_train_tokens += tokens
            self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        super().log(logs, start_time)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Return transformers' output with the two match rates, 0 to 1, among its metrics; each process answers its share."""
        output = super().evaluation_loop(*args, **kwargs)
        return output._replace(metrics=(output.metrics or {}) | self._count_matches())

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, drop_copies(state_dict, self.accelerator.unwrap_model(self.model)))

    def _find_mode(self) -> str:
        return "train" if cast(torch.nn.Module, self.model).training else "eval"

    def _count(self, *numbers: torch.Tensor) -> None:
        mode = self._find_mode()
        counts = torch.stack([number.detach().to(torch.int64) for number in numbers])
        self._counts[mode] = self._counts[mode] + counts if mode in self._counts else counts

    def _count_matches(self) -> dict[str, float]:
        answers = answer_together(self, self._validation_examples)
        exact, category = count_matches(self._validation_examples, answers)
        total = max(len(answers), 1)
        return {"eval_exact_match": exact / total, "eval_category_match": category / total}
