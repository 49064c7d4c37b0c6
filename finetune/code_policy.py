"""The model kept to existing codes, as a policy: what it samples from, and the log-probability of what was sampled.

A served answer is drawn from the model's distribution without the tokens that leave the code set, the rest scaled up to one.
Reinforcement learns on that very distribution: log-probabilities are among the tokens that were allowed at each place, so that
importance ratios, KL and entropy compare like with like. (Over the whole vocabulary, as TRL computes them, a ratio would also
move with the mass outside the code set, which sampling never sees.) What lies outside then gets no gradient, and a model drifts
there unseen: measured, its free answers got worse while the sampled ones got better. So `leaks` are part of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from icd10cm.constraining import AnswerState, mask_rows
from icd10cm.constraint import TokenAutomaton, read_token_texts


class Scores(NamedTuple):
    """What the policy says of answers, all of shape (rows, tokens) and 0 for padding.

    Attributes:
        logprobs: log-probability of each token among those that were allowed at its place.
        entropies: of the distribution over those.
        leaks: minus the log of the model's whole mass on those: 0 where it would stay within the code set by itself.
    """

    logprobs: torch.Tensor
    entropies: torch.Tensor
    leaks: torch.Tensor


class CodePolicy:
    """Answers of at most `limit` tokens that hold codes of a release only."""

    def __init__(self, codes: Iterable[str], tokenizer: Any, eos_ids: Sequence[int], limit: int):
        """Build the automaton over the tokenizer's tokens.

        Args:
            codes: dotted codes.
            tokenizer: of the model.
            eos_ids: tokens that end an answer.
            limit: most tokens of an answer, its end included.
        """
        self.eos_ids = frozenset(eos_ids)
        self._automaton = TokenAutomaton(codes, read_token_texts(tokenizer), eos_ids)
        self._limit = limit

    def build_processor(self, n_rows: int, width: int) -> Any:
        """Return a logits processor of transformers for one call of `generate`: `n_rows` prompts, padded to `width` tokens."""
        answers = [AnswerState(self._automaton, self._limit, distinct=False) for _ in range(n_rows)]

        def mask(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            for answer, tokens in zip(answers, ids[:, width:].tolist(), strict=True):
                answer.follow(tokens)
            masked = scores.clone()
            mask_rows(masked, range(n_rows), [answer.allowed() for answer in answers])
            return masked

        return mask

    def score(self, logits: torch.Tensor, ids: torch.Tensor, written: torch.Tensor) -> Scores:
        """Return what the policy says of answers.

        Args:
            logits: for each token of the answers, divided by the temperature: (rows, tokens, vocabulary).
            ids: the answers' tokens, padded on the right: (rows, tokens).
            written: 1 for a token of an answer, 0 for padding: (rows, tokens).
        """
        allowed = [
            tokens for row, mask in zip(ids.tolist(), written.tolist(), strict=True) for tokens in self._follow(row, mask)
        ]
        widest = max(map(len, allowed))
        table = np.zeros((len(allowed), widest), dtype=np.int64)
        is_token = np.zeros((len(allowed), widest), dtype=bool)
        for place, tokens in enumerate(allowed):
            table[place, : len(tokens)] = tokens
            is_token[place, : len(tokens)] = True
        shape = (*ids.shape, widest)
        taken = torch.from_numpy(table).to(logits.device).view(shape)
        filled = torch.from_numpy(is_token).to(logits.device).view(shape)
        kept = logits.gather(-1, taken).float().masked_fill(~filled, torch.finfo(torch.float32).min)
        logprobs = kept.log_softmax(dim=-1)
        entropy = -(logprobs.exp() * logprobs).sum(dim=-1)
        inside = kept.logsumexp(dim=-1)
        chosen = logits.gather(-1, ids.unsqueeze(-1))[..., 0].float() - inside
        leak = logits.float().logsumexp(dim=-1) - inside
        return Scores(*(values.masked_fill(written == 0, 0.0) for values in (chosen, entropy, leak)))

    def _follow(self, tokens: Sequence[int], written: Sequence[int]) -> list[np.ndarray]:
        """Return the tokens allowed at each place of an answer; those that end it where it is padding."""
        answer = AnswerState(self._automaton, self._limit, distinct=False)
        allowed = []
        for place, is_written in enumerate(written):
            answer.follow(tokens[:place])
            allowed.append(answer.allowed() if is_written else self._automaton.eos)
        return allowed
