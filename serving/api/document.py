"""The OpenAPI document: what FastAPI writes, with the security scheme and without its own form of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api.gate import OPEN_PATHS
from serving.coding.models import NOTICE
from serving.model_facts import find_version

_DESCRIPTION = f"""Texts in, ICD-10-CM codes out, each with a confidence, the words it comes from, alternatives, and what the
rules of the code set say. {NOTICE}

Every error has one shape: `error.message`, `error.type`, `error.code` (the status) and `error.request_id`, which is also the
header `X-Request-ID` of every response. Nothing that was sent is repeated in an error."""


def add_document(app: FastAPI, with_keys: bool) -> None:
    """Make `GET /openapi.json` give the whole document."""
    known: dict[str, Any] = {}

    def build() -> dict[str, Any]:
        if not known:
            version = find_version("icdtune") or "0"
            known.update(get_openapi(title=app.title, version=version, description=_DESCRIPTION, routes=app.routes))
            _complete(known, with_keys)
        return known

    app.openapi = build  # type: ignore[method-assign]


def _complete(document: dict[str, Any], with_keys: bool) -> None:
    parts = document["components"]
    if with_keys:
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key of this server"}}
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if with_keys and (path.startswith("/v1/") or path == "/metrics") and path not in OPEN_PATHS:
                operation["security"] = [{"key": []}]
            for response in operation["responses"].values():
                response.setdefault("headers", {})["X-Request-ID"] = {
                    "schema": {"type": "string"},
                    "description": "of this request",
                }
