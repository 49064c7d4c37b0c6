"""`calibration.png` beside a checkpoint: how often codes are right against how sure the model was, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BEFORE, _AFTER = "#e9a23b", "#33658a"


def draw_reliability_picture(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], title: str, path: Path
) -> None:
    """Write a picture of the bins of `eval.scoring.calibration.describe`, before and after calibration."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(5, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--")
    for bins, name, colour in ((before, "before", _BEFORE), (after, "after, held out", _AFTER)):
        x, y = ([one[key] for one in bins] for key in ("mean_confidence", "accuracy"))
        reach = [
            [one["accuracy"] - one["accuracy_low"] for one in bins],
            [one["accuracy_high"] - one["accuracy"] for one in bins],
        ]
        axes.errorbar(x, y, yerr=reach, color=colour, marker="o", markersize=4, linewidth=1.5, elinewidth=0.8, label=name)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="how sure", ylabel="how often right")
    axes.set_title(title, fontsize="medium")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
