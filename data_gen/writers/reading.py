"""An API's answer to texts, or to the reason why there are none."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_LONGEST_TEXT = 1000


class Reading(NamedTuple):
    """What an answer says.

    Attributes:
        texts: distinct, one line each; empty when the answer is rejected.
        reason: why it is rejected, empty when it is not.
        content: what the model wrote.
    """

    texts: tuple[str, ...]
    reason: str
    content: str = ""


def read_body(body: Any) -> Reading:
    """Read the body of a chat completion; whatever it is, there is a reading.

    >>> message = {"role": "assistant", "content": '{"texts": ["knee pain, right"]}'}
    >>> read_body({"choices": [{"finish_reason": "stop", "message": message}]}).texts
    ('knee pain, right',)
    >>> read_body({"choices": [{"finish_reason": "length", "message": message}]}).reason
    'truncated'
    """
    if not isinstance(body, dict):
        return Reading((), "body is not JSON", str(body))
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Reading((), "body is no chat completion", json.dumps(body)[:_LONGEST_TEXT])
    content = message.get("content")
    content = content if isinstance(content, str) else ""
    if choice.get("finish_reason") == "length":
        return Reading((), "truncated", content)
    if choice.get("finish_reason") == "content_filter":
        return Reading((), "content filter", content)
    if message.get("refusal"):
        return Reading((), "the model refused", str(message["refusal"]))
    return _read_content(content)


def _read_content(content: str) -> Reading:
    found = _find_json(content)
    if found is None:
        return Reading((), "answer is not JSON", content)
    texts = found.get("texts") if isinstance(found, dict) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return Reading((), "wrong schema", content)
    lines = dict.fromkeys(" ".join(text.split()) for text in texts)
    kept = tuple(line for line in lines if 0 < len(line) <= _LONGEST_TEXT and line.isprintable())
    return Reading(kept, "" if kept else "no texts", content)


def _find_json(content: str) -> Any:
    """Return the JSON of an answer, also out of a code fence or from behind a model's thoughts; None when it has none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        pass
    decoder, start, found = json.JSONDecoder(), content.find("{"), None
    while start >= 0:
        try:
            found, end = decoder.raw_decode(content, start)
        except (ValueError, RecursionError):
            end = start + 1
        start = content.find("{", end)
    return found
