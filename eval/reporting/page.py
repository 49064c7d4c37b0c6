"""The page: the content laid out by the templates, the charts drawn into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.reporting import charts
from eval.reporting.columns import Column, join_words, number_series
from eval.reporting.measures import show_value

_TEMPLATES = Path(__file__).with_name("templates")


def write_page(columns: Sequence[Column], content: Mapping[str, Any]) -> str:
    """Return the HTML page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = show_value
    environment.filters["show"] = show_value
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["words"] = join_words
    environment.filters["signed"] = lambda value: f"{100 * value:+.1f}".replace("-", "−")
    environment.filters["place"] = lambda value: f"{100 * value:.2f}%"
    return environment.get_template("page.html.jinja").render(**content, charts=draw_charts(columns, content))


def draw_charts(columns: Sequence[Column], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the charts of the page by name; empty text where there is nothing to draw."""
    from markupsafe import Markup

    headline = content["headline"]["metric"]
    drawn: dict[str, Any] = {
        "scenarios": Markup(charts.draw_scenarios(columns, metric=headline)),
        "scenarios_narrow": Markup(charts.draw_scenarios(columns, narrow=True, metric=headline)),
        "training": [
            [Markup(charts.draw_training(panel, f"run-{number}-{panel['key']}")) for panel in run["panels"]]
            for number, run in enumerate(content["training"])
        ],
        "reliability": "",
        "reliability_after": "",
        "coverage": "",
    }
    if calibration := content["calibration"]:
        colours = dict(zip((column.label for column in columns), number_series(columns), strict=True))
        curves = calibration["curves"]
        series = [colours[curve["label"]] for curve in curves]
        drawn["reliability"] = Markup(charts.draw_reliability(curves, series))
        drawn["coverage"] = Markup(charts.draw_coverage(curves, series))
        if calibration["has_after"]:
            drawn["reliability_after"] = Markup(charts.draw_reliability(curves, series, "after"))
    return drawn
