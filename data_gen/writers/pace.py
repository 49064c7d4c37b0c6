"""When the next request may go: the limits of the config, what the provider's headers say is left, and `Retry-After`.

The official client can retry by itself, but each of its attempts would go uncounted by these limits, by the budget and by
the store; so it is told not to, and `online` retries.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Pace:
    """One clock for all requests of a run.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: input and output together; None for no limit.
    """

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None):
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next = 0.0
        self._turn = asyncio.Lock()
        self._under_way: list[int] = []
        self._left: dict[str, tuple[float, float]] = {}

    async def wait(self, tokens: int) -> None:
        """Return when a request of so many tokens may be sent; requests go in the order in which they came here."""
        async with self._turn:
            await self._wait_turn(tokens)
            self._take(tokens)

    async def _wait_turn(self, tokens: int) -> None:
        while True:
            now = time.monotonic()
            ready = max(self._next, self._find_refill("requests", 1, now), self._find_refill("tokens", tokens, now))
            if ready <= now:
                return
            await asyncio.sleep(min(ready - now, _LONGEST_WAIT))

    def _take(self, tokens: int) -> None:
        # evenly spread rather than in bursts: providers count seconds as well as minutes
        self._next = max(self._next, time.monotonic()) + max(self._per_request, tokens * self._per_token)
        for kind, amount in (("requests", 1), ("tokens", tokens)):
            if kind in self._left:
                left, refill = self._left[kind]
                self._left[kind] = left - amount, refill
        self._under_way.append(tokens)

    def end(self, tokens: int) -> None:
        """Note that a request of so many tokens is no longer under way."""
        self._under_way.remove(tokens)

    def learn(self, headers: Mapping[str, str]) -> float | None:
        """Take in what an answer's headers say, and return the seconds of its `Retry-After`, during which nothing is sent."""
        now = time.monotonic()
        for kind, taken in (("requests", len(self._under_way)), ("tokens", sum(self._under_way))):
            left, reset = headers.get(f"x-ratelimit-remaining-{kind}"), headers.get(f"x-ratelimit-reset-{kind}")
            seconds = read_duration(reset or "")
            if left and left.isdecimal() and seconds is not None:
                # the provider does not yet count what is still under way
                self._left[kind] = int(left) - taken, now + seconds
        seconds = read_retry_after(headers)
        if seconds is not None:
            self._next = max(self._next, now + seconds)
        return seconds

    def _find_refill(self, kind: str, amount: int, now: float) -> float:
        left, refill = self._left.get(kind, (0.0, 0.0))
        if refill <= now:
            self._left.pop(kind, None)
            return 0.0
        return 0.0 if left >= amount else refill


def choose_wait(attempt: int, told: float | None) -> float:
    """Return the seconds before a request is sent again: what the server said, or twice as many each time; with jitter."""
    if told is not None:
        return told + random.uniform(0, 0.25) * min(told, 1.0)
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1)


def read_duration(text: str) -> float | None:
    """Return the seconds of a provider's duration, None when it is none.

    >>> [read_duration(text) for text in ("1s", "6m0s", "20ms", "2", "soon")]
    [1.0, 360.0, 0.02, 2.0, None]
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text)
    if parts and "".join(map("".join, parts)) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: by `Retry-After` as a number or a date, or by `retry-after-ms`."""
    milliseconds = read_duration(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = read_duration(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
