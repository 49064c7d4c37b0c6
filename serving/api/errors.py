"""One shape for every error, `{"error": {"message", "type", "code", "request_id"}}`, which never holds what was sent."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from icd10cm.errors import ConfigError
from serving.audit.log import AuditError
from serving.coding.errors import CodingFailure, UnknownModelError

LOGGER = logging.getLogger("icdtune.api")

TYPES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    408: "request_timeout", 413: "too_large", 415: "unsupported_media_type", 422: "invalid_request",
    429: "rate_limited", 500: "internal_error", 502: "upstream_error", 503: "unavailable", 504: "timeout",
}  # fmt: skip
"""HTTP status to `type`."""

_SHOWN = 8
"""Problems of one request that are named."""


class Problem(BaseModel):
    """What went wrong."""

    message: str = Field(description="one line for a person; never holds the text that was sent")
    type: str = Field(description="the same for the same kind of problem", examples=["invalid_request"])
    code: int = Field(description="the HTTP status", examples=[422])
    request_id: str = Field(description="as in the header X-Request-ID, for whoever looks into the log")


class ErrorReply(BaseModel):
    """An answer that is an error."""

    error: Problem


class ApiError(HTTPException):
    """A request is refused or cannot be answered."""

    def __init__(self, status: int, message: str, retry_after: int | None = None, headers: dict[str, str] | None = None):
        told = dict(headers or {}) | ({"Retry-After": str(retry_after)} if retry_after is not None else {})
        super().__init__(status, message, told)


def document_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of these statuses."""
    return {status: _document_error(status) for status in sorted({*statuses, 400, 401, 403, 408, 413, 429, 500, 503, 504})}


def _document_error(status: int) -> dict[str, Any]:
    said = {"model": ErrorReply, "description": TYPES[status].replace("_", " ").capitalize()}
    if status in (429, 503):
        waiting = {"Retry-After": {"description": "seconds after which to try again", "schema": {"type": "integer"}}}
        return {**said, "headers": waiting}
    return said


def document_answer(description: str, **schemas: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of a 200 with other media types than JSON: `text_csv={"type": "string"}`."""
    return {200: {"description": description, "content": {kind: {"schema": schema} for kind, schema in schemas.items()}}}


def build_error(request_id: str, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return the response that says what went wrong."""
    problem = {"message": message, "type": TYPES.get(status, "error"), "code": status, "request_id": request_id}
    return JSONResponse({"error": problem}, status, headers)


def describe_failure(error: Exception) -> tuple[int, str, int | None]:
    """Return HTTP status, message and the seconds to wait, for what may go wrong while a text is coded."""
    match error:
        case UnknownModelError():
            return error.status, "the model server has no such model; GET /v1/about lists those it has", None
        case CodingFailure():
            return error.status, str(error), error.retry_after
        case ConfigError():
            return 422, "age, sex, encounter or service date is not one of ICD-10-CM, which is in use since 2015-10-01", None
        case AuditError():
            LOGGER.error("%s", error)
            return 503, "the audit log cannot be written, and without it nothing is answered", 30
        case HTTPException():
            return error.status_code, str(error.detail), None
        case TimeoutError():
            return 504, "the request took too long", None
        case _:
            log_bug(error)
            return 500, "internal error", None


def log_bug(error: BaseException) -> None:
    """Log where an error happened; not its message, which may quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames[-6:]))
    LOGGER.error("%s at %s", type(error).__name__, places)


def add_handlers(app: FastAPI) -> None:
    """Make every exception an answer of the one shape."""
    app.add_exception_handler(StarletteHTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    for failure in (CodingFailure, ConfigError, AuditError, TimeoutError):
        app.add_exception_handler(failure, _answer_failure)


def explain_problems(problems: Sequence[Any]) -> str:
    """Return what pydantic says is wrong, without the values that are."""
    texts = [_explain(problem) for problem in problems[:_SHOWN]]
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(texts) + more


def _explain(problem: Any) -> str:
    place = list(problem["loc"])
    if problem["type"] == "extra_forbidden":
        # whoever sends a note in place of a name shall not find it in a log of errors
        return f"{'.'.join(map(str, place[:-1])) or 'body'}: unknown key; known are those of /openapi.json"
    return f"{'.'.join(map(str, place)) or 'body'}: {problem['msg']}"


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    messages = {404: "no such path; GET /openapi.json lists them", 405: "this path has no such method"}
    message = str(error.detail) if isinstance(error, ApiError) else messages.get(error.status_code, str(error.detail))
    return build_error(request.state.request_id, error.status_code, message, dict(error.headers or {}))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return build_error(request.state.request_id, 422, explain_problems(error.errors()))


async def _answer_failure(request: Request, error: Exception) -> Response:
    status, message, retry_after = describe_failure(error)
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return build_error(request.state.request_id, status, message, headers)
