"""What evaluation and serving ask of whatever generates: texts in, completions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Generation(NamedTuple):
    """One completion.

    Attributes:
        text: what was written, without special tokens.
        finish_reason: `stop`, `length` (the token limit cut it off) or `error`.
        score: mean log-probability of the tokens written (for the floor: cosine similarity); None when not known.
        error: what went wrong, empty unless `finish_reason` is `error`.
    """

    text: str
    finish_reason: str
    score: float | None = None
    error: str = ""


class Engine(Protocol):
    """A generator of completions: a checkpoint in this process, a server, or the retrieval floor."""

    name: str

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per clinical text, in order; the engine puts each text into the model's prompt."""
        ...
