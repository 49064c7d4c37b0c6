"""The report's chart as SVG that takes the page's colours, light or dark, and is the same bytes each time."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.report_tables import HEADLINE, Column, get_group, list_scenarios

_INK, _QUIET, _GRID = "#010101", "#020202", "#030303"
_STAND_INS = {_INK: "var(--ink)", _QUIET: "var(--quiet)", _GRID: "var(--line)"}
N_SERIES = 5
"""Colours for columns that are not the floor; a sixth takes the first again."""


def draw_scenarios(columns: Sequence[Column], narrow: bool = False) -> str:
    """Return the exact match of each column by scenario as grouped bars with their intervals.

    Args:
        columns: what is compared.
        narrow: draw bars from left to right, for a phone.
    """
    import matplotlib
    from matplotlib.figure import Figure

    scenarios = list_scenarios(columns)
    look: Any = {"svg.hashsalt": f"icdtune-{narrow}", "svg.fonttype": "none", "font.size": 12, "hatch.linewidth": 1.2}
    raw = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(look)
        size = (4.3, 0.8 + len(scenarios) * (0.34 * len(columns) + 0.3)) if narrow else (10.4, 4.1)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for place in range(len(columns)):
            _draw_bars(axes, columns, place, scenarios, narrow)
        _dress_axes(axes, scenarios, narrow)
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _clean_svg(raw.getvalue(), describe_scenarios(columns))


def describe_scenarios(columns: Sequence[Column]) -> str:
    """Return the chart in words, for those who cannot see it."""
    sentences = []
    for scenario in list_scenarios(columns):
        groups = [(column.label, get_group(column, scenario)) for column in columns]
        values = [f"{label} {100 * group[HEADLINE]['value']:.1f}" for label, group in groups if group]
        sentences.append(f"{scenario}: {', '.join(values)}")
    return f"Bar chart of exact match in percent. {'; '.join(sentences)}."


def number_series(columns: Sequence[Column]) -> list[str]:
    """Return the name of the colour of each column: `s0`, `s1` … and `floor` for the first that needs no training."""
    numbers = iter(range(len(columns)))
    grey = next((column for column in columns if column.is_floor), None)
    return ["floor" if column is grey else f"s{next(numbers) % N_SERIES}" for column in columns]


def _draw_bars(axes: Any, columns: Sequence[Column], place: int, scenarios: Sequence[str], narrow: bool) -> None:
    column, thickness = columns[place], 0.8 / len(columns)
    groups = [get_group(column, scenario) for scenario in scenarios]
    there = np.array([number for number, group in enumerate(groups) if group], dtype=float)
    rates = [group[HEADLINE] for group in groups if group]
    values = np.array([100 * rate["value"] for rate in rates])
    reach = np.abs(np.array([[100 * rate["low"], 100 * rate["high"]] for rate in rates]).T.reshape(2, -1) - values)
    at = there + (place - (len(columns) - 1) / 2) * thickness
    colour = _write_stand_in(number_series(columns)[place])
    look = {"color": "none" if column.is_floor else colour, "edgecolor": colour, "linewidth": 1.0}
    look |= {"hatch": "////"} if column.is_floor else {}
    bar = {"height" if narrow else "width": thickness * 0.86}
    (axes.barh if narrow else axes.bar)(at, values, **bar, **look)
    whiskers = {"fmt": "none", "ecolor": _INK, "elinewidth": 1.1, "capsize": 2.5, "capthick": 1.1}
    axes.errorbar(*((values, at) if narrow else (at, values)), **{"xerr" if narrow else "yerr": reach}, **whiskers)
    for position, rate in zip(at, rates, strict=True):
        end, label = 100 * rate["high"], f"{100 * rate['value']:.0f}"
        if narrow:
            axes.text(end + 2.5, position, label, va="center", ha="left", color=_INK, fontsize=11)
        else:
            axes.text(position, end + 2.0, label, va="bottom", ha="center", color=_INK, fontsize=11)


def _dress_axes(axes: Any, scenarios: Sequence[str], narrow: bool) -> None:
    values, names = (axes.xaxis, axes.yaxis) if narrow else (axes.yaxis, axes.xaxis)
    (axes.set_xlim if narrow else axes.set_ylim)(0, 112)
    values.set_ticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    names.set_ticks(range(len(scenarios)), scenarios)
    names.set_tick_params(length=0, labelcolor=_INK, labelsize=12 if narrow else 13)
    values.set_tick_params(length=0, labelcolor=_QUIET)
    values.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if narrow:
        axes.invert_yaxis()


def _write_stand_in(series: str) -> str:
    """Return a colour that no chart uses, to be replaced by the page's variable for `series`."""
    return f"#0a0b{0xF0 if series == 'floor' else int(series[1:]):02x}"


def _clean_svg(raw: str, description: str) -> str:
    """Return an SVG for the inside of a page: its colours and fonts, no declarations, no ids but those in use."""
    svg = raw[raw.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", r"font-size: \2px", svg)
    svg = re.sub(
        r'(<svg)[^>]*?(viewBox="[^"]*")[^>]*>', rf'\1 \2 role="img" aria-label="{html.escape(description)}">', svg, count=1
    )
    colours = _STAND_INS | {_write_stand_in(name): f"var(--{name})" for name in ["floor", *(f"s{i}" for i in range(N_SERIES))]}
    for stand_in, variable in colours.items():
        svg = svg.replace(stand_in, variable)
    return svg.strip()
