"""Show which tokens of an example are learned."""

from __future__ import annotations

from typing import Any

from data_gen.examples import Example
from finetune.tokens import IGNORED, tokenize


def render_label_mask(example: Example, tokenizer: Any) -> str:
    """Return the example as text with every learned token in brackets."""
    ((ids, labels),) = tokenize([example], tokenizer)
    pieces = [tokenizer.decode([token]) for token in ids]
    return "".join(piece if label == IGNORED else f"[{piece}]" for piece, label in zip(pieces, labels, strict=True))
