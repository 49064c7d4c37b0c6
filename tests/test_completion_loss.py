"""The loss on completions is that of the whole row with the prompt masked, whatever a batch is padded with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from finetune.completion_loss import CompletionCollator, score_completions
from finetune.tiny import TinyLlama, build_model, train_tokenizer

ROWS = [
    {"input_ids": [5, 9, 12, 7, 30, 31, 2], "labels": [-100, -100, -100, -100, 30, 31, 2]},
    {"input_ids": [5, 40, 7, 33, 2], "labels": [-100, -100, -100, 33, 2]},
    {"input_ids": [5, 9, 12, 44, 45, 46, 47, 48, 7, 30, 2], "labels": [-100] * 9 + [30, 2]},
]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    size = TinyLlama(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    return build_model(size, train_tokenizer(["Type 2 diabetes mellitus", "gout"], 300, 64))


def score_whole(model: Any, row: dict[str, list[int]]) -> torch.Tensor:
    """Return the summed loss of one row without padding, from all its logits."""
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(row["labels"][1:]), ignore_index=-100, reduction="sum")


@pytest.mark.parametrize("multiple", [None, 8])
def test_loss_and_gradient_are_those_of_whole_rows(model: Any, multiple: int | None) -> None:
    model.zero_grad()
    expected = sum(score_whole(model, row) for row in ROWS)
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    scored = score_completions(model, CompletionCollator(pad_token_id=1, pad_to_multiple_of=multiple)(ROWS))
    scored.loss.backward()
    assert scored.n_learned == 7
    torch.testing.assert_close(scored.loss, expected, rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_logits_are_built_for_the_longest_completion_only(model: Any) -> None:
    batch = CompletionCollator(pad_token_id=1)(ROWS)
    assert batch["logits_to_keep"] == 4 and batch["input_ids"].shape == (3, 11)
    seen = []
    handle = model.lm_head.register_forward_hook(lambda module, given, logits: seen.append(logits.shape))
    score_completions(model, batch)
    handle.remove()
    assert seen == [(3, 4, model.config.vocab_size)]


def test_a_row_without_a_learned_token_adds_nothing(model: Any) -> None:
    empty = {"input_ids": [5, 9, 7], "labels": [-100] * 3}
    collate = CompletionCollator(pad_token_id=1)
    alone = score_completions(model, collate([empty]))
    assert alone.loss == 0 and alone.n_learned == 0
    both = score_completions(model, collate([empty, ROWS[0]]))
    torch.testing.assert_close(both.loss, score_completions(model, collate(ROWS[:1])).loss, rtol=1e-5, atol=1e-5)
