"""Tokens of a chat example: by the model's own tokenizer where it lies on this machine, else rather too many than too few."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.writers.price import estimate_tokens
from icd10cm.prompts import Message

_PER_MESSAGE, _PER_EXAMPLE = 4, 3
"""What the format adds: beginning, role, separator and end of a message; the opening of an answer."""

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
"""Where tiktoken fetches a vocabulary from; it keeps it under the sha1 of this."""


class TokenCounter(NamedTuple):
    """Counts the tokens of an example's messages.

    Attributes:
        count: messages to number of tokens.
        source: how they are counted, for a person to read.
    """

    count: Callable[[Sequence[Message]], int]
    source: str


def load_counter(model: str) -> TokenCounter:
    """Return a counter for a model of the provider. Nothing is fetched from the network."""
    encoding = _find_encoding(model)
    if encoding is None:
        return TokenCounter(estimate_example, "estimated, rather too many: no tiktoken vocabulary for this model here")

    @functools.cache
    def count_text(text: str) -> int:
        return len(encoding.encode_ordinary(text))

    def count(messages: Sequence[Message]) -> int:
        return _PER_EXAMPLE + sum(_PER_MESSAGE + count_text(message["content"]) for message in messages)

    return TokenCounter(count, f"counted with tiktoken's {encoding.name}")


def estimate_example(messages: Sequence[Message]) -> int:
    """Return at least about how many tokens an example has. Codes have more tokens per byte than words: two of three bytes."""
    *prompt, answer = messages
    return estimate_tokens({"messages": prompt}) + -(-2 * len(answer["content"].encode()) // 3) + 10


def _find_encoding(model: str) -> Any:
    try:
        import tiktoken

        name = tiktoken.encoding_name_for_model(model)
    except (ImportError, KeyError):
        return None
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    kept = Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache")
    if not (kept / hashlib.sha1(_ADDRESS.format(name).encode()).hexdigest()).is_file():
        return None
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError):
        return None
