"""The model server as a whole: does it answer, and what an OpenAI client asks it, passed on."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping

import httpx

from serving.api.bodies import iterate_texts
from serving.api.errors import ApiError
from serving.coding.errors import CodingFailure, UpstreamBusyError, UpstreamDownError, UpstreamTimeoutError
from serving.engines.base import RELEASE_HEADER
from serving.engines.server_pool import API_KEY_VARIABLE

RAW_HEADER = "X-ICDTune-Raw"

_KNOWN_FOR = 1.0
_PROBE_SECONDS = 3.0
_WINDOW = 12
_LONGEST_MESSAGE = 300
_LONGEST_COMPARED, _SHORTEST_TEXT = 100_000, 3


class ModelServer:
    """A client for what is passed on as it is."""

    def __init__(self, base_url: str, timeout: float):
        key = os.environ.get(API_KEY_VARIABLE)
        self._base_url = base_url
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0),
            trust_env=False,  # a proxy of the environment must not get the texts of patients
        )
        self._answered, self._asked_at = False, -_KNOWN_FOR
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def is_up(self) -> bool:
        """Whether it answers, as of a second ago at most."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _KNOWN_FOR:
                try:
                    reply = await self._client.get(f"{self._base_url}/models", timeout=_PROBE_SECONDS)
                    self._answered = reply.status_code == 200
                except httpx.HTTPError:
                    self._answered = False
                self._asked_at = time.monotonic()
        return self._answered

    async def forward(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
        """Send a request on and return status, headers and the body as it comes.

        Raises:
            CodingFailure: no answer.
            ApiError: the server refuses the request; what it says is passed on unless it quotes what was sent.
        """
        kept = {name: value for name in ("Accept", "Content-Type", RAW_HEADER) if (value := headers.get(name.lower()))}
        request = self._client.build_request(method, f"{self._base_url}{path}", content=body, headers=kept)
        try:
            try:
                reply = await self._client.send(request, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):  # it had just closed an idle connection
                reply = await self._client.send(request, stream=True)
        except httpx.TimeoutException as error:
            raise _name_timeout(error) from None
        except httpx.HTTPError:
            raise UpstreamDownError("the model server does not answer") from None
        if reply.status_code >= 400:
            try:
                said = await reply.aread()
            except httpx.HTTPError:
                said = b""
            finally:
                await reply.aclose()
            raise _name_refusal(reply.status_code, said, body or b"")
        told = {name: value for name in ("Content-Type", RELEASE_HEADER) if (value := reply.headers.get(name))}
        return reply.status_code, told, _iterate(reply)


async def _iterate(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.aiter_bytes():
            yield chunk
    finally:
        await reply.aclose()


def _name_timeout(error: httpx.TimeoutException) -> CodingFailure:
    if isinstance(error, httpx.ConnectTimeout):
        return UpstreamDownError("the model server cannot be reached")
    return UpstreamTimeoutError("the model server took too long")


def _name_refusal(status: int, said: bytes, body: bytes) -> Exception:
    """Return the error for a status of 400 or more."""
    if status == 429:
        return UpstreamBusyError("the model server is busy; try again")
    if status >= 500:
        return UpstreamDownError(f"the model server cannot answer now (HTTP {status})")
    if status in (401, 403):
        return CodingFailure(f"the model server refuses the key it was given (HTTP {status})")
    return ApiError(status if status in (400, 404, 413, 415, 422) else 400, read_message(said, body))


def read_message(said: bytes, body: bytes) -> str:
    """Return what a server says is wrong with a request, or a general word where that may quote the request."""
    general = "the model server refuses the request"
    try:
        content = json.loads(said)
        message = content["error"]["message"] if isinstance(content.get("error"), dict) else content["message"]
        asked = json.loads(body) if body else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return general
    message = " ".join(str(message).split())[:_LONGEST_MESSAGE]
    if not message or len(body) > _LONGEST_COMPARED:
        return general
    values = {**asked, "model": None} if isinstance(asked, dict) else asked
    texts = [" ".join(text.split()) for text in iterate_texts(values, names=False)]
    pieces = [message[start : start + _WINDOW] for start in range(max(1, len(message) - _WINDOW + 1))]
    quoted = any(piece in text for text in texts for piece in pieces)
    return general if quoted or any(text in message for text in texts if len(text) >= _SHORTEST_TEXT) else message
