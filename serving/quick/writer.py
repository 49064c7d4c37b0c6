"""Write answers with the small Llama: what `serving.fallback.writer` does by transformers, for greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icd10cm.codeset import CodeSet
from icd10cm.constraining import AnswerState
from serving.fallback.jobs import Job, Scored, Step, extend_job
from serving.prompting import build_automaton, read_eos_ids
from serving.quick.llama import Llama
from serving.quick.tokenizer import QuickTokenizer


class QuickWriter:
    """A small Llama and the code set, one answer after the other.

    Attributes:
        tokenizer: the checkpoint's.
    """

    def __init__(self, folder: Path, codes: CodeSet | None):
        """Load the checkpoint; `codes` are what answers are limited to, None for no limit. Raises `CheckpointError`."""
        self.tokenizer = QuickTokenizer(folder)
        self._eos = read_eos_ids(self.tokenizer, folder)
        self._automaton = build_automaton(self.tokenizer, folder, codes.codes) if codes else None
        self._llama = Llama(folder)

    def write(self, jobs: Sequence[Job]) -> None:
        """Write the answers to `jobs`; each is reported as it grows."""
        for job in jobs:
            self._write_one(job)

    def _write_one(self, job: Job) -> None:
        limits = AnswerState(self._automaton, job.limit, job.distinct) if job.limited and self._automaton else None
        logits, past = self._llama.read(job.prompt)
        if job.n_prompt_top is not None:
            job.prompt_steps = [None, *score_tokens(logits[:-1], job.prompt[1:], job.n_prompt_top)]
        while not job.cancelled:
            allowed = limits.allowed() if limits else None
            token = int(logits[-1].argmax() if allowed is None else allowed[logits[-1][allowed].argmax()])
            step = Step(Scored(token, 0.0, 0)) if job.n_top is None else score_tokens(logits[-1:], [token], job.n_top)[0]
            extend_job(job, step, self.tokenizer, self._eos)
            if job.finish_reason is not None:
                return
            if limits:
                limits.follow([written.chosen.token for written in job.steps])
            logits, past = self._llama.read([token], past)


def score_tokens(logits: np.ndarray, tokens: Sequence[int], n_top: int) -> list[Step]:
    """Return for each row of `logits` (rows, vocabulary) the score of its token and of the likeliest ones."""
    highest = logits.max(1, keepdims=True)
    logprobs = logits - highest - np.log(np.exp(logits - highest).sum(1, keepdims=True))
    steps = []
    for row, token in zip(logprobs, tokens, strict=True):
        best = np.argsort(-row, kind="stable")[:n_top].tolist() if n_top else []
        likeliest = tuple(Scored(other, float(row[other]), rank) for rank, other in enumerate(best, 1))
        steps.append(Step(Scored(token, float(row[token]), int((row > row[token]).sum()) + 1), likeliest))
    return steps
