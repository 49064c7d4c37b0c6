"""What is refused before it reaches an engine: bodies that are no JSON, requests that would cost or break it.

Of 695 hostile requests vLLM 0.32 answered fifteen with 5xx and died of two. Those two had the limit to codes switched off and
a JSON schema that wants a billion items. Internal errors were half surrogate pairs, a `structured_outputs` that is no object,
and, with the limit off, output formats that cannot be compiled and a beam search with an absurd penalty.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

_DEEPEST = 64
_MOST_PROMPTS = 2048
_MOST_ANSWERS = 128
_LONGEST_FORMAT = 20_000
_MOST_REPEATS = 1000
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains", "maxContains")
_FORMATS = ("structured_outputs", "response_format")
_OBJECTS = (*_FORMATS, "vllm_xargs", "stream_options", "logit_bias", "kv_transfer_params")
_WITHOUT_USE = ("kv_transfer_params", "prompt_embeds", "repetition_detection")
_KINDS = {401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError", 413: "RequestTooLargeError"}
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_REPEATED = re.compile(r"\{\s*(\d*)\s*,?\s*(\d*)\s*\}")


class Refusal(Exception):
    """A request that gets an error instead of an answer.

    Attributes:
        status: of the response.
        message: what is wrong with the request; never what it holds.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.message, self.status = message, status


def describe_refusal(refusal: Refusal) -> dict[str, Any]:
    """Return the body of the response that refuses a request, as OpenAI shapes it."""
    kind = _KINDS.get(refusal.status, "BadRequestError")
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": refusal.status}}


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a request holds. Raises `Refusal`."""
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_read_float)
    except UnicodeDecodeError as error:
        raise Refusal(f"the body is not UTF-8: byte {error.start} cannot be read") from None
    except RecursionError:
        raise Refusal(f"the body is nested more than {_DEEPEST} deep") from None
    except ValueError as error:
        where = f" at character {error.pos}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refusal(f"the body is not valid JSON{where}") from None
    if not isinstance(content, dict):
        raise Refusal("the body is valid JSON, but not an object; send {...}")
    has_escapes = b"\\u" in body
    for depth, text in _walk(content):
        if depth > _DEEPEST:
            raise Refusal(f"the body is nested more than {_DEEPEST} deep")
        if has_escapes and text and _HALF_PAIR.search(text):
            raise Refusal("the body holds half a surrogate pair, which is no character")
    return content


def check_request(request: dict[str, Any], *, constrained: bool, allow_unconstrained: bool) -> None:
    """Refuse what no engine should be asked to compute.

    Args:
        request: of `/v1/completions` or `/v1/chat/completions`.
        constrained: whether answers are limited to existing codes unless a request says otherwise.
        allow_unconstrained: whether a request may say otherwise.

    Raises:
        Refusal: says what and why.
    """
    for key in _OBJECTS:
        if not isinstance(request.get(key), dict | None):
            raise Refusal(f"{key!r} should be an object")
    for key in _WITHOUT_USE:
        if request.get(key) is not None:
            raise Refusal(f"{key!r} is not served here")
    prompt, n = request.get("prompt"), request.get("n")
    if isinstance(prompt, list) and len(prompt) > _MOST_PROMPTS and not isinstance(prompt[0], int):
        raise Refusal(f"{len(prompt):,} prompts in one request; send at most {_MOST_PROMPTS:,}")
    if isinstance(n, int) and n > _MOST_ANSWERS:
        raise Refusal(f"'n' should be at most {_MOST_ANSWERS}")
    if isinstance(request.get("seed"), int) and not -(2**63) <= request["seed"] < 2**63:
        raise Refusal("'seed' should be a number of 64 bits")
    if is_limited(request, constrained):
        if request.get("use_beam_search"):
            raise Refusal("beam search cannot be limited to existing codes; use n, or switch the limit off with "
                          '"vllm_xargs": {"constrain": "off"}')  # fmt: skip
    elif constrained and not allow_unconstrained:
        raise Refusal("this server answers with existing codes only (allow_unconstrained is false)", 403)
    else:
        _check_format(request)


def is_limited(request: dict[str, Any], constrained: bool) -> bool:
    """Whether the answers to `request` may hold existing codes only."""
    arguments = request.get("vllm_xargs")
    return constrained and not (isinstance(arguments, dict) and arguments.get("constrain") == "off")


def brings_own_way(request: dict[str, Any]) -> bool:
    """Whether a request asks for an output format or a search of its own, which vLLM may find that it cannot compute."""
    return any(request.get(key) for key in (*_FORMATS, "use_beam_search", "tools"))


def _check_format(request: dict[str, Any]) -> None:
    """Bound an output format that a request brings: one with large counts fills the memory of the whole server."""
    for key in _FORMATS:
        wanted = request.get(key)
        if not wanted:
            continue
        written = json.dumps(wanted)
        if len(written) > _LONGEST_FORMAT:
            raise Refusal(f"{key!r} should have at most {_LONGEST_FORMAT:,} characters")
        counts = [int(number or 0) for pair in _REPEATED.findall(written) for number in pair] + list(_list_counts(wanted))
        if math.prod(count for count in counts if count > 1) > _MOST_REPEATS:
            raise Refusal(f"{key!r} should repeat nothing more than {_MOST_REPEATS:,} times, repeats of repeats counted")


def _list_counts(content: Any) -> Iterator[int]:
    """Yield how often a JSON schema wants something repeated."""
    waiting = [content]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from (int(found[key]) for key in _COUNTS if isinstance(found.get(key), int | float))
        if isinstance(found, dict | list):
            waiting += found.values() if isinstance(found, dict) else found


def _walk(content: Any) -> Iterator[tuple[int, str]]:
    """Yield depth and text of every key and value; what is no text has an empty one."""
    waiting = [(content, 1)]
    while waiting:
        found, depth = waiting.pop()
        yield depth, found if isinstance(found, str) else ""
        if depth > _DEEPEST:
            continue
        if isinstance(found, dict):
            waiting += [(part, depth + 1) for pair in found.items() for part in pair]
        elif isinstance(found, list):
            waiting += [(part, depth + 1) for part in found if not isinstance(part, int)]


def _refuse_constant(name: str) -> NoReturn:
    raise Refusal(f"the body holds {name}, which is no JSON")


def _read_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Refusal("the body holds a number that is too large")
    return number
