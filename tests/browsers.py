"""A headless Chromium for tests of pages, and what they measure in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """A browser; the test that asks for it is skipped where playwright or Chromium is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: `uv pip install playwright` for this test")
    with playwright.sync_playwright() as driver:
        own = driver.chromium.executable_path
        found = own if Path(own).is_file() else next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip("no Chromium: `playwright install chromium` or `apt-get install chromium` for this test")
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


def read_lightness(colour: str) -> float:
    """Return 0 for black and 1 for white of `rgb(r, g, b)`; a transparent background is the white of the paper."""
    parts = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]
    return 1.0 if len(parts) == 4 and parts[3] == 0 else sum(parts[:3]) / 765
