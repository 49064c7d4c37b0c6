"""Figures that others published, to stand beside ours: theirs, on their texts, counted their way."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Exact match in percent as printed in a publication, by scenario."""

    name: str
    values: dict[str, str]


LLMCODER = (
    Published(
        "LLMCoder, stage 1",
        {"base": "> 97", "reordered": "36–78", "abbreviated": "> 92", "typo": "58–84", "multiple": "3–11"},
    ),
    Published(
        "LLMCoder, stage 2, best of its models",
        {"reordered": "87.51", "abbreviated": "96.59", "typo": "94.18", "multiple": "98.04", "note": "71.64"},
    ),
)
"""LLMCoder (Hou et al. 2025, npj Health Systems): all billable codes of FY2025; notes are those of MIMIC-IV, from its readme."""
