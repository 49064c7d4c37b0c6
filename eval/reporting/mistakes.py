"""What goes wrong: kinds of mistakes, categories taken for one another, and single answers with their titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_gen.examples import SCENARIOS
from eval.reporting.columns import Column
from eval.reporting.restriction import may_show_texts
from eval.reporting.texts import read_shown, shorten_text
from eval.scoring.taxonomy import KINDS
from icd10cm.codeset import CodeSet

RESTRICTED, CHANGED = "restricted", "changed"
"""Why texts are left out."""


def build_kinds(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row per kind of mistake that occurs: name, definition, and per column its count and share of all answers."""
    totals = [
        {kind: sum(group.get(kind, 0) for group in column.scores["errors"].values()) for kind in KINDS} for column in columns
    ]
    sizes = [column.scores["overall"]["n"] for column in columns]
    widest = max((total[kind] / n for total, n in zip(totals, sizes, strict=True) for kind in KINDS), default=0) or 1
    return [
        {
            "key": kind,
            "kind": kind.replace("_", " "),
            "text": text,
            "cells": [
                {"count": total[kind], "share": total[kind] / n, "width": round(100 * total[kind] / n / widest, 1)}
                for total, n in zip(totals, sizes, strict=True)
            ],
        }
        for kind, text in KINDS.items()
        if any(total[kind] for total in totals)
    ]


def build_confusions(columns: Sequence[Column], codes: CodeSet, n: int) -> list[dict[str, Any]]:
    """Return for each column that has any its `n` most frequent pairs of a right category and the one written instead."""
    parts = []
    for column in columns:
        pairs = list(column.scores.get("confusion") or [])[:n]
        widest = max((count for _, _, count in pairs), default=1)
        rows = [
            {
                "right": right,
                "right_title": find_title(right, codes),
                "written": written,
                "written_title": find_title(written, codes),
                "count": count,
                "width": round(100 * count / widest, 1),
            }
            for right, written, count in pairs
        ]
        if rows:
            parts.append({"label": column.label, "rows": rows})
    return parts


def build_examples(columns: Sequence[Column], codes: CodeSet, n: int, show_texts_of: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each column `n` mistakes of each scenario, with titles and, where they may and can be had, texts and ids."""
    parts = []
    for column in columns if n else ():
        header = column.scores["header"]
        allowed = may_show_texts(header, show_texts_of)
        texts = {id: shorten_text(example.text) for id, example in read_shown(header).items()} if allowed else {}
        groups: list[dict[str, Any]] = []
        for scenario in SCENARIOS:
            listed = column.scores["examples"].get(scenario, [])[:n]
            mistakes = [_describe_mistake(mistake, texts.get(mistake["id"]), codes, allowed) for mistake in listed]
            if mistakes:
                groups.append({"scenario": scenario, "name": scenario.replace("_", " "), "mistakes": mistakes})
        missing = any(mistake["text"] is None for group in groups for mistake in group["mistakes"])
        left_out = "" if not missing else CHANGED if allowed else RESTRICTED
        parts.append({"label": column.label, "groups": groups, "left_out": left_out})
    return parts


def find_title(code: str, codes: CodeSet) -> str:
    """Return the title of a code or category, or that this release does not have it."""
    return codes.title(code) if code in codes else f"not in release {codes.release}"


def _describe_mistake(mistake: Mapping[str, Any], text: str | None, codes: CodeSet, named: bool) -> dict[str, Any]:
    right, written = mistake["codes"], mistake["predicted"]
    return {
        "id": mistake["id"] if named else "",
        "kind": mistake["kind"].replace("_", " "),
        "text": text,
        "right": [{"code": code, "title": find_title(code, codes), "hit": code in written} for code in right],
        "written": [{"code": code, "title": find_title(code, codes), "hit": code in right} for code in written]
        + [{"code": code, "title": _explain_rejected(code, codes), "hit": False} for code in mistake["rejected"]],
    }


def _explain_rejected(text: str, codes: CodeSet) -> str:
    if text not in codes:
        return "does not exist"
    title = codes.title(text)
    return f"a heading, cannot be submitted{': ' + title if title else ''}"
