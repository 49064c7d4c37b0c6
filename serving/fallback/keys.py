"""The key that vLLM would ask for: a server must not lose it by falling back."""

from __future__ import annotations

import hmac
import os
from typing import Any

from serving.guard import Refusal, describe_refusal
from serving.hardware import KEY_VARIABLE
from serving.middleware import App, Message, Receive, Send, send_json


class RequireKey:
    """ASGI middleware: what is under `/v1` needs `Authorization: Bearer KEY` where the environment holds a key."""

    def __init__(self, app: App):
        self._app = app
        self._expected = f"Bearer {os.environ.get(KEY_VARIABLE, '')}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        given: Any = dict(scope.get("headers", ())).get(b"authorization", b"")
        is_open = scope["type"] != "http" or not scope["path"].startswith("/v1") or self._expected == b"Bearer "
        if is_open or hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            await send_json(send, 401, describe_refusal(Refusal("the API key is missing or wrong", 401)))
