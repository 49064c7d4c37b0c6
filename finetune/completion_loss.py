"""The loss on completions alone: no logits are built for a prompt, and a batch is padded on the left so that none need be.

TRL's fused head scores every position where no Triton is (a CPU), in float32 and twice, forward and backward, and asks the
device for three numbers at each step. Completions are a few tokens at the end of a row: with the padding in front they are
the last positions of every row, which `logits_to_keep` of transformers' own models selects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from finetune.tokens import IGNORED


@dataclass
class CompletionCollator:
    """Makes a batch of rows with `input_ids` and `labels`.

    Attributes:
        pad_token_id: fills the front of shorter rows.
        pad_to_multiple_of: width of a batch; any when None.
    """

    pad_token_id: int
    pad_to_multiple_of: int | None = None

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """Return the tensors `input_ids`, `attention_mask`, `position_ids` and `labels`, and the number `logits_to_keep`.

        The tensors are of shape (rows, tokens); positions count from each row's first token.
        """
        width = max(len(row["input_ids"]) for row in rows)
        if self.pad_to_multiple_of:
            width += -width % self.pad_to_multiple_of
        batch = {
            "input_ids": [[self.pad_token_id] * (width - len(row["input_ids"])) + list(row["input_ids"]) for row in rows],
            "attention_mask": [[0] * (width - len(row["input_ids"])) + [1] * len(row["input_ids"]) for row in rows],
            "position_ids": [[0] * (width - len(row["input_ids"])) + list(range(len(row["input_ids"]))) for row in rows],
            "labels": [[IGNORED] * (width - len(row["labels"])) + list(row["labels"]) for row in rows],
        }
        return {name: torch.tensor(values) for name, values in batch.items()} | {
            "logits_to_keep": 1 + max(_count_from_first_learned(row["labels"]) for row in rows)
        }


class Scored(NamedTuple):
    """What a batch says of the model.

    Attributes:
        loss: sum of the negative log-likelihoods of the learned tokens, with its gradient; in nats.
        n_correct: learned tokens that were the likeliest, a tensor without dimensions.
        n_learned: learned tokens.
    """

    loss: torch.Tensor
    n_correct: torch.Tensor
    n_learned: torch.Tensor


def score_completions(model: torch.nn.Module, batch: dict[str, Any]) -> Scored:
    """Return the summed loss of a batch of `CompletionCollator`."""
    kept = batch["logits_to_keep"]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids", "logits_to_keep")}
    # the logits of a place are about the next token
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    wanted = batch["labels"][:, 1 - kept :]
    learned = wanted != IGNORED
    logits, wanted = logits[learned].float(), wanted[learned]
    return Scored(
        torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"),
        (logits.detach().argmax(dim=-1) == wanted).sum(),
        learned.sum(),
    )


def _count_from_first_learned(labels: Sequence[int]) -> int:
    return len(labels) - next((place for place, label in enumerate(labels) if label != IGNORED), len(labels) - 1)
