"""Bodies of requests: JSON read strictly, so that what comes through is text that every later step can write again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from serving.api.errors import ApiError
from serving.guard import Refusal, parse_body


def read_json(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        ApiError: 400 where it holds none in UTF-8, NaN, half a surrogate pair, or is nested too deep; 422 where it holds NUL.
    """
    try:
        content = parse_body(body)
    except Refusal as refusal:
        raise ApiError(refusal.status, refusal.message) from None
    if b"\\u0000" in body and any("\x00" in text for text in iterate_texts(content)):
        raise ApiError(422, "a text holds the character NUL (U+0000)")
    return content


def check_content_type(request: Request) -> None:
    """Raise `ApiError` 415 where a body is not said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send JSON, with the header Content-Type: application/json")


class StrictRoute(APIRoute):
    """A route whose body is read by `read_json`, and checked for its types as JSON has them: "5" is no number."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with the check before it."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        adapter: TypeAdapter[Any] = TypeAdapter(self.body_field.field_info.annotation or dict)

        async def handle_strictly(request: Request) -> Response:
            check_content_type(request)
            body = await request.body()
            read_json(body)
            try:
                adapter.validate_json(body, strict=True)
            except ValidationError as error:
                problems = error.errors(include_url=False, include_context=False, include_input=False)
                raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in problems]) from None
            return await handle(request)

        return handle_strictly


def iterate_texts(content: Any, names: bool = True) -> Iterator[str]:
    """Yield every text in a JSON value, with or without the names of members."""
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*(value if names else ()), *value.values()]
        elif isinstance(value, list):
            left += value
