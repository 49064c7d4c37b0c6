"""What evaluation and serving ask of whatever generates: texts in, completions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from icd10cm.prompts import SEPARATOR

RELEASE_HEADER = "X-ICDTune-Release"
"""Header of every response of our server: the release whose codes it answers with, where that is known."""


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


def end_answer(text: str, *, stopped: bool, logprob: float | None = None, n_tokens: int = 0) -> Generation:
    """Return the generation for `text`, the same way for every engine.

    An answer that ends in a separator was cut by its token limit even where the model was made to stop there.

    Args:
        text: what was written, without special tokens.
        stopped: whether it ended by itself and not at the token limit.
        logprob: sum of the log-probabilities of its tokens, the end-of-sequence token included; None when not known.
        n_tokens: number of those tokens.
    """
    cut = not stopped or text.rstrip().endswith(SEPARATOR.strip())
    score = None if logprob is None or n_tokens == 0 else round(logprob / n_tokens, 4)
    return Generation(text, "length" if cut else "stop", score)
