"""Muon for the weight matrices of the layers, AdamW for everything else: fewer steps for a model that begins from nothing.

Muon (Jordan 2024; Liu et al. 2025, "Muon is scalable for LLM training") takes the nearest orthogonal matrix of a momentum as
its step, so that rare directions, such as a code that is seen once an epoch, learn as fast as common ones. With
`match_rms_adamw` a step is as long as one of AdamW, and one learning rate and weight decay serve both.

`torch.optim.Muon` takes matrices alone and works in bfloat16, which a CPU without such arithmetic is four times slower at
(1.2 s instead of 0.3 s a step for six million weights): here it is one optimizer over all weights, in float32 on such a CPU.
Matrices of one shape are made orthogonal together: for the 28 of a Llama of 320, whose products are too small to fill two cores
with AMX, a step takes 61 ms instead of 114.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch

from icd10cm.processor import has_bf16_arithmetic

if TYPE_CHECKING:
    from transformers import TrainingArguments

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_MATCHES_ADAMW = 0.2
_NUMBERS_TOGETHER = 2**24


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
                self._step_matrices(group)
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Step the matrices of a group, those of one shape together."""
        alike: defaultdict[tuple[int, ...], list[torch.Tensor]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[tuple(weight.shape)].append(weight)
        for shape, weights in alike.items():
            size = max(1, _NUMBERS_TOGETHER // math.prod(shape))
            length = group["lr"] * _MATCHES_ADAMW * math.sqrt(max(shape))
            for first in range(0, len(weights), size):
                together = weights[first : first + size]
                directions = orthogonalize(torch.stack([self._follow_momentum(weight) for weight in together]))
                for weight, direction in zip(together, directions, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(direction, alpha=-length)

    def _follow_momentum(self, weight: torch.Tensor) -> torch.Tensor:
        gradient = cast(torch.Tensor, weight.grad)
        state = self.state[weight]
        if not state:
            # AdamW's reader of a saved state wants a step in every entry
            state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weight)}
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(momentum, _MOMENTUM)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """Return about the nearest orthogonal matrix of each: singular values between 0.6 and 1.2, by a quintic Newton-Schulz
    iteration.

    Args:
        matrices: of shape (matrices, rows, columns).

    Source: https://kellerjordan.github.io/posts/muon/, whose coefficients these are.
    """
    a, b, c = _COEFFICIENTS
    work = matrices.float() if matrices.device.type == "cpu" and not has_bf16_arithmetic() else matrices.bfloat16()
    is_tall = matrices.size(-2) > matrices.size(-1)
    work = work.mT.contiguous() if is_tall else work
    work = work / work.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = work @ work.mT
        work = torch.baddbmm(work, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), work, beta=a)
    return (work.mT if is_tall else work).to(matrices.dtype)


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
