"""`/v1/models`, `/v1/completions`, `/v1/chat/completions`: passed on to the model server: one URL for all clients."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response, StreamingResponse

from serving.api.bodies import check_content_type, read_json
from serving.api.errors import document_answer, document_errors
from serving.api.routes import build_router
from serving.api.service import Service, get_service

router = build_router("openai")

_OBJECT = {"application/json": {"type": "object"}}
_ANSWER = document_answer("as the model server answers", **_OBJECT)
_STREAMED = document_answer("as the model server answers", **_OBJECT, **{"text/event-stream": {"type": "string"}})


def _document_body(example: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": list(required),
        "properties": {"model": {"type": "string"}, "stream": {"type": "boolean"}},
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


@router.get(
    "/v1/models",
    summary="Models, as OpenAI's API lists them",
    response_class=Response,
    responses=_ANSWER | document_errors(404, 502),
)
async def list_models(request: Request, service: Annotated[Service, Depends(get_service)]) -> Response:
    """Return what the model server lists."""
    return await _forward("GET", "/models", None, request, service)


@router.post(
    "/v1/completions",
    summary="Completions, as in OpenAI's API",
    response_class=Response,
    responses=_STREAMED | document_errors(404, 413, 415, 422, 502),
    openapi_extra=_document_body({"model": "icdtune", "prompt": "T2DM w/ foot ulcer"}, "prompt"),
)
async def complete(request: Request, service: Annotated[Service, Depends(get_service)]) -> Response:
    """Return what the model server answers; nothing of it is in the audit log."""
    return await _forward("POST", "/completions", await _read_body(request), request, service)


@router.post(
    "/v1/chat/completions",
    summary="Chat completions, as in OpenAI's API",
    response_class=Response,
    responses=_STREAMED | document_errors(404, 413, 415, 422, 502),
    openapi_extra=_document_body(
        {"model": "icdtune", "messages": [{"role": "user", "content": "T2DM w/ foot ulcer"}]}, "messages"
    ),
)
async def complete_chat(request: Request, service: Annotated[Service, Depends(get_service)]) -> Response:
    """Return what the model server answers; nothing of it is in the audit log."""
    return await _forward("POST", "/chat/completions", await _read_body(request), request, service)


async def _read_body(request: Request) -> bytes:
    check_content_type(request)
    body = await request.body()
    read_json(body)
    return body


async def _forward(method: str, path: str, body: bytes | None, request: Request, service: Service) -> Response:
    status, headers, content = await service.model_server.forward(method, path, body, request.headers)
    return StreamingResponse(content, status, headers)
