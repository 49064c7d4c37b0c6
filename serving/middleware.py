"""ASGI middleware of our servers: what a request goes through before vLLM, or the fallback, sees it.

    python -m vllm.entrypoints.openai.api_server --model P --middleware serving.middleware.Gate

- A raw text sent to `/v1/completions` is put into the checkpoint's chat template, or a client would send prompts that the model
  was never trained on. A request that brings a prompt of its own has the header `X-ICDTune-Raw: 1`; token ids and prompts that
  are in the template already are left alone.
- Hostile bodies are refused (`serving.guard`), the rest goes on to the engine, which answers it with its own error.
- `GET /icdtune` says what is served (`serving.model_facts`), and every response names the release of its codes.
- Told to stop, the server finishes what it has begun (`serving.drain`).

`serving.serve` starts vLLM like this and says in the environment what is served.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from serving.drain import Drain
from serving.engines.base import RELEASE_HEADER
from serving.guard import Refusal, brings_own_way, check_request, describe_refusal, parse_body
from serving.model_facts import FACTS_PATH, gather_facts, read_served
from serving.prompting import PromptFrame, load_tokenizer, read_frame

RAW_HEADER = b"x-icdtune-raw"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_COMPLETIONS, _CHAT = "/v1/completions", "/v1/chat/completions"
_OPEN = (_COMPLETIONS, _CHAT, "/tokenize", "/detokenize")
_READ_TO_REFUSE = 8
"""How many times what is allowed is read of a body, and dropped, so that its sender gets to see why it is refused."""
LONGEST_TOKEN = 64
"""Characters; a text longer than this times the context cannot fit, and is not worth counting."""


class Gate:
    """Wraps an OpenAI-compatible application."""

    def __init__(self, app: App):
        """Read the chat template of the checkpoint that the environment names."""
        self._app = app
        self._served = read_served()
        self._drain = Drain(self._served.shutdown_timeout)
        folder = next(iter(self._served.models.values()))
        self._tokenizer = load_tokenizer(folder)
        self._frame = read_frame(self._tokenizer, folder)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" and "app" in scope:
            server = getattr(scope["app"].state, "server", None)
            if server is not None:
                self._drain.listen(server)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._served.release:
            send = _name_release(send, self._served.release)
        if scope["method"] == "GET" and scope["path"] == FACTS_PATH:
            await send_json(send, 200, await gather_facts(self._served))
        elif scope["method"] == "POST":
            with self._drain.track():
                try:
                    await self._pass_on(scope, receive, send)
                except Refusal as refusal:
                    await _refuse(send, refusal)
        else:
            await self._app(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hand a request that may hold a body to the application. Raises `Refusal`."""
        if not self._served.allow_unconstrained and not scope["path"].endswith(_OPEN):
            raise Refusal("not served here: it could generate without the limit to codes (allow_unconstrained is false)", 404)
        headers = dict(scope["headers"])
        body = await _read_body(receive, headers, self._served.max_body_bytes)
        generates, is_own_way = scope["path"].endswith((_COMPLETIONS, _CHAT)), False
        if body and (generates or b"json" in headers.get(b"content-type", b"")):
            request = parse_body(body)
            if generates:
                limits = self._served
                check_request(request, constrained=limits.constrained, allow_unconstrained=limits.allow_unconstrained)
                is_raw = headers.get(RAW_HEADER, b"0").strip() not in (b"", b"0")
                if scope["path"].endswith(_COMPLETIONS) and self._served.prompt_template and not is_raw:
                    rewritten = wrap_request(request, self._frame, self._count_room)
                    body = body if rewritten is None else json.dumps(rewritten).encode()
                is_own_way = brings_own_way(request)
        length = (b"content-length", str(len(body)).encode())
        kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
        app = _blame_request(self._app) if is_own_way else self._app
        await app({**scope, "headers": [*kept, length]}, _replay(body, receive), send)

    def _count_room(self, prompts: list[str]) -> int | None:
        """Return the tokens that an answer to the longest of `prompts` may have; None when there is no room."""
        if max(map(len, prompts)) > LONGEST_TOKEN * self._served.context:
            return None
        encoded = self._tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"]
        room = self._served.context - max(map(len, encoded))
        return min(self._served.max_tokens, room) if room > 0 else None


def wrap_request(
    request: dict[str, Any], frame: PromptFrame, count_room: Callable[[list[str]], int | None]
) -> dict[str, Any] | None:
    """Return the request with its texts in the chat template, None when its prompt is not a text or a list of texts."""
    prompt = request.get("prompt")
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        return None
    wrapped = [text if frame.holds(text) else frame.wrap(text) for text in texts]
    changed = {**request, "prompt": wrapped[0] if isinstance(prompt, str) else wrapped, "add_special_tokens": False}
    if changed.get("max_tokens") is None:
        changed.pop("max_tokens", None)
        room = count_room(wrapped)
        if room is not None:
            changed["max_tokens"] = room
    return changed


async def _read_body(receive: Receive, headers: dict[bytes, bytes], most: int) -> bytes:
    """Return the body of a request. Raises `Refusal` where it has more than `most` bytes, of which no more are kept."""
    refusal = Refusal(f"the body has more than {most:,} bytes (max_body_bytes); send less at a time", 413)
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > most * _READ_TO_REFUSE:
        raise refusal
    body, n_read = bytearray(), 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        n_read += len(part)
        if n_read <= most:
            body += part
        if n_read > most * _READ_TO_REFUSE:
            raise refusal
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    if n_read > most:
        raise refusal
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body` first and then what the connection brings, such as its end."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _name_release(send: Send, release: str) -> Send:
    """Return a `send` that adds the release to the headers of a response."""

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            named = (RELEASE_HEADER.lower().encode(), release.encode())
            message = {**message, "headers": [*message.get("headers", ()), named]}
        await send(message)

    return send_named


def _blame_request(app: App) -> App:
    """Return `app` with its internal errors called what they are where a request brings its own output format or search."""

    async def call(scope: Message, receive: Receive, send: Send) -> None:
        begun = failed = False

        async def send_on(message: Message) -> None:
            nonlocal begun, failed
            failed = failed or (message["type"] == "http.response.start" and message["status"] >= 500)
            if not failed:
                begun = True
                await send(message)

        try:
            await app(scope, receive, send_on)
        except Exception:
            if begun:
                raise
            failed = True
        if failed:
            raise Refusal("the output format or the search that this request brings cannot be computed")

    return call


async def _refuse(send: Send, refusal: Refusal) -> None:
    # what is left of a body too large is not read, so the connection cannot go on
    closing = [(b"connection", b"close")] if refusal.status == 413 else []
    await send_json(send, refusal.status, describe_refusal(refusal), closing)


async def send_json(send: Send, status: int, content: Any, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send a whole response; `more` are headers besides those that JSON has."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
