"""Where the tokens of a text are: by a checkpoint's tokenizer, or by an estimate where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

Spans = list[tuple[int, int]]
"""Where each token begins and ends in the text."""

FindTokens = Callable[[str], Spans]

_ESTIMATED = re.compile(r"[^\W\d_]{1,5}|\d{1,3}|_+|[^\w\s]|\n+")


def estimate_tokens(text: str) -> Spans:
    """Return where tokens would be: each begun five letters or three digits, each other sign, each run of line ends.

    CodiEsp's English case reports have 3.8 characters to such a token. Tokenizers differ, so leave room below what a model
    reads, or name its tokenizer.
    """
    return [match.span() for match in _ESTIMATED.finditer(text)]


def build_finder(tokenizer_path: Path) -> FindTokens:
    """Return a function that finds the tokens of the tokenizer in a folder. Raises `CheckpointError`."""
    from icd10cm.errors import CheckpointError
    from serving.prompting import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_path)
    if not tokenizer.is_fast:
        raise CheckpointError(f"{tokenizer_path}: its tokenizer has no tokenizer.json, which says where tokens are in a text")

    def find(text: str) -> Spans:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [(start, end) for start, end in encoded["offset_mapping"]]

    return find
