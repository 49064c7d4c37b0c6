"""The audit log in an event loop: records that are waiting go to the disk together, so that one flush serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from serving.audit.log import AuditError, AuditLog, Written

_Waiting = tuple[str, Mapping[str, Any], "asyncio.Future[Written]"]


class AuditWriter:
    """Appends from many tasks; each goes on when its record is on the disk."""

    def __init__(self, log: AuditLog):
        self._log = log
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def append(self, kind: str, fields: Mapping[str, Any]) -> Written:
        """Write a record and return where it stands. Raises `AuditError`."""
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append((kind, fields, future))
        if self._task is None:
            self._task = asyncio.create_task(self._write_all())
        return await future

    async def close(self) -> None:
        """Wait until all is written."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                # who no longer waits was not answered, and is not recorded
                taken = [one for one in taken if not one[2].done()]
                await self._write(taken)
        finally:
            self._task = None

    async def _write(self, taken: list[_Waiting]) -> None:
        try:
            written = await asyncio.to_thread(self._log.append_all, [(kind, fields) for kind, fields, _ in taken])
        except Exception as error:
            for _, _, future in taken:
                if not future.done():
                    future.set_exception(
                        error if isinstance(error, AuditError) else AuditError(f"audit log: {type(error).__name__}")
                    )
            return
        for (_, _, future), place in zip(taken, written, strict=True):
            if not future.done():
                future.set_result(place)
