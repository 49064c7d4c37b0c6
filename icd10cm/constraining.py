"""Keep a batch of answers within the code set while they are being written: what transformers, vLLM and training share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icd10cm.constraint import State, TokenAutomaton

if TYPE_CHECKING:
    import torch

_LOWEST = -1.0e30
"""Finite, so that a row whose allowed tokens something else forbade (a request's minimum length) can still be sampled."""


class AnswerState:
    """Where the automaton stands in one answer that is being written."""

    __slots__ = ("_automaton", "_limit", "_seen", "_start", "_state")

    def __init__(self, automaton: TokenAutomaton, limit: int, distinct: bool = True):
        """Begin an answer of at most `limit` tokens; `distinct` lets no code be written twice."""
        self._automaton = automaton
        self._limit = limit
        self._start = TokenAutomaton.START if distinct else TokenAutomaton.REPEATING
        self._state: State | None = self._start
        self._seen = 0

    def follow(self, tokens: Sequence[int]) -> None:
        """Read what was written; `tokens` is the whole answer so far, of which only the new part is walked.

        A negative token stands for one that is not known yet, as vLLM notes them: it is read once it is.
        """
        if len(tokens) < self._seen:
            self._state, self._seen = self._start, 0
        for position in range(self._seen, len(tokens)):
            if tokens[position] < 0:
                return
            if self._state is not None:
                self._state = self._automaton.step(self._state, tokens[position])
            self._seen = position + 1

    def allowed(self) -> np.ndarray:
        """Return the token ids allowed next; after the end of an answer only its end again."""
        if self._state is None:
            return self._automaton.eos
        return self._automaton.allowed(self._state, self._limit - self._seen)


def mask_rows(logits: torch.Tensor, rows: Sequence[int], allowed: Sequence[np.ndarray]) -> None:
    """Set every logit of `rows` to minus infinity in place, except those at the `allowed` ids of each row.

    Args:
        logits: float tensor of shape (batch, vocabulary).
        rows: indices into the batch.
        allowed: token ids for each of `rows`.
    """
    import torch

    row_of_each = np.repeat(np.asarray(rows, dtype=np.int64), [len(tokens) for tokens in allowed])
    at_row = torch.from_numpy(row_of_each).to(logits.device, non_blocking=True)
    at_token = torch.from_numpy(np.concatenate(allowed)).to(logits.device, non_blocking=True)
    kept = logits[at_row, at_token].clamp_(min=_LOWEST)
    if len(rows) == len(logits):
        logits.fill_(float("-inf"))
    else:
        logits[torch.as_tensor(rows, device=logits.device)] = float("-inf")
    logits[at_row, at_token] = kept
