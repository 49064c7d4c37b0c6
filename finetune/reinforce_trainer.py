"""TRL's `GRPOTrainer` that samples existing codes only, and whose evaluations answer the validation slice greedily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from transformers import ProgressCallback
from transformers.trainer_utils import EvalLoopOutput
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import unwrap_model_for_generation

from data_gen.examples import Example, group_by_scenario
from finetune.code_policy import CodePolicy, Scores
from finetune.curves import CurveWriter
from finetune.progress import StageProgress
from finetune.tied_weights import drop_copies
from finetune.validation import answer_together, count_matches
from icd10cm.prompts import build_prompt

Reward = Callable[[str, Sequence[str]], float]
"""Completion and wanted codes to the reward."""


class ReinforceTrainer(GRPOTrainer):
    """Adds `eval_reward`, `eval_exact_match` and `eval_category_match`, over all and for each scenario.

    They are of greedy answers without any constraint, as in the stages before, so that they can be compared.

    Args:
        args: TRL's config.
        examples: what is learned.
        validation_examples: what each evaluation answers.
        reward: of one answer.
        codes: dotted codes to which sampled answers are kept; None for no limit, and TRL's own sampling.
        leak_weight: what a written token's leak (see `finetune.code_policy.Scores`) counts in the loss.
        kwargs: the other arguments of `GRPOTrainer`.
    """

    def __init__(
        self,
        *,
        args: GRPOConfig,
        examples: Sequence[Example],
        validation_examples: Sequence[Example],
        reward: Reward,
        codes: Sequence[str] | None,
        leak_weight: float = 1.0,
        **kwargs: Any,
    ):
        def score(completions: list[Any], codes: list[list[str]], **_: Any) -> list[float | None]:
            return [reward(messages[0]["content"], wanted) for messages, wanted in zip(completions, codes, strict=True)]

        datasets = [build_dataset(rows) for rows in (examples, validation_examples)]
        super().__init__(args=args, reward_funcs=[score], train_dataset=datasets[0], eval_dataset=datasets[1], **kwargs)
        self.remove_callback(ProgressCallback)
        self.add_callback(StageProgress)
        self.add_callback(CurveWriter)
        self._validation_examples, self._reward = list(validation_examples), reward
        tokenizer = kwargs["processing_class"]
        limit = cast(int, args.max_completion_length)
        self._leak_weight = leak_weight
        self._leaks: torch.Tensor | None = None
        self._policy = None if codes is None else CodePolicy(codes, tokenizer, self.eos_token_ids, limit)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Return the metrics of the greedy answers; nothing is sampled and no loss computed."""
        model = cast(torch.nn.Module, self.model)
        model.eval()
        examples = self._validation_examples
        answers = answer_together(self, examples)
        metrics = measure_answers(examples, answers, self._reward)
        return EvalLoopOutput(predictions=np.empty(0), label_ids=None, metrics=metrics, num_samples=len(examples))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, drop_copies(state_dict, self.accelerator.unwrap_model(self.model)))

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        """Return the ids of one sampled answer for each prompt, its end included, and None: log-probabilities come later."""
        if self._policy is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        inputs = self._tokenizer.pad(
            {"input_ids": prompt_ids}, padding_side="left", return_attention_mask=True, return_tensors="pt"
        ).to(self.accelerator.device)
        rows, width = inputs["input_ids"].shape
        config = cast(Any, self.args)
        unwrapped = unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=config.ds3_gather_for_generation,
            generation_kwargs=self.generation_kwargs,
            gradient_checkpointing_kwargs=config.gradient_checkpointing_kwargs,
        )
        with unwrapped as model, torch.no_grad():
            written = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=self.generation_config,
                logits_processor=[self._policy.build_processor(rows, width)],
            )
        return [self._cut(answer) for answer in written[:, width:].tolist()], None

    def _cut(self, answer: list[int]) -> list[int]:
        ends = self._policy.eos_ids if self._policy else frozenset()
        return answer[: next((place for place, token in enumerate(answer, 1) if token in ends), len(answer))]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return log-probabilities and entropies on the distribution that was sampled from: see `finetune.code_policy`."""
        if self._policy is None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **kwargs
            )
        parts = []
        size = batch_size or len(input_ids)
        for ids, attention in zip(input_ids.split(size), attention_mask.split(size), strict=True):
            with self.accelerator.autocast():
                logits = model(
                    input_ids=ids,
                    attention_mask=attention,
                    position_ids=(attention.cumsum(dim=1) - 1).clamp(min=0),
                    logits_to_keep=logits_to_keep + 1,
                    use_cache=False,
                ).logits[:, :-1]
            kept = -logits_to_keep
            parts.append(self._policy.score(logits / self.temperature, ids[:, kept:], attention[:, kept:]))
        scores = Scores(*(torch.cat(part) for part in zip(*parts, strict=True)))
        self._leaks = scores.leaks
        return scores.logprobs, scores.entropies, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return TRL's loss, and the mean leak of a written token on top."""
        loss = super()._compute_loss(model, inputs)
        if self._leaks is None:
            return loss
        leak = self._leaks.sum() / inputs["completion_mask"].sum().clamp(min=1)
        self._metrics["train"]["leak"].append(leak.item())
        self._leaks = None
        return loss + self._leak_weight * leak / self.current_gradient_accumulation_steps


def build_dataset(examples: Sequence[Example]) -> Dataset:
    """Return a dataset with TRL's `prompt` and the wanted `codes`."""
    return Dataset.from_list([{"prompt": build_prompt(example.text), "codes": list(example.codes)} for example in examples])


def measure_answers(examples: Sequence[Example], answers: Sequence[str], reward: Reward) -> dict[str, float]:
    """Return mean reward, exact match and category match, over all examples and for each scenario (`eval_reward_multiple`)."""
    given = {example.id: answer for example, answer in zip(examples, answers, strict=True)}
    metrics: dict[str, float] = {}
    for ending, group in {
        "": list(examples),
        **{f"_{name}": rows for name, rows in group_by_scenario(examples).items()},
    }.items():
        texts = [given[example.id] for example in group]
        exact, category = count_matches(group, texts)
        total = max(len(group), 1)
        earned = sum(reward(text, example.codes) for text, example in zip(texts, group, strict=True))
        metrics |= {
            f"eval_reward{ending}": earned / total,
            f"eval_exact_match{ending}": exact / total,
            f"eval_category_match{ending}": category / total,
        }
    return metrics
