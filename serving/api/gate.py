"""The first and last thing that happens to a request: an id, the checks that need no body, the body's size, time, headers.

A plain ASGI class and not a middleware of Starlette: those read streams to their end, and know nothing of a client that left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.api.errors import ApiError, build_error, log_bug
from serving.api.limiting import InFlight, RateLimit
from serving.api.logs import log_access
from serving.api.metrics import Metrics
from serving.api.security import LOCAL, HostGuard, KeyRing
from serving.api.settings import ApiSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/v1/about",)
"""Below /v1, but for everyone: the page asks whether a key is wanted."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_PRIVATE = (b"cache-control", b"no-store")


class Gate:
    """Wraps the app."""

    def __init__(self, app: App, settings: ApiSettings, keys: KeyRing, metrics: Metrics, rate: RateLimit):
        self._app, self._settings, self._keys, self._metrics, self.rate = app, settings, keys, metrics, rate
        self._hosts = HostGuard(settings, keys)
        self._in_flight = InFlight(settings.max_in_flight)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        self._metrics.in_flight.inc()
        try:
            await self._handle(scope, receive, exchange)
        except ApiError as error:
            await exchange.answer(error.status_code, str(error.detail), dict(error.headers or {}))
        except _GoneError:
            exchange.status = 499
        except Exception as error:
            log_bug(error)
            await exchange.answer(500, "internal error")
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, exchange)

    def _count(self, scope: Message, exchange: _Exchange) -> None:
        route = getattr(scope.get("route"), "path", None) or "none"
        seconds = time.perf_counter() - exchange.started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(exchange.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        log_access(method, route, exchange.status, seconds, scope["state"].get("key_name", "-"), exchange.request_id)

    async def _handle(self, scope: Message, receive: Receive, exchange: _Exchange) -> None:
        headers = dict(scope["headers"])
        if not self._hosts.allows(headers.get(b"host", b"").decode("latin-1")):
            raise ApiError(403, "this server is not known by that name; ask it as localhost, or name it in allowed_hosts")
        path: str = scope["path"]
        if not path.startswith("/v1/") and path != "/metrics":
            await self._run(scope, receive, exchange)
            return
        if path not in OPEN_PATHS:
            scope["state"]["key_name"] = name = self._identify(scope, headers)
            self.rate.take(name)
        with self._in_flight.enter():
            body = await self._read_body(headers, receive)
            await self._run(scope, receive, exchange, body)

    def _identify(self, scope: Message, headers: dict[bytes, bytes]) -> str:
        """Return the name of the key. Raises `ApiError` 401, and 429 where keys are being guessed."""
        if not self._keys:
            return LOCAL
        name = self._keys.find_name(headers.get(b"authorization", b"").decode("latin-1"))
        if name is None:
            # what holds no name of a key may count guesses
            self.rate.take(f"?{(scope.get('client') or ('',))[0]}")
            raise ApiError(401, "send an API key: Authorization: Bearer KEY", headers={"WWW-Authenticate": "Bearer"})
        return name

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body. Raises `ApiError` 413 as soon as it is too large, 408 where it does not come."""
        most = self._settings.max_body_bytes
        too_large = ApiError(413, f"the body is larger than {most} bytes", headers={"Connection": "close"})
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise ApiError(408, "the body did not come in time", headers={"Connection": "close"}) from None

    async def _run(self, scope: Message, receive: Receive, exchange: _Exchange, body: bytes | None = None) -> None:
        """Call the app, no longer than a request may take, and not beyond the moment when its client leaves."""
        gone = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        given = body is None

        async def receive_again() -> Message:
            nonlocal given
            if given:
                await gone.wait()
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            if not exchange.is_finished:
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await self._app(scope, receive_again, exchange.send)
        except TimeoutError:
            seconds = self._settings.request_timeout
            await exchange.answer(504, f"the request took longer than {seconds:g} s", {"Retry-After": "10"})
        except asyncio.CancelledError:
            if not gone.is_set():
                raise
            task.uncancel()
            raise _GoneError from None
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _GoneError(Exception):
    """The client left."""


class _Exchange:
    """One request and what has been answered to it so far."""

    def __init__(self, scope: Message, send: Send):
        self.request_id = uuid.uuid4().hex
        self.started = time.perf_counter()
        self.status = 0
        self.is_finished = False
        self._send = send
        self._is_private = scope["path"].startswith("/v1/")
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send on, with the headers that every response has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = [(name.lower(), value) for name, value in message.get("headers", ())]
            names = {name for name, _ in given}
            ours = [*_HEADERS, (b"x-request-id", self.request_id.encode()), *([_PRIVATE] if self._is_private else [])]
            message = {**message, "headers": [*given, *(pair for pair in ours if pair[0] not in names)]}
        elif not message.get("more_body"):
            self.is_finished = True
        await self._send(message)

    async def answer(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        """Answer with an error; where an answer has begun, it stays unfinished, which a client can see."""
        if self.status:
            self.status = status
            return
        response = build_error(self.request_id, status, message, headers)
        await self.send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": response.body})
