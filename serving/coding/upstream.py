"""The model server behind the coding endpoint: any OpenAI-compatible one, best `serving.serve`.

What it answers is text of patients or made from it, so nothing of it ever stands in an error.
"""

from __future__ import annotations

import contextlib
import math
import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from icd10cm.address import check_address
from icd10cm.errors import ConfigError
from icd10cm.prompts import build_completion, build_prompt
from serving.coding.alternatives import MOST_TOKENS, Token
from serving.coding.backend import Reply
from serving.coding.errors import (
    CodingFailure,
    TextTooLongError,
    UnknownModelError,
    UpstreamBusyError,
    UpstreamDownError,
    UpstreamTimeoutError,
)
from serving.coding.facts import ModelCard, ServerFacts, read_foreign_facts, read_own_facts
from serving.engines.base import OFF, RELEASE_HEADER, REPEATS, SWITCH, end_answer

if TYPE_CHECKING:
    import httpx

_TOO_LONG = re.compile(r"context|too long|too many tokens|longer than|max_model_len|maximum (?:model|input|sequence)", re.I)
_MESSAGE = 300
"""Characters of an error in which its reason is looked for; further on it may quote what was sent."""
_PROBE_SECONDS = 10.0
_IDLE_SECONDS = 3.0
"""A connection that is idle for longer is not used again: uvicorn closes it after 5."""
_MOST_CUTS = 2
_IN_A_POOL = 4


