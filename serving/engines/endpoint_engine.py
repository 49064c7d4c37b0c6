"""Any OpenAI-compatible servers: vLLM started by `serving.serve`, or a hosted model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from icd10cm.errors import EngineError
from icd10cm.prompts import INSTRUCTION, Message, build_prompt
from serving.engines.base import (
    NO_ALTERNATIVES,
    OFF,
    REPEATS,
    SWITCH,
    Alternatives,
    Generation,
    Sample,
    derive_seed,
    end_answer,
)
from serving.engines.server_pool import API_KEY_VARIABLE, Server, ServerPool, find_cause, shorten

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_MOST_SERVERS = 10
"""How often one request is passed on: one that brings servers down must not do so for ever."""


class EndpointEngine:
    """Greedy answers by `/v1/chat/completions`, many requests at a time, from one server or several of the same model.

    A request that fails for good becomes a generation with `finish_reason="error"` and is counted. A server that is gone is
    left out until it answers again (`serving.engines.server_pool`). One that refuses the key or the model stops the run.

    Attributes:
        model: name of the model on the servers.
        release: release of the codes that servers of ours answer with; None where they do not say.
        n_failed: requests that failed for good.
    """

    name = "endpoint"

    def __init__(
        self,
        base_url: str | Sequence[str],
        model: str | None = None,
        *,
        constrained: bool = True,
        instruct: bool = False,
        max_tokens: int = 256,
        concurrency: int = 32,
        timeout: float = 120.0,
        retries: int = 4,
        patience: float = 300.0,
        alternatives: Alternatives = NO_ALTERNATIVES,
        progress: bool = True,
    ):
        """Ask the servers which models they have.

        Args:
            base_url: such as `http://127.0.0.1:8000/v1`, one or several; the key comes from the environment variable
                `OPENAI_API_KEY`.
            model: name of the model on the servers; may be left out when they have only one.
            constrained: False asks a vLLM server to drop its constraint; other servers have none.
            instruct: whether to send the instruction as a system message: for models whose chat template lacks it.
            max_tokens: the most tokens an answer may have.
            concurrency: requests under way at a time at each server.
            timeout: seconds to wait for one answer.
            retries: how often a request that failed in passing is sent again.
            patience: seconds to wait for a server to answer again when all are gone.
            alternatives: other answers to ask for besides the greedy one: none or draws.
            progress: whether to show a bar on stderr.

        Raises:
            EngineError: nothing answers at any `base_url`, or they do not all have that model.
        """
        self.n_failed = 0
        self._constrained, self._instruct, self._max_tokens = constrained, instruct, max_tokens
        self._alternatives, self._progress, self._timeout = alternatives, progress, timeout
        options = {"api_key": os.environ.get(API_KEY_VARIABLE) or "none", "timeout": timeout, "max_retries": retries}
        urls = [base_url] if isinstance(base_url, str) else list(base_url)
        self._pool = ServerPool(urls, model, options, concurrency, patience)
        self._n_places = concurrency * len(self._pool.servers)
        self.model, self.release = self._pool.model, self._pool.release

    def generate(self, texts: Sequence[str], on_answer: Callable[[int, Generation], None] | None = None) -> list[Generation]:
        """Return one completion per text, in order.

        Args:
            texts: clinical texts.
            on_answer: called with a text's place and its answer as soon as there is one, in any order.

        Raises:
            EngineError: no further request can succeed.
        """
        return asyncio.run(self._generate_all(texts, on_answer))

    async def _generate_all(
        self, texts: Sequence[str], on_answer: Callable[[int, Generation], None] | None
    ) -> list[Generation]:
        from tqdm import tqdm

        places = asyncio.Semaphore(self._n_places)
        bar = tqdm(total=len(texts), desc="endpoint", unit="text", leave=False, disable=not self._progress)
        clients = self._pool.open_clients()

        async def answer(index: int) -> Generation:
            async with places:
                generation = await self._generate_one(clients, texts[index])
            bar.update()
            if on_answer:
                on_answer(index, generation)
            return generation

        with bar:
            tasks = [asyncio.create_task(answer(index)) for index in range(len(texts))]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for client in clients.values():
                    await client.close()

    async def _generate_one(self, clients: dict[str, AsyncOpenAI], text: str) -> Generation:
        """Return the answer of the first server that gives one."""
        cause = ""
        for _ in range(_MOST_SERVERS):
            server = await self._pool.take()
            try:
                return await self._answer(clients[server.url], server, text)
            except _GoneError as error:
                cause = str(error)
                self._pool.mark_down(server, cause)
            finally:
                self._pool.give_back(server)
        return self._fail(f"{_MOST_SERVERS} servers in a row stopped answering ({cause})")

    async def _answer(self, client: AsyncOpenAI, server: Server, text: str) -> Generation:
        """Return the answer of one server. Raises `_GoneError` where it is down, `EngineError` where it refuses everything."""
        import openai

        try:
            choices = await self._ask(client, server, text, temperature=0)
            if not choices:
                return self._fail("the reply has no choices")
            answer = _read(choices[0])
            if self._alternatives.way == "none":
                return answer
            return answer._replace(samples=await self._draw(client, server, text))
        except openai.APITimeoutError:
            if not await self._pool.is_alive(server):
                raise _GoneError(f"no answer within {self._timeout:g} s") from None
            return self._fail(f"no answer within {self._timeout:g} s")
        except openai.APIConnectionError as error:
            raise _GoneError(find_cause(error)) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EngineError(f"{server.url}: {shorten(error.message)}; check {API_KEY_VARIABLE} and the model") from None
        except openai.APIStatusError as error:
            if error.status_code >= 500 and not await self._pool.is_alive(server):
                raise _GoneError(f"HTTP {error.status_code}") from None
            return self._fail(f"HTTP {error.status_code}: {shorten(error.message)}")
        except openai.APIError as error:
            return self._fail(shorten(error.message))

    async def _draw(self, client: AsyncOpenAI, server: Server, text: str) -> tuple[Sample, ...]:
        """Return answers drawn at temperature 1. Raises `EngineError` where the server gives no such number of them."""
        import openai

        _, n, seed = self._alternatives
        # a model's own generation settings must not narrow what is drawn from
        whole = {"top_k": -1, "min_p": 0.0} if server.is_vllm else {}
        refusal = ""
        try:
            choices = await self._ask(client, server, text, whole, temperature=1, top_p=1, n=n, seed=derive_seed(seed, text))
            refusal = "" if len(choices) == n else f"it gave {len(choices)}"
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            refusal = f"HTTP {error.status_code}: {shorten(error.message)}"
        if refusal:
            raise EngineError(
                f"{server.url}: does not give {n} answers to one request ({refusal}); lower n_samples or take ranking: none"
            )
        drawn = map(_read, choices)
        return tuple(Sample(one.text, one.finish_reason, 1 / n, one.code_scores) for one in drawn)

    async def _ask(
        self, client: AsyncOpenAI, server: Server, text: str, extra: dict[str, Any] | None = None, **options: Any
    ) -> list[Any]:
        switch = {"vllm_xargs": {SWITCH: REPEATS if self._constrained else OFF}} if server.is_vllm else {}
        reply = await client.chat.completions.create(
            model=self.model,
            messages=self._build_messages(text),  # type: ignore[arg-type]
            max_tokens=self._max_tokens,
            logprobs=True,
            extra_body={**(extra or {}), **switch},
            **options,
        )
        return list(reply.choices)

    def _build_messages(self, text: str) -> list[Message]:
        prompt = build_prompt(text)
        return [{"role": "system", "content": INSTRUCTION}, *prompt] if self._instruct else prompt

    def _fail(self, reason: str) -> Generation:
        self.n_failed += 1
        return Generation("", "error", None, reason)


class _GoneError(Exception):
    """A server no longer answers."""


def _read(choice: Any) -> Generation:
    """Return the generation that a choice of a reply is."""
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    return end_answer(
        choice.message.content or "",
        stopped=choice.finish_reason != "length",
        tokens=[token.token for token in tokens],
        logprobs=[token.logprob for token in tokens],
    )
