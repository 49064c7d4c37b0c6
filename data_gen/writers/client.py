"""The official client, as this project uses it, and what it brings back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data_gen.writers.price import compute_cost, read_usage
from data_gen.writers.settings import WriterSettings
from data_gen.writers.store import Store
from data_gen.writers.tasks import Request
from icd10cm.address import is_this_machine
from icd10cm.errors import ConfigError

if TYPE_CHECKING:
    import openai

API_KEY_VARIABLE = "OPENAI_API_KEY"
_PASSING = (408, 409, 425, 429)
_CLIENTS_WORDS = re.compile(r"^Error code: \d+ - ")


def check_key(settings: WriterSettings) -> str:
    """Return the API key. Raises `ConfigError` when there is none and the server is not this machine."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key and not is_this_machine(settings.base_url):
        raise ConfigError(f"{urlsplit(settings.base_url).hostname} wants an API key: export {API_KEY_VARIABLE}=… and try again")
    return key or "none"


def build_options(settings: WriterSettings, build_http_client: Callable[..., Any], max_retries: int = 0) -> dict[str, Any]:
    """Return the arguments of a client of the `openai` package.

    What is meant for this machine stays on it: no proxy out of the environment, no redirect.
    """
    here = is_this_machine(settings.base_url)
    return {
        "base_url": settings.base_url,
        "api_key": check_key(settings),
        "timeout": settings.timeout,
        "max_retries": max_retries,
        "http_client": build_http_client(trust_env=not here, follow_redirects=not here),
    }


def keep_answer(
    store: Store, request: Request, most: float, body: Any, settings: WriterSettings, batch: bool = False, sync: bool = True
) -> None:
    """Put an answer into the store with what it cost; without a word on its tokens, the most it can have cost."""
    used = read_usage(body, request.input_tokens, request.max_tokens)
    store.add_answer(
        request.key,
        body,
        compute_cost(settings.prices, *used, batch),
        most,
        sync,
        variation=request.task.variation,
        code=request.task.code,
        attempt=request.attempt,
        input_tokens=used[0],
        output_tokens=used[1],
    )


def is_passing(error: openai.APIStatusError) -> bool:
    """Return whether a request that was refused may be taken later as it is."""
    return error.status_code >= 500 or (error.status_code in _PASSING and error.code != "insufficient_quota")


def read_json(content: bytes) -> Any:
    """Return the JSON of a body, or its text where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def explain_status(status: int) -> str:
    """Return what to do about a request that was refused for good."""
    match status:
        case 401 | 403:
            return f"check {API_KEY_VARIABLE}"
        case 404:
            return "check `writer.base_url` and `writer.model`"
        case 429:
            return "the account has no credit left; top it up and run the same command again"
        case _:
            return (
                "change `writer` (`structured: json_object` or text, `max_tokens_key`, `temperature: null`, `recover: false`) "
                "and try again"
            )


def shorten(text: str) -> str:
    """Return a message in one line of bearable length, without what the client puts before it."""
    return " ".join(_CLIENTS_WORDS.sub("", text).split())[:200]
