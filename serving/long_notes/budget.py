"""How many tokens of a text a model can read beside the prompt around it and its answer."""

from __future__ import annotations

from icd10cm.errors import ConfigError
from serving.checkpoint import Checkpoint

_SPARE = 8
"""Tokens left free: a part of a text can come to a few more tokens than it had inside the whole."""


def choose_budget(way: str, max_text_tokens: int, checkpoint: Checkpoint | None, context: int, max_tokens: int) -> int:
    """Return the most tokens that a text may have.

    Args:
        way: how long texts are cut; nothing is asked of `whole`, and of `conditions` only where a model is known.
        max_text_tokens: what the user chose; 0 for as much as the model reads.
        checkpoint: the model; None for servers and floors.
        context: tokens that it reads.
        max_tokens: of those, kept for the answer.

    Raises:
        ConfigError: nothing says how much a text may have, or the answer leaves no room.
    """
    if way == "whole" or max_text_tokens or (way == "conditions" and checkpoint is None):
        return max_text_tokens
    if checkpoint is None:
        raise ConfigError(f"long_text: {way} needs max_text_tokens: a server or a floor does not say how much it reads")
    from serving.prompting import load_tokenizer, read_frame, tokenize

    tokenizer = load_tokenizer(checkpoint.path)
    (frame,) = tokenize(tokenizer, read_frame(tokenizer, checkpoint.path), [""])
    room = context - max_tokens - len(frame) - _SPARE
    if room < 1:
        raise ConfigError(
            f"long_text: {way}: the model reads {context} tokens; max_tokens ({max_tokens}) and the prompt ({len(frame)}) "
            "leave none for the text; lower max_tokens or give max_text_tokens"
        )
    return room
