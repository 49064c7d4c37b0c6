"""Write a batch of answers by transformers, each with its own limit, sampling, stops and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icd10cm.constraining import AnswerState, mask_rows
from serving.engines.transformers_engine import TransformersEngine
from serving.fallback.jobs import Job, Sampling, Scored, Step, extend_job

if TYPE_CHECKING:
    import torch


class BatchWriter(TransformersEngine):
    """The engine of evaluation, asked for whatever a client of the API may ask of one answer."""

    def write(self, jobs: Sequence[Job]) -> None:
        """Write the answers to `jobs` together; each is reported as it grows."""
        for job in jobs:
            if job.n_prompt_top is not None:
                job.prompt_steps = self._score_prompt(job.prompt, job.n_prompt_top)
        # prompts of like length are padded little
        ordered = sorted(jobs, key=lambda job: -len(job.prompt))
        for start in range(0, len(ordered), self._batch_size):
            batch = ordered[start : start + self._batch_size]
            prompts = [job.prompt for job in batch]
            self._write(prompts, [job.limit for job in batch], _JobWatcher(self, batch, max(map(len, prompts))))

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return self._tokenizer

    @property
    def automaton(self) -> Any:
        """The code set as the tokens that spell it; None where there is no limit."""
        return self._automaton

    @property
    def eos_ids(self) -> list[int]:
        """The tokens that end an answer."""
        return self._eos

    @property
    def n_tokens(self) -> int:
        """Tokens that the model knows."""
        return int(self._model.config.get_text_config().vocab_size)

    def _score_prompt(self, prompt: list[int], n_top: int) -> list[Step | None]:
        import torch

        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([prompt], device=self._device)).logits[0, :-1].float()
        return [None, *score_tokens(logits, prompt[1:], n_top)]


class _JobWatcher:
    """A logits processor that chooses the next token of every job itself and leaves transformers no choice."""

    def __init__(self, writer: BatchWriter, jobs: Sequence[Job], width: int):
        self._writer, self._jobs, self._width = writer, jobs, width
        self._answers = {
            row: AnswerState(writer.automaton, job.limit, job.distinct)
            for row, job in enumerate(jobs)
            if job.limited and writer.automaton
        }
        self._eos = np.asarray(writer.eos_ids)

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (batch, vocabulary) that allow one token in each row."""
        import torch

        scores = scores.float()
        masked = scores.clone()
        open_rows = [row for row, job in enumerate(self._jobs) if job.finish_reason is None and not job.cancelled]
        limited = [row for row in open_rows if row in self._answers]
        for row in limited:
            self._answers[row].follow([step.chosen.token for step in self._jobs[row].steps])
        if limited:
            mask_rows(masked, limited, [self._answers[row].allowed() for row in limited])
        chosen = masked.argmax(1).tolist()
        for row in range(len(chosen)):
            if row not in open_rows:
                chosen[row] = int(self._eos[0])
            elif self._jobs[row].sampling.temperature > 0:
                chosen[row] = draw_token(masked[row], self._jobs[row].sampling, self._jobs[row].random)
        for row in open_rows:
            job = self._jobs[row]
            if job.n_top is None:
                step = Step(Scored(chosen[row], 0.0, 0))
            else:
                (step,) = score_tokens(scores[row : row + 1], [chosen[row]], job.n_top)
            extend_job(job, step, self._writer.tokenizer, self._writer.eos_ids)
            if job.finish_reason is not None:
                chosen[row] = chosen[row] if chosen[row] in self._eos else int(self._eos[0])
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter_(1, torch.tensor(chosen, device=scores.device)[:, None], 0.0)


def draw_token(logits: torch.Tensor, sampling: Sampling, random: np.random.Generator) -> int:
    """Return a token drawn from `logits` (vocabulary)."""
    chances, order = (logits.double() / sampling.temperature).softmax(0).sort(descending=True, stable=True)
    mass = chances.cumsum(0)
    kept = ((mass - chances) < sampling.top_p) & (chances >= sampling.min_p * chances[0])
    if sampling.top_k > 0:
        kept[sampling.top_k :] = False
    mass = mass[kept]
    return int(order[min(int((mass <= random.random() * float(mass[-1])).sum()), len(mass) - 1)])


def score_tokens(logits: torch.Tensor, tokens: Sequence[int], n_top: int) -> list[Step]:
    """Return for each row of `logits` (rows, vocabulary) the score of its token and of the likeliest ones."""
    import torch

    logprobs = logits.log_softmax(1)
    chosen = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])
    ranks = (logprobs > chosen).sum(1) + 1
    top = logprobs.topk(min(n_top, logprobs.shape[1]), dim=1)
    likeliest = [
        tuple(Scored(token, logprob, rank) for rank, (token, logprob) in enumerate(zip(ids, values, strict=True), 1))
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
    rows = zip(tokens, chosen[:, 0].tolist(), ranks.tolist(), likeliest, strict=True)
    return [Step(Scored(token, logprob, rank), best) for token, logprob, rank, best in rows]
