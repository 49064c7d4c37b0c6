"""The page for coders: static files that the coding API serves at `/`. No build step, nothing from other hosts."""

from __future__ import annotations

from pathlib import Path

STATIC_FOLDER = Path(__file__).parent / "static"
"""`index.html` and what it loads, by relative addresses."""
