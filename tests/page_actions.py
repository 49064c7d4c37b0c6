"""What a coder does on the page, and what is looked up in it, for tests in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def code_text(page: Any, text: str) -> None:
    """Put a text into the composer, code it and wait for the codes."""
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    page.locator(".ending").wait_for()


def list_cards(page: Any) -> Any:
    """Return the codes of the list, without candidates."""
    return page.locator(".codes > .cards .card-head .code")


def list_hits(page: Any) -> Any:
    """Return what the search found."""
    return page.get_by_role("listbox", name="Codes found").get_by_role("option")


def save_export(page: Any, name: str, folder: Path) -> Path:
    """Return the file that a button of the export dialog writes."""
    with page.expect_download() as started:
        page.locator(f"#export-{name}").click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def find_faults(page: Any) -> list[str]:
    """Return what axe finds wrong with the page as it is, and whether it scrolls sideways."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    faults = [f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return faults + ([f"scrolls sideways by {over}"] if over > 0 else [])
