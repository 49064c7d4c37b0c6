"""One file for each group of routes."""

from __future__ import annotations

from fastapi import APIRouter

from serving.api.bodies import StrictRoute


def build_router(tag: str) -> APIRouter:
    """Return a router whose bodies are read strictly."""
    return APIRouter(route_class=StrictRoute, tags=[tag])
