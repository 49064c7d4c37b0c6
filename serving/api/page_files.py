"""The page's files at `/`: a route for each, so that every other path stays a 404 and every other method a 405."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

from serving.page import STATIC_FOLDER

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
_HEADERS = {"Cache-Control": "no-cache"}


def add_page(app: FastAPI) -> None:
    """Serve what is in the page's folder, `index.html` at `/` too."""
    for path in sorted(STATIC_FOLDER.rglob("*")):
        if path.is_file():
            name = path.relative_to(STATIC_FOLDER).as_posix()
            _add_file(app, f"/{name}", path)
            if name == "index.html":
                _add_file(app, "/", path)


def _add_file(app: FastAPI, address: str, path: Path) -> None:
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

    async def serve_file() -> FileResponse:
        return FileResponse(path, media_type=kind, headers=_HEADERS)

    app.add_api_route(address, serve_file, methods=["GET", "HEAD"], include_in_schema=False)
