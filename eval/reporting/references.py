"""Figures that others published, to stand beside ours: theirs, on their texts, counted their way."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """What somebody published of one system.

    Attributes:
        system: its name.
        source: where the figures stand.
        values: rate to its value as printed: percent, but for `hamming_loss` and `ece`.
        closed: whether predictions outside the label set were dropped, so that our closed set is the like of it.
    """

    system: str
    source: str
    values: dict[str, str]
    closed: bool = False


LLMCODER = {
    "after stage 1": {"base": "> 97", "reordered": "36–78", "abbreviated": "> 92", "typo": "58–84", "multiple": "3–11"},
    "after stage 2": {
        "base": "> 97", "reordered": "87.51", "abbreviated": "96.59", "typo": "94.18", "multiple": "98.04", "note": "71.64",
    },
}  # fmt: skip
"""Exact match in percent, as printed in the readme of LLMCoder (Hou et al., npj Health Systems 2025).

Ranges run over its models; after stage 2 the best model of each scenario, which one is not stated. All 74,260 codes of FY2025.
"""

UNTRAINED_MODEL = {"base": "33.9"}
"""Exact match in percent of GPT-4 asked for the code of a title, without training (Soroush et al., NEJM AI 2024)."""

_EDIN = "Edin et al., SIGIR 2023"
_LLM4ICD = "LLM4ICD readme, 2026"
_LLMCODER = "Hou et al., npj Health Systems 2025"
_OPEN_PROJECT = "readme of an open project, 23,048 notes"

MIMIC_FULL = (
    Reference(
        "PLM-ICD", _EDIN,
        {"micro_f1": "58.5", "macro_f1": "21.1", "exact_match": "0.4", "precision_at_8": "69.9", "precision_at_15": "55.0",
         "r_precision": "57.9", "map": "61.9", "auc_micro": "99.2", "auc_macro": "96.6"},
    ),
    Reference(
        "LAAT", _EDIN,
        {"micro_f1": "57.9", "macro_f1": "20.3", "exact_match": "0.4", "precision_at_8": "68.9", "precision_at_15": "54.3",
         "r_precision": "57.2", "map": "60.6", "auc_micro": "99.0", "auc_macro": "95.4"},
    ),
    Reference("PLM-ICD, run again", _LLM4ICD, {"micro_f1": "59.6"}, closed=True),
    Reference("Qwen3-4B, fine-tuned", _LLM4ICD, {"micro_f1": "52.0"}, closed=True),
    Reference("Qwen3-4B, then GRPO", _LLM4ICD, {"micro_f1": "58.6"}, closed=True),
    Reference("Qwen3-4B, with hints", _LLM4ICD, {"micro_f1": "58.7"}, closed=True),
    Reference("LLMCoder, readme", _LLMCODER, {"exact_match": "71.64", "category_match": "88.85"}),
    Reference("LLMCoder, abstract", _LLMCODER, {"exact_match": "69.20", "category_match": "87.16"}),
)  # fmt: skip
"""MIMIC-IV discharge notes with all their ICD-10 codes."""

MIMIC_TOP_50 = (
    Reference("PLM-ICD, run again", _LLM4ICD, {"micro_f1": "73.5"}, closed=True),
    Reference("Qwen3-4B, fine-tuned", _LLM4ICD, {"micro_f1": "73.0"}, closed=True),
    Reference("Qwen3-4B, then GRPO", _LLM4ICD, {"micro_f1": "73.6"}, closed=True),
    Reference("Qwen3-4B, with hints", _LLM4ICD, {"micro_f1": "73.4"}, closed=True),
    Reference(
        "BioGPT enhanced", "its model card, a top 50 of its own",
        {"micro_f1": "74.27", "macro_f1": "67.91", "micro_precision": "74.5", "micro_recall": "73.52",
         "hamming_loss": "0.0547"},
        closed=True,
    ),
    Reference("Longformer, PLM-ICD", _OPEN_PROJECT, {"micro_f1": "53.68"}, closed=True),
    Reference("TF-IDF, logistic regression", _OPEN_PROJECT, {"micro_f1": "53.35"}, closed=True),
    Reference("ClinicalBERT", _OPEN_PROJECT, {"micro_f1": "47.79"}, closed=True),
)  # fmt: skip
"""MIMIC-IV discharge notes with the 50 most frequent codes."""

CALIBRATION = Reference(
    "notes-to-icd10", "its readme, one code of 1,926 for each synthetic note", {"ece": "0.034", "coverage": "82.1 % at 95.2 %"}
)
"""How sure another system may be taken to be."""
