"""Any OpenAI-compatible server: vLLM started by `serving.serve`, or a hosted model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from icd10cm.config import suggest_name
from icd10cm.errors import EngineError
from icd10cm.prompts import INSTRUCTION, Message, build_prompt
from serving.engines.base import RELEASE_HEADER, Generation, end_answer

if TYPE_CHECKING:
    from openai import AsyncOpenAI

API_KEY_VARIABLE = "OPENAI_API_KEY"


class EndpointEngine:
    """Greedy answers by `/v1/chat/completions`, many requests at a time.

    The official client retries a request that failed in passing (429 and 5xx, waiting as long as `Retry-After` says). One that
    still fails becomes a generation with `finish_reason="error"` and is counted; a server that is gone or refuses the key or
    the model stops the run.

    Attributes:
        model: name of the model on the server.
        release: release of the codes that a server of ours answers with; None where it does not say.
        n_failed: requests that failed for good.
    """

    name = "endpoint"

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        constrained: bool = True,
        instruct: bool = False,
        max_tokens: int = 256,
        concurrency: int = 32,
        timeout: float = 120.0,
        retries: int = 4,
        progress: bool = True,
    ):
        """Ask the server which models it has.

        Args:
            base_url: such as `http://127.0.0.1:8000/v1`; the key comes from the environment variable `OPENAI_API_KEY`.
            model: name of the model on the server; may be left out when it has only one.
            constrained: False asks a vLLM server to drop its constraint; other servers have none.
            instruct: whether to send the instruction as a system message: for models whose chat template lacks it.
            max_tokens: the most tokens an answer may have.
            concurrency: requests under way at a time.
            timeout: seconds to wait for one answer.
            retries: how often a request that failed in passing is sent again.
            progress: whether to show a bar on stderr.

        Raises:
            EngineError: nothing answers at `base_url`, or it has no such model.
        """
        self.base_url = base_url.rstrip("/")
        self.n_failed = 0
        self._instruct, self._max_tokens, self._concurrency, self._progress = instruct, max_tokens, concurrency, progress
        self._client_options: dict[str, Any] = {
            "base_url": self.base_url,
            "api_key": os.environ.get(API_KEY_VARIABLE) or "none",
            "timeout": timeout,
            "max_retries": retries,
        }
        self.release: str | None = None
        self.model, owner = asyncio.run(self._find_model(model))
        self._extra = {"vllm_xargs": {"constrain": "off"}} if owner == "vllm" and not constrained else {}

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per text, in order. Raises `EngineError` when no further request can succeed."""
        return asyncio.run(self._generate_all(texts))

    async def _generate_all(self, texts: Sequence[str]) -> list[Generation]:
        from openai import AsyncOpenAI
        from tqdm import tqdm

        places = asyncio.Semaphore(self._concurrency)
        bar = tqdm(total=len(texts), desc="endpoint", unit="text", leave=False, disable=not self._progress)

        async def answer(text: str) -> Generation:
            async with places:
                generation = await self._generate_one(client, text)
            bar.update()
            return generation

        with bar:
            async with AsyncOpenAI(**self._client_options) as client:
                tasks = [asyncio.create_task(answer(text)) for text in texts]
                try:
                    return await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()

    async def _generate_one(self, client: AsyncOpenAI, text: str) -> Generation:
        import openai

        try:
            reply = await client.chat.completions.create(
                model=self.model,
                messages=self._build_messages(text),  # type: ignore[arg-type]
                temperature=0,
                max_tokens=self._max_tokens,
                logprobs=True,
                extra_body=self._extra,
            )
        except openai.APITimeoutError:
            return self._fail(f"no answer within {self._client_options['timeout']:g} s")
        except openai.APIConnectionError as error:
            raise EngineError(
                f"{self.base_url}: the server stopped answering ({_find_cause(error)}); run the same command again to go on"
            ) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EngineError(f"{self.base_url}: {_shorten(error.message)}; check {API_KEY_VARIABLE} and the model") from None
        except openai.APIStatusError as error:
            return self._fail(f"HTTP {error.status_code}: {_shorten(error.message)}")
        except openai.APIError as error:
            return self._fail(_shorten(error.message))
        if not reply.choices:
            return self._fail("the reply has no choices")
        choice = reply.choices[0]
        tokens = (choice.logprobs.content if choice.logprobs else None) or []
        logprob = sum(token.logprob for token in tokens) if tokens else None
        stopped = choice.finish_reason != "length"
        return end_answer(choice.message.content or "", stopped=stopped, logprob=logprob, n_tokens=len(tokens))

    def _build_messages(self, text: str) -> list[Message]:
        prompt = build_prompt(text)
        return [{"role": "system", "content": INSTRUCTION}, *prompt] if self._instruct else prompt

    def _fail(self, reason: str) -> Generation:
        self.n_failed += 1
        return Generation("", "error", None, reason)

    async def _find_model(self, wanted: str | None) -> tuple[str, str]:
        """Return the name of the model and its owner, which is `vllm` for vLLM."""
        import openai

        try:
            async with openai.AsyncOpenAI(**self._client_options | {"timeout": 20.0, "max_retries": 1}) as client:
                reply = await client.models.with_raw_response.list()
                self.release = reply.headers.get(RELEASE_HEADER)
                owners = {model.id: model.owned_by async for model in reply.parse()}
        except openai.APIConnectionError as error:
            raise EngineError(
                f"{self.base_url}: nothing answers there ({_find_cause(error)}); is the server running?"
            ) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise EngineError(f"{self.base_url}: {_shorten(error.message)}; set {API_KEY_VARIABLE}") from None
        except openai.APIError as error:
            if wanted:
                return wanted, ""
            raise EngineError(f"{self.base_url}: does not list its models ({_shorten(error.message)}); name one") from None
        if wanted is None and len(owners) != 1:
            raise EngineError(f"{self.base_url}: has {len(owners)} models, name one: {', '.join(sorted(owners)[:10])}")
        name = wanted or next(iter(owners))
        if name not in owners:
            raise EngineError(f"{self.base_url}: has no model {name!r}{suggest_name(name, owners)}")
        return name, owners[name] or ""


def _find_cause(error: Exception) -> str:
    return _shorten(str(error.__cause__ or error))


def _shorten(text: str) -> str:
    return " ".join(text.split())[:200]
