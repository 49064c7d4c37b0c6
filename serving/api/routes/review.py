"""`/v1/decisions` and `/v1/export`: what a reviewer decided, recorded and taken away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from serving.api.errors import ApiError, document_errors
from serving.api.exporting import CSV, FHIR, write_file
from serving.api.routes import build_router
from serving.api.schemas import DecisionRequest, DecisionResponse, ExportRequest
from serving.api.service import Service, get_service
from serving.api.written import check_codes, read_reviewed

router = build_router("review")


@router.post("/v1/decisions", summary="Record a review", responses=document_errors(413, 415, 422))
async def record_decisions(
    asked: DecisionRequest, request: Request, service: Annotated[Service, Depends(get_service)]
) -> DecisionResponse:
    """Write a reviewer's decisions into the audit log, and return where they stand there."""
    check_codes(asked.final_codes, service.codes)
    _check_decisions(asked)
    decisions: list[dict[str, Any]] = [decision.model_dump(exclude_none=True) for decision in asked.decisions]
    written = await service.record(
        "decision",
        {
            "request_id": asked.request_id,
            "key": request.state.key_name,
            "reviewer": asked.reviewer,
            "release": service.codes.release,
            "decisions": decisions,
            "final_codes": list(asked.final_codes),
        },
    )
    for decision in asked.decisions:
        service.metrics.decisions.labels(decision.decision).inc()
    return DecisionResponse(sequence=written.sequence, hash=written.hash)


def _check_decisions(asked: DecisionRequest) -> None:
    """Raise `ApiError` 422 where the final list is not what the decisions lead to."""
    kept = set()
    for place, decision in enumerate(asked.decisions, 1):
        if (decision.decision == "replaced") != (decision.replacement is not None):
            raise ApiError(422, f"decision {place}: `replaced` and a replacement go together")
        if decision.decision != "rejected":
            kept.add(decision.replacement or decision.code)
    if kept != set(asked.final_codes):
        raise ApiError(422, "final_codes are not the codes that were accepted, added or put in another's place")


@router.post(
    "/v1/export",
    summary="Export reviewed lists",
    response_class=Response,
    responses={
        200: {"description": "a file", "content": {FHIR: {"schema": {"type": "object"}}, CSV: {"schema": {"type": "string"}}}},
        **document_errors(413, 415, 422),
    },
)
async def export_lists(
    asked: ExportRequest,
    service: Annotated[Service, Depends(get_service)],
    format: Annotated[Literal["fhir", "csv"], Query(description="of the file")] = "fhir",
) -> Response:
    """Return lists as a FHIR R4 Bundle of Conditions or as CSV."""
    return await write_file(service, format, [read_reviewed(listed, service.codes) for listed in asked.items])
