"""Figures that others published, to stand beside ours: theirs, on their texts, counted their way."""

from __future__ import annotations

LLMCODER = {
    "after stage 1": {"base": "> 97", "reordered": "36–78", "abbreviated": "> 92", "typo": "58–84", "multiple": "3–11"},
    "after stage 2": {
        "base": "> 97", "reordered": "87.51", "abbreviated": "96.59", "typo": "94.18", "multiple": "98.04", "note": "71.64",
    },
}  # fmt: skip
"""Exact match in percent, as printed in the readme of LLMCoder (Hou et al., npj Health Systems 2025).

Ranges run over its models; after stage 2 the best model of each scenario, which one is not stated. All 74,260 codes of FY2025.
"""
