"""Weights that a model has under two names, such as the input and output embeddings of a small Llama."""

from __future__ import annotations

from typing import Any


def drop_copies(state_dict: dict[str, Any] | None, model: Any) -> dict[str, Any] | None:
    """Return `state_dict` without the second name of each tied weight; None where there is none.

    ZeRO and FSDP gather both names as tensors of their own, so that transformers, which compares memory, would save both.
    """
    if state_dict is None:
        return None
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    return {name: weight for name, weight in state_dict.items() if tied.get(name) not in state_dict}
