"""ASGI middleware for vLLM: a raw text sent to `/v1/completions` is put into the checkpoint's chat template.

    python -m vllm.entrypoints.openai.api_server --model P --middleware serving.middleware.PromptTemplate

Without it a client of `/v1/completions` would send prompts that the model was never trained on. `serving.serve` starts vLLM
like this and says in the environment which checkpoint it is. A request that brings a prompt of its own has the header
`X-ICDTune-Raw: 1`; token ids and prompts that are in the template already are left alone. What is not understood here goes on
to vLLM, which answers it with its own error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from icd10cm.errors import EngineError
from serving.engines.base import RELEASE_HEADER
from serving.prompting import PromptFrame, load_tokenizer, read_frame

MODEL_VARIABLE, CONTEXT_VARIABLE, ANSWER_VARIABLE = "ICDTUNE_MODEL", "ICDTUNE_CONTEXT", "ICDTUNE_MAX_TOKENS"
RELEASE_VARIABLE = "ICDTUNE_RELEASE"
RAW_HEADER = b"x-icdtune-raw"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_GENERATING = ("/v1/completions", "/v1/chat/completions")
_LONGEST_TOKEN = 64
"""Characters; a text longer than this times the context cannot fit, and is not worth counting."""


class PromptTemplate:
    """Wraps prompts of `/v1/completions`, and gives them room for a whole list of codes where vLLM's default is 16 tokens."""

    def __init__(self, app: App):
        """Read the chat template of the checkpoint that the environment names."""
        folder = os.environ.get(MODEL_VARIABLE)
        if not folder:
            raise EngineError(f"{MODEL_VARIABLE} is not set: start the server with `python -m serving.serve`")
        self._app = app
        self._tokenizer = load_tokenizer(Path(folder))
        self._frame = read_frame(self._tokenizer, Path(folder))
        self._context = int(os.environ.get(CONTEXT_VARIABLE, "2048"))
        self._max_tokens = int(os.environ.get(ANSWER_VARIABLE, "512"))
        self._release = os.environ.get(RELEASE_VARIABLE, "")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection: rewrite what is sent to generate, pass everything else on, name the release in the reply."""
        if scope["type"] == "http" and self._release:
            send = _name_release(send, self._release)
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(_GENERATING):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        body = await _read_body(receive)
        request = _read_object(body)
        if request is not None and request.get("use_beam_search") and _is_constrained(request):
            await _refuse(send, "beam search cannot be limited to existing codes; use n, or switch the limit off with "
                                '"vllm_xargs": {"constrain": "off"}')  # fmt: skip
            return
        is_raw = headers.get(RAW_HEADER, b"0").strip() not in (b"", b"0")
        if request is not None and scope["path"].endswith("/v1/completions") and not is_raw:
            rewritten = wrap_request(request, self._frame, self._count_room)
            if rewritten is not None:
                body = json.dumps(rewritten).encode()
        length = (b"content-length", str(len(body)).encode())
        kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
        await self._app({**scope, "headers": [*kept, length]}, _replay(body, receive), send)

    def _count_room(self, prompts: list[str]) -> int | None:
        """Return the tokens that an answer to the longest of `prompts` may have; None when there is no room."""
        if max(map(len, prompts)) > _LONGEST_TOKEN * self._context:
            return None
        try:
            encoded = self._tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"]
        except (TypeError, ValueError):  # half a surrogate pair is no text
            return None
        room = self._context - max(map(len, encoded))
        return min(self._max_tokens, room) if room > 0 else None


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


def _is_constrained(request: dict[str, Any]) -> bool:
    arguments = request.get("vllm_xargs")
    return not (isinstance(arguments, dict) and arguments.get("constrain") == "off")


async def _read_body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(chunks)


def _read_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


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


async def _refuse(send: Send, message: str) -> None:
    body = json.dumps({"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
