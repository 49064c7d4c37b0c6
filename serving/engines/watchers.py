"""What looks on while transformers writes: keeps answers within the code set, notes log-probabilities, draws tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icd10cm.constraining import AnswerState, mask_rows
from icd10cm.constraint import State, TokenAutomaton
from serving.engines.base import derive_seed

if TYPE_CHECKING:
    import torch

_BELOW_ONE = 1 - 1e-9
_NOWHERE = float("-inf")


class TokenWatcher:
    """A logits processor: masks what leaves the code set and notes the log-probability, unmasked, of each token written.

    Attributes:
        logprobs: for each row those of its tokens.
    """

    def __init__(self, automaton: TokenAutomaton | None, limits: Sequence[int], width: int, draws: np.ndarray | None = None):
        """Begin a batch.

        Args:
            automaton: of the codes that may be written; None for no limit.
            limits: most tokens of each row.
            width: tokens of the prompts, padding included.
            draws: (rows, steps), uniform in [0, 1): each chooses a token in proportion to its probability among those allowed.
                None for the most probable token.
        """
        self._answers = [AnswerState(automaton, limit, distinct=False) for limit in limits] if automaton else []
        self._width = width
        self._draws = draws
        self._last: torch.Tensor | None = None
        self.logprobs: list[list[float]] = [[] for _ in limits]

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the masked copy of `scores` (batch, vocabulary) for the tokens `ids` (batch, prompt and answer so far)."""
        self.score_last(ids)
        self._last = scores
        written = ids[:, self._width :].tolist()
        if self._answers:
            for answer, tokens in zip(self._answers, written, strict=True):
                answer.follow(tokens)
            scores = scores.clone()
            mask_rows(scores, range(len(scores)), [answer.allowed() for answer in self._answers])
        return scores if self._draws is None else self._draw(scores, len(written[0]))

    def score_last(self, ids: torch.Tensor) -> None:
        """Note the log-probability of the last token of each row of `ids`."""
        if self._last is None:
            return
        chosen = self._last.gather(1, ids[:, -1:])[:, 0] - self._last.logsumexp(1)
        for logprobs, value in zip(self.logprobs, chosen.tolist(), strict=True):
            logprobs.append(value)
        self._last = None

    def _draw(self, scores: torch.Tensor, step: int) -> torch.Tensor:
        """Return scores that leave each row one token: the one its draw falls on."""
        import torch

        assert self._draws is not None
        mass = scores.double().softmax(1).cumsum(1)
        drawn = torch.from_numpy(self._draws[:, step]).to(mass).clamp(max=_BELOW_ONE)[:, None] * mass[:, -1:]
        chosen = torch.searchsorted(mass, drawn, right=True).clamp(max=mass.shape[1] - 1)
        return torch.full_like(scores, _NOWHERE).scatter_(1, chosen, 0.0)


def draw_uniforms(seed: int, text: str, n_answers: int, n_steps: int) -> np.ndarray:
    """Return the draws for the answers to one text, of shape (n_answers, n_steps): the same in any company."""
    return np.random.default_rng(derive_seed(seed, text)).random((n_answers, n_steps))


class BeamWatcher:
    """A logits processor for a beam search: masks what leaves the code set and adds up the log-probability of each answer.

    transformers would give the sums only with the scores of every step, which for a large vocabulary fill the memory.
    """

    def __init__(
        self, automaton: TokenAutomaton | None, limits: Sequence[int], width: int, n_beams: int, eos_ids: Sequence[int]
    ):
        """Begin a batch; `limits` has one number for each text, of which each has `n_beams` rows that stand together."""
        self._automaton = automaton
        self._limits, self._width, self._n_beams, self._eos = limits, width, n_beams, list(eos_ids)
        self._states: dict[tuple[int, ...], State | None] = {}
        self._sums: dict[tuple[int, ...], float] = {}
        self._ends: dict[tuple[int, ...], list[float]] = {}
        self._rows: dict[tuple[int, ...], int] = {}
        self._last: Any = None

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the masked copy of the log-probabilities `scores` (rows, vocabulary) for the tokens `ids` (rows, length)."""
        # an answer goes by its text's number and its tokens
        keys = [(row // self._n_beams, *tokens) for row, tokens in enumerate(ids[:, self._width :].tolist())]
        self._add_last(keys)
        if self._automaton:
            scores = scores.clone()
            mask_rows(scores, range(len(scores)), [self._allow(key) for key in keys])
        self._last, self._rows = scores, {key: row for row, key in reversed(list(enumerate(keys)))}
        for key, ends in zip(keys, scores[:, self._eos].tolist(), strict=True):
            self._ends[key] = ends
        return scores

    def sum_logprobs(self, text: int, tokens: Sequence[int]) -> float:
        """Return the log-probability of a whole answer, its end included; minus infinity for what is none."""
        *begun, last = (text, *tokens)
        key = tuple(begun)
        if last in self._eos and key in self._ends:
            return self._sums[key] + self._ends[key][self._eos.index(last)]
        if key not in self._rows:
            return _NOWHERE
        return self._sums[key] + float(self._last[self._rows[key], last])

    def _add_last(self, keys: Sequence[tuple[int, ...]]) -> None:
        if self._last is None:
            self._sums = dict.fromkeys(keys, 0.0)
            self._states = dict.fromkeys(keys, TokenAutomaton.REPEATING)
            return
        parents = [self._rows.get(key[:-1]) for key in keys]
        chosen = self._last[[parent or 0 for parent in parents], [key[-1] for key in keys]].tolist()
        for key, parent, logprob in zip(keys, parents, chosen, strict=True):
            before = key[:-1]
            known = parent is not None
            self._sums[key] = self._sums[before] + logprob if known else _NOWHERE
            state = self._states[before] if known and self._automaton else None
            self._states[key] = self._automaton.step(state, key[-1]) if self._automaton and state is not None else None

    def _allow(self, key: tuple[int, ...]) -> np.ndarray:
        assert self._automaton
        state = self._states[key]
        if state is None:
            return self._automaton.eos
        return self._automaton.allowed(state, self._limits[key[0]] - (len(key) - 1))


def share_out(logprobs: Sequence[float]) -> list[float]:
    """Return the probability of each answer over that of all of them."""
    highest = max(logprobs)
    weights = [math.exp(logprob - highest) for logprob in logprobs]
    return [weight / math.fsum(weights) for weight in weights]
