"""What one answer is asked to be, and what it has become so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

_UNFINISHED = "\ufffd"


class Sampling(NamedTuple):
    """How tokens are chosen: temperature 0 is greedy, `top_k` 0 is all, `min_p` is a share of the likeliest token's chance."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


class Scored(NamedTuple):
    """A token with its log-probability before any limit, and its rank among all tokens, 1 for the likeliest."""

    token: int
    logprob: float
    rank: int


class Step(NamedTuple):
    """A token that was written and the likeliest ones at its place; `chosen` has no score where none was asked for."""

    chosen: Scored
    likeliest: tuple[Scored, ...] = ()


@dataclass
class Job:
    """One answer to one prompt.

    Attributes:
        prompt: its tokens.
        limit: most tokens of the answer.
        limited: whether it may hold existing codes only.
        distinct: whether none of them may come twice.
        sampling: how tokens are chosen.
        random: draws tokens, of a seed of its own where the request gives one.
        n_top: how many of the likeliest tokens are noted at each place; None for no log-probabilities.
        n_prompt_top: the same for the tokens of the prompt.
        stops: texts that end the answer and are left out of it.
        report: called in the writing thread after each token, with whether the answer is complete.
        steps: what was written, the end-of-sequence token included.
        prompt_steps: for each token of the prompt, None for the first.
        text: the answer so far, as far as its characters are whole.
        finish_reason: `stop` or `length` once it is complete.
        stop_reason: the stop text that ended it.
        cancelled: whether nobody waits for it any more.
    """

    prompt: list[int]
    limit: int
    limited: bool
    sampling: Sampling
    random: np.random.Generator
    distinct: bool = True
    n_top: int | None = None
    n_prompt_top: int | None = None
    stops: tuple[str, ...] = ()
    report: Callable[[bool], None] = lambda _done: None
    steps: list[Step] = field(default_factory=list)
    prompt_steps: list[Step | None] | None = None
    text: str = ""
    finish_reason: str | None = None
    stop_reason: str | None = None
    error: BaseException | None = None
    cancelled: bool = False


def extend_job(job: Job, step: Step, tokenizer: Any, eos_ids: Collection[int]) -> None:
    """Add a token to an answer, and end the answer where it ends."""
    job.steps.append(step)
    tokens = [one.chosen.token for one in job.steps]
    ended = step.chosen.token in eos_ids
    text = tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
    if ended:
        job.finish_reason = "stop"
    elif len(tokens) >= job.limit:
        job.finish_reason = "length"
    for stop in job.stops:
        place = text.find(stop)
        if place >= 0:
            text, job.finish_reason, job.stop_reason = text[:place], "stop", stop
    if job.finish_reason is None:
        text = text.rstrip(_UNFINISHED)
        text = text[: len(text) - _count_begun(text, job.stops)]
    job.text = text
    job.report(job.finish_reason is not None)


def _count_begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of `text` may be the beginning of a stop, and are not to be sent yet."""
    lengths = (size for stop in stops for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size]))
    return max(lengths, default=0)
