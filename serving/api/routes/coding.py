"""`POST /v1/coding` and `/v1/coding/batch`: texts in, codes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from serving.api.errors import ApiError, describe_failure, document_answer, document_errors
from serving.api.exporting import CSV, FHIR, Format, write_file
from serving.api.fhir_bundle import Subject
from serving.api.routes import build_router
from serving.api.schemas import BatchRequest, BatchResponse
from serving.api.service import Service, get_service
from serving.api.written import read_response
from serving.coding.models import CodingError, CodingRequest, CodingResponse

router = build_router("coding")

NDJSON = "application/x-ndjson"
_RESULT = "`CodingResponse` or `CodingError`, with its `index` in the request, one JSON object per line as they are finished"


@router.post(
    "/v1/coding",
    response_model=CodingResponse,
    summary="Code a text",
    responses=document_answer("the codes, as JSON, a FHIR Bundle or CSV", **{FHIR: {"type": "object"}, CSV: {"type": "string"}})
    | document_errors(404, 413, 415, 422, 502),
)
async def code_text(
    asked: CodingRequest,
    request: Request,
    service: Annotated[Service, Depends(get_service)],
    format: Annotated[Format, Query(description="of the answer")] = "json",
    include_text: Annotated[bool, Query(description="whether a FHIR Bundle quotes the spans of the text as notes")] = False,
) -> Any:
    """Return the codes of a text, each with confidence, evidence and alternatives, once they are in the audit log."""
    request_id: str = request.state.request_id
    response = await service.code(asked, request_id, request.state.key_name)
    if format == "json":
        return JSONResponse(response.model_dump(mode="json"))
    written = read_response(response, Subject(), include_text)
    return await write_file(service, format, [written])


@router.post(
    "/v1/coding/batch",
    response_model=BatchResponse,
    summary="Code several texts",
    responses=document_answer("what became of each text", **{NDJSON: {"type": "string", "description": _RESULT}})
    | document_errors(413, 415, 422),
)
async def code_batch(asked: BatchRequest, request: Request, service: Annotated[Service, Depends(get_service)]) -> Any:
    """Return the codes of each text, or why it has none; with `Accept: application/x-ndjson` as lines, each when ready."""
    n, most = len(asked.items), service.settings.max_batch
    if n > most:
        raise ApiError(413, f"{n} texts are more than the {most} of one batch")
    service.rate.take(request.state.key_name, n - 1)
    if NDJSON in request.headers.get("accept", ""):
        return StreamingResponse(_write_lines(asked, request, service), media_type=NDJSON)
    results = [result async for _, result in _code_all(asked, request, service)]
    order = sorted(results, key=lambda result: int(result.request_id.rpartition("-")[2]))
    return JSONResponse({"results": [result.model_dump(mode="json") for result in order]})


async def _code_all(
    asked: BatchRequest, request: Request, service: Service
) -> AsyncIterator[tuple[int, CodingResponse | CodingError]]:
    """Yield each text's place and what became of it, as they are finished; those under way end when nobody waits any more."""
    places = asyncio.Semaphore(service.settings.max_upstream)

    async def code(index: int) -> tuple[int, CodingResponse | CodingError]:
        item, request_id = asked.items[index], f"{request.state.request_id}-{index}"
        try:
            async with places:
                return index, await service.code(item, request_id, request.state.key_name)
        except Exception as error:
            status, message, _ = describe_failure(error)
            return index, CodingError(request_id=request_id, id=item.id, error=message, status=status)

    tasks = [asyncio.create_task(code(index)) for index in range(len(asked.items))]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for task in tasks:
            task.cancel()


async def _write_lines(asked: BatchRequest, request: Request, service: Service) -> AsyncIterator[bytes]:
    async for index, result in _code_all(asked, request, service):
        # as pydantic writes it, with one more key in front
        yield f'{{"index":{index},'.encode() + result.model_dump_json().encode()[1:] + b"\n"
