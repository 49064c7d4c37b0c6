"""What this server is, whether it and the model server answer, and what Prometheus counts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.responses import Response

from serving.api.errors import ApiError, ErrorReply, document_errors
from serving.api.metrics import CONTENT_TYPE
from serving.api.routes import build_router
from serving.api.schemas import About, Health, Limits
from serving.api.service import Service, get_service
from serving.coding.models import LONGEST_TEXT
from serving.model_facts import find_version

router = build_router("status")


@router.get("/v1/about", summary="What answers here", responses=document_errors())
async def show_about(service: Annotated[Service, Depends(get_service)]) -> About:
    """Return release, models, threshold and limits. Needs no key."""
    settings = service.settings
    models, threshold, calibrated = await service.describe_models()
    first = service.coder.facts.models[models[0]] if models else None
    return About(
        version=find_version("icdtune") or "",
        release=service.codes.release,
        models=models,
        threshold=threshold,
        calibrated=calibrated,
        long_text=service.coder.choose_way(first),
        key_required=bool(service.keys),
        limits=Limits(
            max_text_characters=LONGEST_TEXT,
            max_body_bytes=settings.max_body_bytes,
            batch_items=settings.max_batch,
            requests_per_minute=settings.requests_per_minute,
            request_seconds=settings.request_timeout,
        ),
        openai_routes=settings.openai_routes,
    )


@router.get("/healthz", summary="Is the API alive?", responses={403: {"model": ErrorReply}})
async def show_health() -> Health:
    """Answer as long as this process does."""
    return Health(status="ok")


@router.get(
    "/readyz", summary="Does the model server answer?", responses={403: {"model": ErrorReply}, 503: {"model": ErrorReply}}
)
async def show_readiness(service: Annotated[Service, Depends(get_service)]) -> Health:
    """Answer 200 when texts can be coded, otherwise 503 with Retry-After."""
    if not await service.model_server.is_up():
        raise ApiError(503, "the model server does not answer", retry_after=5)
    return Health(status="ok")


@router.get(
    "/metrics",
    summary="Counts and times for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **document_errors()},
)
async def show_metrics(service: Annotated[Service, Depends(get_service)]) -> Response:
    """Return the metrics. Needs a key where others do."""
    service.metrics.upstream_up.set(await service.model_server.is_up())
    return Response(service.metrics.write(), media_type=CONTENT_TYPE)
