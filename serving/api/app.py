"""The coding API as an ASGI app.

app = build_app(ApiSettings(base_url="http://127.0.0.1:8000/v1"))
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from icd10cm.errors import ICDTuneError
from serving.api.document import add_document
from serving.api.errors import add_handlers
from serving.api.gate import Gate
from serving.api.limiting import RateLimit
from serving.api.metrics import Metrics
from serving.api.page_files import add_page
from serving.api.routes import codes, coding, openai_proxy, review, status
from serving.api.security import load_keys
from serving.api.service import Service
from serving.api.settings import ApiSettings


def build_app(settings: ApiSettings) -> FastAPI:
    """Return the app; its files are read when it starts.

    Raises:
        ConfigError: API keys are missing or wrong.
    """
    keys, metrics, rate = load_keys(settings), Metrics(), RateLimit(settings.requests_per_minute)
    service = Service(settings, keys, metrics, rate)

    @contextlib.asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        try:
            await service.start()
        except ICDTuneError as error:
            service.start_error = error
            raise
        try:
            yield
        finally:
            await service.close()

    options: dict[str, Any] = {"docs_url": None, "redoc_url": None, "redirect_slashes": False}
    app = FastAPI(title="ICDTune coding API", lifespan=live, **options)
    app.state.service = service
    add_handlers(app)
    for group in (coding, codes, review, status, *([openai_proxy] if settings.openai_routes else [])):
        app.include_router(group.router)
    add_page(app)
    add_document(app, with_keys=bool(keys))
    app.add_middleware(Gate, settings=settings, keys=keys, metrics=metrics, rate=rate)
    return app
