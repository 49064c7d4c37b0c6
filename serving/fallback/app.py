"""The routes of the fallback: `/health`, `/v1/models`, `/v1/completions`, `/v1/chat/completions`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from serving.engines.base import OFF, ON
from serving.fallback.batches import Batches
from serving.fallback.jobs import Job, Sampling
from serving.fallback.keys import RequireKey
from serving.fallback.protocol import (
    ChatRequest,
    CompletionRequest,
    Spelling,
    build_chat_logprobs,
    build_completion_logprobs,
    build_frame,
    build_prompt_logprobs,
    build_usage,
)
from serving.fallback.writer import BatchWriter
from serving.guard import Refusal, describe_refusal
from serving.middleware import LONGEST_TOKEN, Gate
from serving.model_facts import Served

Build = Callable[[Job, int, int], dict[str, Any]]
"""Builds a choice, or a chunk of one: from the job, the number of characters and that of tokens that were sent already."""


@dataclass
class Asked:
    """A request on its way: its jobs, and a queue with the numbers of those that have grown."""

    jobs: list[Job]
    prompt_tokens: int
    grown: asyncio.Queue[tuple[int, bool]] = field(default_factory=asyncio.Queue)


class Desk:
    """Turns requests into jobs and jobs into responses."""

    def __init__(self, writer: BatchWriter, served: Served, temperature: float, most: int):
        """Start the thread that writes; `most` answers at a time."""
        self.name = next(iter(served.models))
        self._writer, self._served, self._temperature = writer, served, temperature
        self._batches = Batches(writer.write, most)
        self._spelling = Spelling(writer.tokenizer)

    async def complete(self, request: CompletionRequest, http: Request) -> Response:
        """Answer `/v1/completions`."""
        self._check_model(request.model)
        given = request.prompt
        if isinstance(given, str) or (given and isinstance(given[0], int)):
            given = [given]  # type: ignore[assignment,list-item]
        prompts = [self._tokenize(one, request.add_special_tokens) for one in given]  # type: ignore[arg-type]
        if not prompts:
            raise Refusal("'prompt' is empty")
        asked = self._ask(request, prompts, request.max_tokens, request.logprobs)

        def build(job: Job, n_characters: int, n_steps: int) -> dict[str, Any]:
            steps = job.steps[n_steps:]
            logprobs = None if job.n_top is None else build_completion_logprobs(steps, self._spelling, n_characters)
            return {"text": job.text[n_characters:], "logprobs": logprobs}

        frame = build_frame("text_completion", "cmpl", self.name)
        if request.stream:
            return self._stream(asked, frame, build, request)
        await self._wait(asked, http)
        choices = [self._finish(i, job, build(job, 0, 0)) for i, job in enumerate(asked.jobs)]
        for choice, job in zip(choices, asked.jobs, strict=True):
            choice["prompt_logprobs"] = build_prompt_logprobs(job, self._spelling)
        return JSONResponse({**frame, "choices": choices, "usage": build_usage(asked.prompt_tokens, asked.jobs)})

    async def chat(self, request: ChatRequest, http: Request) -> Response:
        """Answer `/v1/chat/completions`."""
        self._check_model(request.model)
        if request.continue_final_message and request.add_generation_prompt:
            raise Refusal("'continue_final_message' needs 'add_generation_prompt' false")
        prompt = self._render(request)
        n_top = (request.top_logprobs or 0) if request.logprobs else None
        asked = self._ask(request, [prompt], request.max_completion_tokens or request.max_tokens, n_top)

        def build(job: Job, n_characters: int, n_steps: int) -> dict[str, Any]:
            logprobs = None if job.n_top is None else build_chat_logprobs(job.steps[n_steps:], self._spelling)
            text = job.text[n_characters:]
            if request.stream:
                begun = {"role": "assistant"} if n_steps == 0 else {}
                return {"delta": {**begun, "content": text}, "logprobs": logprobs}
            return {"message": {"role": "assistant", "content": text}, "logprobs": logprobs}

        if request.stream:
            return self._stream(asked, build_frame("chat.completion.chunk", "chatcmpl", self.name), build, request)
        await self._wait(asked, http)
        choices = [self._finish(i, job, build(job, 0, 0)) for i, job in enumerate(asked.jobs)]
        whole = {"choices": choices, "usage": build_usage(asked.prompt_tokens, asked.jobs)}
        scored = build_prompt_logprobs(asked.jobs[0], self._spelling)
        return JSONResponse({**build_frame("chat.completion", "chatcmpl", self.name), **whole, "prompt_logprobs": scored})

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise Refusal(f"the model {name[:100]!r} does not exist; this server has {self.name!r}", 404)

    def _tokenize(self, prompt: str | list[int], add_special: bool) -> list[int]:
        if isinstance(prompt, str):
            if len(prompt) > LONGEST_TOKEN * self._served.context:
                raise Refusal(f"a prompt has {len(prompt):,} characters; this model reads {self._served.context} tokens")
            return self._writer.tokenizer(prompt, add_special_tokens=add_special, verbose=False)["input_ids"]
        if not all(0 <= token < self._writer.n_tokens for token in prompt):
            raise Refusal("'prompt' holds a number that is no token of this model")
        return prompt

    def _render(self, request: ChatRequest) -> list[int]:
        messages = [{"role": message.role, "content": message.as_text} for message in request.messages]
        try:
            text = self._writer.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=request.add_generation_prompt,
                continue_final_message=request.continue_final_message,
            )
        except Exception:  # jinja2 and transformers raise many kinds
            raise Refusal("the messages do not fit the chat template of this model") from None
        return self._tokenize(text, add_special=False)

    def _ask(
        self, request: CompletionRequest | ChatRequest, prompts: Sequence[list[int]], limit: int | None, n_top: int | None
    ) -> Asked:
        """Hand the jobs of a request to the writing thread."""
        context = self._served.context
        for prompt in prompts:
            if not 0 < len(prompt) < context:
                raise Refusal(f"a prompt has {len(prompt)} tokens; this model reads {context}, the answer included")
        asked = Asked([], sum(map(len, prompts)))
        loop = asyncio.get_running_loop()
        temperature = self._temperature if request.temperature is None else request.temperature
        sampling = Sampling(temperature, request.top_p, max(0, request.top_k), request.min_p)
        for number, (prompt, turn) in enumerate((prompt, turn) for prompt in prompts for turn in range(request.n)):

            def report(done: bool, number: int = number) -> None:
                loop.call_soon_threadsafe(asked.grown.put_nowait, (number, done))

            room = context - len(prompt)
            asked.jobs.append(
                Job(
                    prompt=prompt,
                    limit=min(limit or self._served.max_tokens, room),
                    limited=self._served.constrained and request.vllm_xargs.constrain != OFF,
                    distinct=request.vllm_xargs.constrain == ON,
                    sampling=sampling,
                    random=np.random.default_rng(None if request.seed is None else [abs(request.seed), request.seed < 0, turn]),
                    n_top=n_top,
                    n_prompt_top=request.prompt_logprobs if turn == 0 else None,
                    stops=request.stops,
                    report=report,
                )
            )
        self._batches.add(asked.jobs)
        return asked

    async def _wait(self, asked: Asked, http: Request) -> None:
        """Wait until all jobs are complete, or the client has gone away."""

        async def follow() -> None:
            async for _ in self._follow(asked):
                pass

        # the body is read, so what comes next is the end of the connection
        done, gone = asyncio.ensure_future(follow()), asyncio.ensure_future(http.receive())
        try:
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise Refusal("the client has closed the connection", 499)
            await done
        finally:
            gone.cancel()
            done.cancel()

    async def _follow(self, asked: Asked) -> AsyncIterator[tuple[int, bool]]:
        """Yield the number of each job that has grown, until all are complete; a client that goes away cancels them."""
        left = len(asked.jobs)
        try:
            while left:
                number, done = await asked.grown.get()
                if asked.jobs[number].error is not None:
                    raise RuntimeError("the answer could not be computed") from asked.jobs[number].error
                left -= done
                yield number, done
        finally:
            for job in asked.jobs:
                job.cancelled = job.cancelled or job.finish_reason is None

    def _stream(
        self, asked: Asked, frame: dict[str, Any], build: Build, request: CompletionRequest | ChatRequest
    ) -> StreamingResponse:
        """Return server-sent events, one for each piece of an answer."""
        sent = [(0, 0)] * len(asked.jobs)

        async def write() -> AsyncIterator[str]:
            async for number, done in self._follow(asked):
                job = asked.jobs[number]
                n_characters, n_steps = sent[number]
                # copied, as the other thread goes on writing
                seen = Job(job.prompt, job.limit, job.limited, job.sampling, job.random, n_top=job.n_top)
                seen.steps, seen.text = list(job.steps), job.text
                if not done and len(seen.text) == n_characters:
                    continue
                choice = build(seen, n_characters, n_steps)
                sent[number] = len(seen.text), len(seen.steps)
                if done:
                    choice = self._finish(number, job, choice)
                yield _write_event({**frame, "choices": [{"index": number, "finish_reason": None, **choice}]})
            if request.stream_options and request.stream_options.include_usage:
                yield _write_event({**frame, "choices": [], "usage": build_usage(asked.prompt_tokens, asked.jobs)})
            yield "data: [DONE]\n\n"

        return StreamingResponse(write(), media_type="text/event-stream")

    def _finish(self, number: int, job: Job, choice: dict[str, Any]) -> dict[str, Any]:
        return {"index": number, **choice, "finish_reason": job.finish_reason, "stop_reason": job.stop_reason}


def build_app(desk: Desk, served: Served) -> FastAPI:
    """Return the application, behind the same gate as vLLM."""
    app = FastAPI(title="ICDTune", openapi_url=None)
    started = int(time.time())

    @app.get("/health")
    def check_health() -> Response:
        return Response()

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        # by this owner clients know that `vllm_xargs` is understood; what it is says `GET /icdtune`
        model = {"id": desk.name, "object": "model", "created": started, "owned_by": "vllm", "max_model_len": served.context}
        return {"object": "list", "data": [model]}

    @app.post("/v1/completions")
    async def complete(request: CompletionRequest, http: Request) -> Response:
        return await desk.complete(request, http)

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest, http: Request) -> Response:
        return await desk.chat(request, http)

    @app.exception_handler(Refusal)
    async def refuse(_request: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(describe_refusal(refusal), refusal.status)

    @app.exception_handler(RequestValidationError)
    async def refuse_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # never what was sent: it may be a note
        first = error.errors()[0]
        name = ".".join(str(part)[:60] for part in first["loc"] if part != "body") or "the body"
        unknown = first["type"] == "extra_forbidden"
        words = "is not served by transformers; it needs vLLM" if unknown else first["msg"]
        return JSONResponse(describe_refusal(Refusal(f"{name!r}: {words}")), 400)

    app.add_middleware(RequireKey)
    app.add_middleware(Gate)
    return app


def _write_event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
