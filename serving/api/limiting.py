"""How much may be asked: requests a minute for each key, requests under way for all."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.api.errors import ApiError


class RateLimit:
    """So many requests, or texts of a batch, a minute for each name."""

    def __init__(self, per_minute: int):
        self.per_minute = per_minute
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take(self, name: str, cost: int = 1) -> None:
        """Count a request. Raises `ApiError` 429 where there were too many."""
        if cost < 1 or self._limiter.hit(self._item, name, cost=min(cost, self.per_minute)):
            return
        left = self._limiter.get_window_stats(self._item, name).reset_time - time.time()
        raise ApiError(429, f"more than {self.per_minute} texts or requests a minute", retry_after=max(1, math.ceil(left)))


class InFlight:
    """Requests under way."""

    def __init__(self, most: int):
        self._most = most
        self.count = 0

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request as long as it takes. Raises `ApiError` 503 where there are too many."""
        if self.count >= self._most:
            raise ApiError(503, f"{self._most} requests are under way already", retry_after=1)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
