"""The report's charts as SVG that takes the page's colours, light or dark, and is the same bytes each time."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eval.reporting.breakdowns import FEW
from eval.reporting.columns import HEADLINE, N_SERIES, Column, get_group, list_scenarios, number_series
from eval.reporting.measures import describe_measure, is_rate

_INK, _QUIET, _GRID, _PAPER = "#010101", "#020202", "#030303", "#040404"
_STAND_INS = {_INK: "var(--ink)", _QUIET: "var(--quiet)", _GRID: "var(--line)", _PAPER: "var(--paper)"}
_SQUARE = (4.4, 3.7)
_PERCENT_TICKS = ([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
_WHISKERS: dict[str, Any] = {"fmt": "none", "ecolor": _INK, "elinewidth": 1.1, "capsize": 2.5, "capthick": 1.1}


def draw_scenarios(columns: Sequence[Column], narrow: bool = False, metric: str = HEADLINE) -> str:
    """Return a rate of each column by scenario as grouped bars with their intervals.

    Args:
        columns: what is compared.
        narrow: draw bars from left to right, for a phone.
        metric: which rate.
    """
    scenarios = list_scenarios(columns)
    size = (4.3, 0.8 + len(scenarios) * (0.34 * len(columns) + 0.3)) if narrow else (10.4, 4.1)

    def draw(axes: Any) -> None:
        for place in range(len(columns)):
            _draw_bars(axes, columns, place, scenarios, narrow, metric)
        _dress_bars(axes, scenarios, narrow)

    return _render(draw, size, f"icdtune-{narrow}", describe_scenarios(columns, metric))


def describe_scenarios(columns: Sequence[Column], metric: str = HEADLINE) -> str:
    """Return the chart in words, for those who cannot see it."""
    sentences = []
    for scenario in list_scenarios(columns):
        groups = [(column.label, get_group(column, scenario)) for column in columns]
        values = [f"{label} {100 * group[metric]['value']:.1f}" for label, group in groups if group]
        sentences.append(f"{scenario}: {', '.join(values)}")
    return f"Bar chart of {describe_measure(metric).name} in percent. {'; '.join(sentences)}."


def draw_reliability(curves: Sequence[Mapping[str, Any]], series: Sequence[str], state: str = "before") -> str:
    """Return how often a code is right against how sure the engine was, a line per column with its intervals."""
    there = [(curve, name) for curve, name in zip(curves, series, strict=True) if curve[state] and curve[state]["bins"]]

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1.0, linestyle=(0, (2, 3)))
        for curve, name in there:
            bins = [one for one in curve[state]["bins"] if one["n"]]
            x, y = ([one[key] for one in bins] for key in ("mean_confidence", "accuracy"))
            if all("accuracy_low" in one for one in bins):
                reach = np.abs(np.array([[one[f"accuracy_{end}"] for one in bins] for end in ("low", "high")]) - np.array(y))
                axes.errorbar(x, y, yerr=reach, **_WHISKERS | {"ecolor": write_stand_in(name), "capsize": 0})
            axes.plot(x, y, **_line_look(name))
            for few, face in ((False, write_stand_in(name)), (True, _PAPER)):
                at = [place for place, one in enumerate(bins) if (one["n"] < FEW) is few]
                dots = {"markersize": 4.5, "markeredgecolor": write_stand_in(name), "markerfacecolor": face}
                axes.plot([x[place] for place in at], [y[place] for place in at], linestyle="none", marker="o", **dots)
        _dress_unit_square(axes, "how sure", "how often right")

    words = []
    for curve, _ in there:
        pairs = [f"{one['mean_confidence']:.0%} sure, {one['accuracy']:.0%} right" for one in curve[state]["bins"] if one["n"]]
        words.append(f"{curve['label']}: {'; '.join(pairs)}")
    return _render(draw, _SQUARE, f"reliability-{state}", f"Reliability curve. {'. '.join(words)}.")


def draw_coverage(curves: Sequence[Mapping[str, Any]], series: Sequence[str]) -> str:
    """Return how often the kept codes are right against the share kept, surest first, a line per column."""
    there = [(curve, name) for curve, name in zip(curves, series, strict=True) if curve["before"] and curve["before"]["curve"]]
    lowest = min((point["accuracy"] for curve, _ in there for point in curve["before"]["curve"]), default=0.0)

    def draw(axes: Any) -> None:
        axes.axhline(0.95, color=_QUIET, linewidth=1.0, linestyle=(0, (2, 3)))
        for curve, name in there:
            points = curve["before"]["curve"]
            axes.plot([one["coverage"] for one in points], [one["accuracy"] for one in points], **_line_look(name))
        _dress_unit_square(axes, "share of codes kept, surest first", "right among the kept")
        shares = [share for share in (0, 0.25, 0.5, 0.75, 0.95) if share >= lowest - 0.1]
        axes.set_yticks(shares, [f"{100 * share:.0f}{' %' if share == 0.95 else ''}" for share in shares])
        axes.set_ylim(min(lowest - 0.02, 0.9), 1.01)

    words = []
    for curve, _ in there:
        points = curve["before"]["curve"]
        picked = [points[place] for place in sorted({0, len(points) // 2, len(points) - 1})]
        words.append(
            f"{curve['label']}: " + "; ".join(f"{one['coverage']:.0%} kept, {one['accuracy']:.0%} right" for one in picked)
        )
    return _render(draw, _SQUARE, "coverage", f"Coverage curve. {'. '.join(words)}.")


def draw_training(panel: Mapping[str, Any], salt: str) -> str:
    """Return one panel of a training run, its lines by step."""
    from matplotlib.ticker import LogLocator

    percent = panel["scale"] == "percent"
    values = [value for line in panel["lines"] for _, value in line["points"]]

    def draw(axes: Any) -> None:
        for line, name in zip(panel["lines"], ("s1", "s0"), strict=False):
            marker = {"marker": "o", "markersize": 4.5} if line["key"].startswith("eval_") and len(line["points"]) < 40 else {}
            axes.plot(*zip(*line["points"], strict=True), **_line_look(name), **marker)
        axes.set_xlabel("step", color=_QUIET)
        axes.tick_params(length=0, labelcolor=_QUIET)
        axes.grid(True, color=_GRID, linewidth=0.8)
        if percent:
            axes.set_yticks(*_PERCENT_TICKS)
            axes.set_ylim(-0.02, 1.04)
        elif panel["scale"] == "log" and min(values) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        _hide_frame(axes)

    def say(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3g}"

    words = [
        f"{line['name']} from {say(line['points'][0][1])} at step {line['points'][0][0]} "
        f"to {say(line['points'][-1][1])} at step {line['points'][-1][0]}"
        for line in panel["lines"]
    ]
    return _render(draw, _SQUARE, salt, f"{panel['title']} by step: {'; '.join(words)}.")


def _render(draw: Callable[[Any], None], size: tuple[float, float], salt: str, description: str) -> str:
    """Return what `draw` draws as SVG for the inside of a page; `salt` keeps the ids of two charts apart."""
    import matplotlib
    from matplotlib.figure import Figure

    look: Any = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.size": 12, "hatch.linewidth": 1.2}
    raw = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(look)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _clean_svg(raw.getvalue(), description)


def _draw_bars(axes: Any, columns: Sequence[Column], place: int, scenarios: Sequence[str], narrow: bool, metric: str) -> None:
    column, thickness = columns[place], 0.8 / len(columns)
    found = [(get_group(column, scenario) or {}).get(metric) for scenario in scenarios]
    there = np.array([number for number, rate in enumerate(found) if is_rate(rate)], dtype=float)
    rates: list[Any] = [rate for rate in found if is_rate(rate)]
    values = np.array([100 * rate["value"] for rate in rates])
    reach = np.abs(np.array([[100 * rate["low"], 100 * rate["high"]] for rate in rates]).T.reshape(2, -1) - values)
    at = there + (place - (len(columns) - 1) / 2) * thickness
    series = number_series(columns)[place]
    colour = write_stand_in(series)
    look = {"color": "none" if series == "floor" else colour, "edgecolor": colour, "linewidth": 1.0}
    look |= {"hatch": "////"} if series == "floor" else {}
    bar = {"height" if narrow else "width": thickness * 0.86}
    (axes.barh if narrow else axes.bar)(at, values, **bar, **look)
    axes.errorbar(*((values, at) if narrow else (at, values)), **{"xerr" if narrow else "yerr": reach}, **_WHISKERS)
    for position, rate in zip(at, rates, strict=True):
        end, label = 100 * rate["high"], f"{100 * rate['value']:.0f}"
        if narrow:
            axes.text(end + 2.5, position, label, va="center", ha="left", color=_INK, fontsize=11)
        else:
            axes.text(position, end + 2.0, label, va="bottom", ha="center", color=_INK, fontsize=11)


def _dress_bars(axes: Any, scenarios: Sequence[str], narrow: bool) -> None:
    values, names = (axes.xaxis, axes.yaxis) if narrow else (axes.yaxis, axes.xaxis)
    (axes.set_xlim if narrow else axes.set_ylim)(0, 112)
    values.set_ticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    names.set_ticks(range(len(scenarios)), [scenario.replace("_", " ") for scenario in scenarios])
    names.set_tick_params(length=0, labelcolor=_INK, labelsize=12 if narrow else 13)
    values.set_tick_params(length=0, labelcolor=_QUIET)
    values.grid(True, color=_GRID, linewidth=0.8)
    _hide_frame(axes)
    if narrow:
        axes.invert_yaxis()


def _dress_unit_square(axes: Any, across: str, up: str) -> None:
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(*_PERCENT_TICKS)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(across, color=_QUIET)
    axes.set_ylabel(up, color=_QUIET)
    axes.tick_params(length=0, labelcolor=_QUIET)
    axes.grid(True, color=_GRID, linewidth=0.8)
    _hide_frame(axes)


def _hide_frame(axes: Any) -> None:
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _line_look(series: str) -> dict[str, Any]:
    look: dict[str, Any] = {"color": write_stand_in(series), "linewidth": 1.8}
    return look | ({"linestyle": (0, (5, 2))} if series == "floor" else {})


def write_stand_in(series: str) -> str:
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
    colours = _STAND_INS | {write_stand_in(name): f"var(--{name})" for name in ["floor", *(f"s{i}" for i in range(N_SERIES))]}
    for stand_in, variable in colours.items():
        svg = svg.replace(stand_in, variable)
    return svg.strip()
