"""What the coder asks of whoever has the model: a server (`upstream`), or a checkpoint in this process (`local`)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from serving.coding.alternatives import MOST_TOKENS, Token
from serving.coding.facts import ModelCard, ServerFacts
from serving.engines.base import Generation


class Reply(NamedTuple):
    """An answer of a model.

    Attributes:
        generation: what was written.
        tokens: of it, with others that were probable; empty where that is not told.
        n_prompt: tokens of the prompt; None where that is not told.
    """

    generation: Generation
    tokens: tuple[Token, ...] = ()
    n_prompt: int | None = None


class Backend(Protocol):
    """Who has the models. Every method raises `CodingFailure` where it cannot answer; its class says why."""

    async def read_facts(self) -> ServerFacts:
        """Return what there is."""
        ...

    async def is_alive(self) -> bool:
        """Whether it answers now."""
        ...

    async def answer(self, card: ModelCard, text: str, *, max_tokens: int, n_others: int = MOST_TOKENS) -> Reply:
        """Return a model's answer to a text.

        Args:
            card: of the model.
            text: as a user would send it.
            max_tokens: most tokens of the answer.
            n_others: how many of the most probable tokens are told for each place.
        """
        ...

    async def measure_support(self, card: ModelCard, text: str, code: str) -> float | None:
        """Return the geometric mean probability of the tokens of `code` as the answer to `text`; None where it is not told."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...