class Upstream:
    """A client of a model server, for one event loop."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        connections: int = 256,
        constrained: bool = True,
    ):
        """Prepare the client; nothing is asked yet.

        Args:
            base_url: such as `http://127.0.0.1:8000/v1`.
            api_key: of the server, where it wants one.
            timeout: seconds for one request.
            connections: most requests under way at a time; others wait.
            constrained: False asks a server of ours to let answers hold anything.

        Raises:
            ConfigError: `base_url` is no address.
        """
        import httpx

        try:
            self.base_url = check_address(base_url)
        except ValueError as error:
            raise ConfigError(f"base_url: {error}") from None
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=_IN_A_POOL, keepalive_expiry=_IDLE_SECONDS)
        # a proxy of the environment must not get the texts of patients
        verify = ssl.create_default_context() if self.base_url.startswith("https:") else False
        self._constrained, self._timeout = constrained, timeout
        # httpx looks through all connections of a pool for every request, so one large pool is slow
        self._pools = [
            httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout, trust_env=False, verify=verify)
            for _ in range(-(-connections // _IN_A_POOL))
        ]
        self._under_way = [0] * len(self._pools)

    async def close(self) -> None:
        """End all connections."""
        for pool in self._pools:
            await pool.aclose()

    async def read_facts(self) -> ServerFacts:
        """Return what the server says of itself. Raises `CodingFailure`."""
        try:
            return read_own_facts(await self._call("GET", f"{self.base_url.removesuffix('/v1')}/icdtune"))
        except (UnknownModelError, _NoJsonError, KeyError, TypeError, AttributeError):
            pass
        try:
            content, release = await self._fetch("GET", f"{self.base_url}/models")
            return read_foreign_facts(content, release)
        except (UnknownModelError, KeyError, TypeError, AttributeError):
            raise CodingFailure(f"{self.base_url}: does not say which models it has") from None

    async def is_alive(self) -> bool:
        """Whether the server answers now."""
        try:
            await self._call("GET", f"{self.base_url}/models", timeout=min(_PROBE_SECONDS, self._timeout))
        except CodingFailure:
            return False
        return True

    async def answer(self, card: ModelCard, text: str, *, max_tokens: int, n_others: int = MOST_TOKENS) -> Reply:
        """Return the model's answer to a text.

        Args:
            card: of the model.
            text: as a user would send it.
            max_tokens: most tokens of the answer.
            n_others: how many of the most probable tokens are told for each place.

        Raises:
            CodingFailure: there is no answer; its class says why.
        """
        body = {"model": card.name, "messages": build_prompt(text), "temperature": 0, "max_tokens": max_tokens}
        body |= {"logprobs": True} | ({"top_logprobs": n_others} if n_others else {})
        if card.constrained:
            body["vllm_xargs"] = {SWITCH: REPEATS if self._constrained else OFF}
        return _read_reply(await self._call("POST", f"{self.base_url}/chat/completions", body))

    async def measure_support(self, card: ModelCard, text: str, code: str) -> float | None:
        """Return the geometric mean probability of the tokens of `code` as the answer to `text`; None where it is not told."""
        body = {
            "model": card.name,
            "messages": [*build_prompt(text), *build_completion([code])],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": 0,
            "max_tokens": 1,
            "temperature": 0,
        }
        try:
            reply = await self._call("POST", f"{self.base_url}/chat/completions", body)
        except (UpstreamDownError, UpstreamBusyError, UpstreamTimeoutError):
            raise
        except CodingFailure:  # a server that cannot score prompts, or a span that is too long for it
            return None
        return _read_support(reply.get("prompt_logprobs"), code)

    async def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return the JSON object that the server answers with. Raises `CodingFailure`."""
        content, _ = await self._fetch(method, url, body, timeout)
        return content

    async def _fetch(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> tuple[dict[str, Any], str | None]:
        """Return the JSON object that the server answers with, and the release that its header names, where it does."""
        import httpx

        options: dict[str, Any] = {"timeout": timeout} if timeout else {}
        try:
            response = await self._send(method, url, json=body, **options)
        except httpx.PoolTimeout:
            raise UpstreamBusyError("the model server has no connection free; try again") from None
        except httpx.ConnectTimeout:
            raise UpstreamDownError("the model server cannot be reached") from None
        except httpx.TimeoutException:
            raise UpstreamTimeoutError("the model server took too long") from None
        except httpx.HTTPError:
            raise UpstreamDownError("the model server does not answer") from None
        if response.status_code != httpx.codes.OK:
            raise _name_failure(response.status_code, response.text)
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise _NoJsonError("the model server answered with something else than JSON")
        return content, response.headers.get(RELEASE_HEADER) or None

    async def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Return the response; a request that a connection was cut under is sent again, since it changes nothing there."""
        import httpx

        number = self._under_way.index(min(self._under_way))
        self._under_way[number] += 1
        try:
            for _ in range(_MOST_CUTS):
                with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    return await self._pools[number].request(method, url, **options)
            return await self._pools[number].request(method, url, **options)
        finally:
            self._under_way[number] -= 1


class _NoJsonError(CodingFailure):
    """What the server sent is no JSON object."""


def _name_failure(status: int, body: str) -> CodingFailure:
    """Return the error that a status stands for; what the server says may hold the text, so it is read but not repeated."""
    if status == 429:
        return UpstreamBusyError("the model server is busy; try again")
    if status >= 500:
        return UpstreamDownError(f"the model server cannot answer now (HTTP {status})")
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(body[:_MESSAGE])):
        return TextTooLongError("the text is longer than the model reads")
    if status in (401, 403):
        return CodingFailure(f"the model server refuses the key it was given (HTTP {status})")
    if status == 404:
        return UnknownModelError("the model server has no such model")
    return CodingFailure(f"the model server refused the request (HTTP {status})")


def _read_reply(content: Mapping[str, Any]) -> Reply:
    try:
        choice = content["choices"][0]
        told = (choice.get("logprobs") or {}).get("content") or ()
        tokens = tuple(
            Token(one["token"], one["logprob"], tuple((top["token"], top["logprob"]) for top in one.get("top_logprobs") or ()))
            for one in told
        )
        generation = end_answer(
            choice["message"].get("content") or "",
            stopped=choice.get("finish_reason") != "length",
            tokens=[token.text for token in tokens],
            logprobs=[token.logprob for token in tokens],
        )
        return Reply(generation, tokens, (content.get("usage") or {}).get("prompt_tokens"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CodingFailure("the model server answered with something else than a chat completion") from None


def _read_support(told: Any, code: str) -> float | None:
    """Return the mean probability of the last tokens of a prompt, which spell `code`, from vLLM's `prompt_logprobs`."""
    if not isinstance(told, list):
        return None
    spelled, logprobs = "", []
    try:
        for place in reversed(told):
            # the token of the prompt stands first; others only where they were asked for
            token = next(iter(place.values()))
            spelled = token["decoded_token"] + spelled
            logprobs.append(float(token["logprob"]))
            if len(spelled.strip()) >= len(code):
                break
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        return None
    if not spelled.strip().endswith(code):
        return None
    return round(min(1.0, math.exp(sum(logprobs) / len(logprobs))), 4)
