"""A checkpoint in this process, for one event loop: what a model server tells, without a server.

A small Llama answers a few texts by NumPy, before torch and transformers would be imported; all else is for transformers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icd10cm.codeset import CodeSet
from serving.checkpoint import Checkpoint, check_checkpoint
from serving.coding.alternatives import MOST_TOKENS, Token
from serving.coding.backend import Reply
from serving.coding.errors import CodingFailure, TextTooLongError
from serving.coding.facts import ModelCard, ServerFacts, read_own_facts
from serving.engines.base import end_answer
from serving.fallback.batches import Batches
from serving.fallback.jobs import Job, Sampling, Scored, Step
from serving.model_facts import Served, gather_facts
from serving.prompting import read_frame, tokenize
from serving.quick.llama import can_read

_BATCH = 32
_FEW = 200
"""Texts up to which one answer after the other takes less time than importing what writes 32 together."""


class LocalModel:
    """One checkpoint. Answers are the same as those of `serving.serve` on it.

    Attributes:
        checkpoint: what its files say.
    """

    def __init__(self, folder: Path, codes: CodeSet, *, constrained: bool = True, max_tokens: int = 256, n_texts: int = 1):
        """Load the checkpoint.

        Args:
            folder: of the checkpoint.
            codes: the release to which answers are limited.
            constrained: whether they are.
            max_tokens: most tokens of an answer.
            n_texts: about how many texts it will be asked for.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        self.checkpoint = checkpoint = check_checkpoint(folder, codes.release)
        engine, self._writer = _load_writer(checkpoint, codes if constrained else None, n_texts)
        self._frame = read_frame(self._writer.tokenizer, folder)
        self._batches = Batches(self._writer.write, _BATCH)
        self._constrained, self._context = constrained, checkpoint.context
        self._served = Served(
            engine=engine,
            models={folder.name: folder},
            release=codes.release if constrained else "",
            context=checkpoint.context,
            max_tokens=max_tokens,
            constrained=constrained,
        )

    async def read_facts(self) -> ServerFacts:
        """Return what the checkpoint's folder says."""
        facts = read_own_facts(await gather_facts(self._served))
        return facts._replace(warnings=(*facts.warnings, *self.checkpoint.warnings))

    async def is_alive(self) -> bool:
        """Whether it answers: always."""
        return True

    async def close(self) -> None:
        """Leave the model to the end of the process."""

    async def answer(self, card: ModelCard, text: str, *, max_tokens: int, n_others: int = MOST_TOKENS) -> Reply:
        """Return the model's answer to a text. Raises `CodingFailure`."""
        (prompt,) = tokenize(self._writer.tokenizer, self._frame, [text])
        job = await self._write(prompt, max_tokens, n_top=n_others)
        tokens = tuple(map(self._read_step, job.steps))
        generation = end_answer(
            job.text,
            stopped=job.finish_reason != "length",
            tokens=[token.text for token in tokens],
            logprobs=[token.logprob for token in tokens],
        )
        return Reply(generation, tokens, len(prompt))

    async def measure_support(self, card: ModelCard, text: str, code: str) -> float | None:
        """Return the geometric mean probability of the tokens of `code` as the answer to `text`."""
        (prompt,) = tokenize(self._writer.tokenizer, self._frame, [text])
        whole = self._writer.tokenizer(self._frame.wrap(text) + code, add_special_tokens=False, verbose=False)["input_ids"]
        try:
            job = await self._write(whole, 1, n_prompt_top=0)
        except TextTooLongError:
            return None
        scored = [step.chosen.logprob for step in (job.prompt_steps or ())[len(prompt) :] if step]
        return round(min(1.0, math.exp(sum(scored) / len(scored))), 4) if scored else None

    async def _write(self, prompt: Sequence[int], limit: int, n_top: int | None = None, n_prompt_top: int | None = None) -> Job:
        room = self._context - len(prompt)
        if room < 1:
            raise TextTooLongError("the text is longer than the model reads")
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def report(done: bool) -> None:
            if done:
                with contextlib.suppress(RuntimeError):  # nobody waits any more
                    loop.call_soon_threadsafe(ended.set)

        job = Job(
            prompt=list(prompt),
            limit=min(limit, room),
            limited=self._constrained,
            distinct=False,
            sampling=Sampling(),
            random=np.random.default_rng(0),
            n_top=n_top,
            n_prompt_top=n_prompt_top,
            report=report,
        )
        self._batches.add([job])
        try:
            await ended.wait()
        finally:
            job.cancelled = job.finish_reason is None
        if job.error is not None:
            raise CodingFailure("the model could not answer") from job.error
        return job

    def _read_step(self, step: Step) -> Token:
        return Token(self._spell(step.chosen), step.chosen.logprob, tuple((self._spell(x), x.logprob) for x in step.likeliest))

    def _spell(self, scored: Scored) -> str:
        return str(self._writer.tokenizer.decode([scored.token], skip_special_tokens=True))


def _load_writer(checkpoint: Checkpoint, codes: CodeSet | None, n_texts: int) -> tuple[str, Any]:
    """Return who writes the answers, with the name: NumPy for a small Llama and few texts, else transformers."""
    if can_read(checkpoint) and (n_texts <= _FEW or importlib.util.find_spec("transformers") is None):
        from serving.quick.writer import QuickWriter

        return "numpy", QuickWriter(checkpoint.path, codes)
    from serving.fallback.writer import BatchWriter

    return "transformers", BatchWriter(checkpoint.path, codes, batch_size=_BATCH, progress=False)
