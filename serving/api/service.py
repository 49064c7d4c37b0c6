"""What the routes share: the coder, the model server, the code system, the audit log, the counters."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request

from icd10cm.codeset import CodeSet
from icd10cm.errors import ICDTuneError
from icd10cm.rules import Checker
from icd10cm.search import SearchIndex
from icd10cm.tabular import Tabular
from serving.api.limiting import RateLimit
from serving.api.metrics import Metrics
from serving.api.model_server import ModelServer
from serving.api.security import KeyRing
from serving.api.settings import ApiSettings
from serving.audit.log import AuditError, AuditLog, Written
from serving.audit.secret import hash_request, load_secret
from serving.audit.writer import AuditWriter
from serving.coding.coder import Coder
from serving.coding.errors import CodingFailure
from serving.coding.models import CodedCode, CodingRequest, CodingResponse
from serving.engines.server_pool import API_KEY_VARIABLE
from serving.model_facts import find_version

T = TypeVar("T")


class Service:
    """Everything that lives as long as the app does."""

    def __init__(self, settings: ApiSettings, keys: KeyRing, metrics: Metrics, rate: RateLimit):
        self.settings, self.keys, self.metrics, self.rate = settings, keys, metrics, rate
        self.start_error: ICDTuneError | None = None

    async def start(self) -> None:
        """Load the code system, open the audit log and begin to look for the model server, which may come later.

        Raises:
            CodeFileError, ConfigError, AuditError: something is wrong with a file.
        """
        settings = self.settings
        # one thread: the search index and the rules are not made for several
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="codes")
        await self.compute(self._load)
        self.model_server = ModelServer(settings.base_url, settings.request_timeout)
        self._log = AuditWriter(AuditLog(settings.audit_file, settings.audit_max_bytes, settings.audit_daily))
        self._secret = load_secret(settings.audit_file.parent)
        await self.record("start", {"version": find_version("icdtune"), "release": self.codes.release})
        await self.coder.start()

    def _load(self) -> None:
        self.codes = CodeSet.load(self.settings.code_file)
        self.tabular = Tabular.load(self.settings.tabular_file)
        self.checker = Checker(self.codes, self.tabular)
        self.index = SearchIndex.load(self.codes, self.tabular if self.settings.tabular_file else None)
        self.coder = Coder(
            self.settings.base_url,
            api_key=os.environ.get(API_KEY_VARIABLE),
            codes=self.codes,
            tabular=self.tabular,
            threshold=self.settings.threshold,
            long_text=self.settings.long_text,
            timeout=self.settings.request_timeout,
            connections=self.settings.max_upstream,
        )

    async def close(self) -> None:
        """Wait for what is being written, then let go of everything."""
        await self._log.close()
        await self.coder.close()
        await self.model_server.close()
        self._thread.shutdown()

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread of the code system."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def record(self, kind: str, fields: dict[str, Any]) -> Written:
        """Write a record. Raises `AuditError`: what it is about must not go out then."""
        try:
            written = await self._log.append(kind, fields)
        except AuditError:
            self.metrics.audit_failures.inc()
            raise
        self.metrics.audited.labels(kind).inc()
        self.metrics.audit_sequence.set(written.sequence)
        return written

    async def describe_models(self) -> tuple[tuple[str, ...], float | None, bool]:
        """Return the names of the models, and of the first the threshold and whether its confidence is calibrated."""
        if not self.coder.facts.models and await self.model_server.is_up():
            with contextlib.suppress(CodingFailure):
                await self.coder.refresh()
        models = self.coder.facts.models
        calibration = next(iter(models.values())).calibration if models else None
        threshold = self.settings.threshold
        if threshold is None and models:
            threshold = calibration.threshold if calibration else 0.0
        return tuple(models), threshold, calibration is not None

    async def code(self, request: CodingRequest, request_id: str, key_name: str) -> CodingResponse:
        """Return the codes of a text, once they are in the audit log. Raises `CodingFailure`, `AuditError`."""
        try:
            response = await self.coder.code(request, request_id)
        except CodingFailure as error:
            self.metrics.failures.labels(str(error.status)).inc()
            raise
        asked = request.model_dump(mode="json", exclude_none=True)
        await self.record(
            "coding",
            {
                "request_id": request_id,
                "request_hash": hash_request(self._secret, asked),
                "key": key_name,
                "model": response.model.name,
                "model_sha256": response.model.sha256,
                "release": response.release,
                "threshold": response.threshold,
                "codes": _list_codes(response.codes),
                "candidates": _list_codes(response.candidates),
                "abstained": response.abstained,
            },
        )
        self.metrics.texts.inc()
        self.metrics.codes.inc(len(response.codes))
        self.metrics.candidates.inc(len(response.candidates))
        self.metrics.abstentions.inc(response.abstained)
        return response


def get_service(request: Request) -> Service:
    """Return the service of the app that a request came to."""
    return request.app.state.service


def _list_codes(codes: Sequence[CodedCode]) -> list[dict[str, Any]]:
    return [{"code": coded.code, "confidence": coded.confidence} for coded in codes]
