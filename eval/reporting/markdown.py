"""Markdown tables of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.measures import show_value


def write_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first column to the left, the others to the right."""
    lines = [list(heads), [":--" if place == 0 else "--:" for place in range(len(heads))], *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def write_cell(cell: Mapping[str, Any] | None, unit: str = "percent") -> str:
    """Return a rate with its interval, in bold where it is `best`; a dash where nothing was measured."""
    if not cell:
        return "–"
    value = show_value(cell["value"], unit)
    shown = f"**{value}**" if cell.get("best") else value
    ends = [show_value(cell[end], unit) for end in ("low", "high") if cell.get(end) is not None]
    return f"{shown} ({'–'.join(ends)})" if ends else shown


def write_counts(counts: Sequence[int]) -> str:
    """Return the numbers of examples of a row, `5,000 / 2,000` where they differ between columns."""
    return " / ".join(f"{n:,}" for n in counts)
