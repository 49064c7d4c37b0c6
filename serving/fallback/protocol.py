"""Requests that the fallback understands, and the shapes of its answers: those of OpenAI, with vLLM's `prompt_logprobs`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.fallback.jobs import Job, Scored, Step

_MOST_TOP = 20
_LOWEST = -9999.0


class VllmArguments(BaseModel):
    """The switch of the constraint, where vLLM has it."""

    model_config = ConfigDict(extra="forbid")

    constrain: Literal["on", "repeats", "off"] = "on"


class StreamOptions(BaseModel):
    """What a stream ends with."""

    include_usage: bool = False
    continuous_usage_stats: Literal[False] = False


class _Common(BaseModel):
    """What both kinds of request may hold; anything else is refused by name."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    n: int = Field(1, ge=1, le=128)
    temperature: float | None = Field(None, ge=0, le=1e6)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1, le=2**31)
    min_p: float = Field(0.0, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    prompt_logprobs: int | None = Field(None, ge=0, le=_MOST_TOP)
    vllm_xargs: VllmArguments = VllmArguments()
    user: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class CompletionRequest(_Common):
    """`POST /v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=_MOST_TOP)
    echo: Literal[False] = False
    best_of: Literal[1] = 1
    add_special_tokens: bool = True


class TextPart(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    @property
    def as_text(self) -> str:
        """Its whole text."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class ResponseFormat(BaseModel):
    """The only format there is."""

    type: Literal["text"]


class ChatRequest(_Common):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=_MOST_TOP)
    response_format: ResponseFormat | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class Spelling:
    """Texts of tokens."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def spell(self, token: int) -> str:
        """Return the text of one token, special ones included."""
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode([token])
        return self._texts[token]


def build_completion_logprobs(steps: Sequence[Step], spelling: Spelling, offset: int = 0) -> dict[str, Any]:
    """Return the log-probabilities of a choice of `/v1/completions`; `offset` is where the text of the first token begins."""
    tokens = [spelling.spell(step.chosen.token) for step in steps]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [_floor(step.chosen.logprob) for step in steps],
        "top_logprobs": [{spelling.spell(one.token): _floor(one.logprob) for one in _list_scored(step)} for step in steps],
        "text_offset": offsets,
    }


def build_chat_logprobs(steps: Sequence[Step], spelling: Spelling) -> dict[str, Any]:
    """Return the log-probabilities of a choice of `/v1/chat/completions`."""

    def describe(scored: Scored) -> dict[str, Any]:
        text = spelling.spell(scored.token)
        return {"token": text, "logprob": _floor(scored.logprob), "bytes": list(text.encode(errors="replace"))}

    content = [{**describe(step.chosen), "top_logprobs": [describe(one) for one in step.likeliest]} for step in steps]
    return {"content": content}


def build_prompt_logprobs(job: Job, spelling: Spelling) -> list[dict[str, Any] | None] | None:
    """Return the log-probabilities of the prompt's tokens as vLLM gives them: by token id, None for the first token."""
    if job.prompt_steps is None:
        return None

    def describe(scored: Scored) -> dict[str, Any]:
        return {"logprob": _floor(scored.logprob), "rank": scored.rank, "decoded_token": spelling.spell(scored.token)}

    return [step and {str(one.token): describe(one) for one in _list_scored(step)} for step in job.prompt_steps]


def build_usage(prompt_tokens: int, jobs: Sequence[Job]) -> dict[str, int]:
    """Return the tokens of a request: its prompts counted once, all its answers."""
    written = sum(len(job.steps) for job in jobs)
    return {"prompt_tokens": prompt_tokens, "completion_tokens": written, "total_tokens": prompt_tokens + written}


def build_frame(kind: str, prefix: str, model: str) -> dict[str, Any]:
    """Return what every response of one request begins with."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _list_scored(step: Step) -> list[Scored]:
    """Return the token that was written and the likeliest ones, each once."""
    return list({one.token: one for one in (step.chosen, *step.likeliest)}.values())


def _floor(logprob: float) -> float:
    """Return a number that JSON has: that of a token which cannot come is minus infinity."""
    return max(logprob, _LOWEST)
