"""The report in a real browser: phone and desktop, light and dark. Skipped where playwright or Chromium is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import open_browser, read_lightness
from report_runs import SKILLS, draw_titles, score_engines

from eval.paired import run as run_paired
from eval.report import run
from icd10cm import CodeSet
from icd10cm.run_header import build_header, write_json

SECTIONS = ("by-text", "others", "codes", "groups", "sure", "pairs", "wrong", "examples", "training", "counted")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_file(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has every section."""
    folder = tmp_path_factory.mktemp("page")
    found = score_engines(folder, draw_titles(codes, 60), codes, SKILLS)
    both = [str(found[name].with_name("predictions.jsonl")) for name in ("stage 2", "floor")]
    assert run_paired([*both, "--n-boot", "100", "--output", str(folder / "paired.json")]) == 0
    history = [{"loss": 2.0 / step, "eval_exact_match": step / 20, "step": step} for step in range(1, 11)]
    write_json(folder / "model" / "run.json", build_header("finetune.sft", {"stage": "initial"}, history=history))
    more = ["--paired", str(folder / "paired.json"), "--training", str(folder / "model")]
    assert run([*map(str, found.values()), *more, "--output", str(folder / "report.html")]) == 0
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert said == []
    assert asked == [page_file.as_uri()], "the page asks for nothing but itself"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for section in SECTIONS:
        box = page.locator(f"section[aria-labelledby={section}]").bounding_box()
        assert box and box["height"] > 100 and box["x"] >= 0 and box["x"] + box["width"] <= width, section
    charts = page.locator("figure svg:visible")
    assert charts.count() >= 4 and all(box["width"] > 200 for box in map(_measure, charts.all()))
    dark, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert (read_lightness(dark) < 0.3) == (scheme == "dark") and abs(read_lightness(dark) - read_lightness(ink)) > 0.6
    page.close()


def test_details_open_and_stay_inside_the_page(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(page_file.as_uri())
    closed = page.locator("details:not([open]) > summary")
    for _ in range(closed.count()):
        closed.first.press("Enter")
    assert closed.count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_printed_page_is_ink_on_white(browser: Any, page_file: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(page_file.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert read_lightness(page.evaluate("getComputedStyle(document.body).color")) < 0.3, "ink on white, whatever the screen"
    assert page.pdf().startswith(b"%PDF")
    page.close()


def _measure(locator: Any) -> dict[str, float]:
    return locator.bounding_box()
