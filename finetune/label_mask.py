"""Show which tokens of an example are learned, as TRL's completion-only loss sees them."""

from __future__ import annotations

from typing import Any

from data_gen.examples import Example
from icd10cm.prompts import build_completion, build_prompt


def build_labels(example: Example, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return token ids and labels of an example, -100 where nothing is learned; the rule TRL applies."""
    prompt = tokenizer.apply_chat_template(
        build_prompt(example.text), tokenize=True, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    whole = tokenizer.apply_chat_template(
        build_prompt(example.text) + build_completion(example.codes), tokenize=True, return_dict=True
    )["input_ids"]
    shared = 0
    for left, right in zip(prompt, whole, strict=False):
        if left != right:
            break
        shared += 1
    return list(whole), [-100] * shared + list(whole[shared:])


def render_label_mask(example: Example, tokenizer: Any) -> str:
    """Return the example as text with every learned token in brackets."""
    ids, labels = build_labels(example, tokenizer)
    pieces = [tokenizer.decode([token]) for token in ids]
    return "".join(piece if label == -100 else f"[{piece}]" for piece, label in zip(pieces, labels, strict=True))
