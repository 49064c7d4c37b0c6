"""Muon for the weight matrices of the layers, AdamW for everything else: fewer steps for a model that begins from nothing.

Muon (Jordan 2024; Liu et al. 2025, "Muon is scalable for LLM training") takes the nearest orthogonal matrix of a momentum as
its step, so that rare directions, such as a code that is seen once an epoch, learn as fast as common ones. With
`match_rms_adamw` a step is as long as one of AdamW, and one learning rate and weight decay serve both.

`torch.optim.Muon` takes matrices alone and works in bfloat16, which a CPU without such arithmetic is four times slower at
(1.2 s instead of 0.3 s a step for six million weights): here it is one optimizer over all weights, in float32 on such a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from icd10cm.processor import has_bf16_arithmetic

if TYPE_CHECKING:
    from transformers import TrainingArguments

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_MATCHES_ADAMW = 0.2


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon` true take Muon's steps; their weights are matrices."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step and return what `closure` returns."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["muon"]]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._step_matrix(weight, weight.grad, group["lr"], group["weight_decay"])
        return loss

    def _step_matrix(self, weight: torch.Tensor, gradient: torch.Tensor, learning_rate: float, weight_decay: float) -> None:
        state = self.state[weight]
        if not state:
            # AdamW's reader of a saved state wants a step in every entry
            state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weight)}
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        direction = orthogonalize(gradient.lerp(momentum, _MOMENTUM))
        weight.mul_(1 - learning_rate * weight_decay)
        weight.add_(direction, alpha=-learning_rate * _MATCHES_ADAMW * math.sqrt(max(weight.shape)))


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Return about the nearest orthogonal matrix: singular values between 0.6 and 1.2, by a quintic Newton-Schulz iteration.

    Args:
        matrix: of shape (rows, columns).

    Source: https://kellerjordan.github.io/posts/muon/, whose coefficients these are.
    """
    a, b, c = _COEFFICIENTS
    work = matrix.float() if matrix.device.type == "cpu" and not has_bf16_arithmetic() else matrix.bfloat16()
    is_tall = matrix.size(0) > matrix.size(1)
    work = work.T if is_tall else work
    work = work / work.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = work @ work.T
        work = torch.addmm(work, torch.addmm(gram, gram, gram, beta=b, alpha=c), work, beta=a)
    return (work.T if is_tall else work).to(matrix.dtype)


def plan_muon(args: TrainingArguments) -> tuple[Any, dict[str, Any]]:
    """Return what a trainer takes as `optimizer_cls_and_kwargs`."""
    betas = (args.adam_beta1, args.adam_beta2)
    settings = {"lr": args.learning_rate, "betas": betas, "eps": args.adam_epsilon, "weight_decay": args.weight_decay}
    # transformers calls what it is given for a factory, and the factory with the model
    return lambda: build_muon, settings


def build_muon(model: torch.nn.Module, **settings: Any) -> MuonAdamW:
    """Return the optimizer of a model's weights: transformers' factory of an optimizer that sorts weights itself.

    Args:
        model: its linear layers but for the output head go to Muon.
        settings: of AdamW.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    matrices = {
        id(layer.weight)
        for layer in model.modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head and layer.weight.requires_grad
    }
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if id(weight) in matrices], "muon": True},
        {"params": [weight for weight in weights if id(weight) not in matrices], "muon": False, "weight_decay": 0.0},
    ]
    return MuonAdamW([group for group in groups if group["params"]], **settings)
