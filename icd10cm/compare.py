"""Say what changed between two releases: codes added, deleted and retitled, and what replaces the deleted ones.

icdtune compare --from icd10cm_codes_2025.txt
icdtune compare --from icd10cm_order_2025.txt --to icd10cm_order_2026.txt --json
icdtune compare --from icd10cm_codes_2024.txt.gz --to icd10cm_codes_2025.txt.gz --output changes.csv
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath, NonNegativeInt, create_model

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.releases import Comparison, compare
from icd10cm.run_header import write_text

_COLUMNS = ("change", "code", "old_title", "new_title", "successors")
_SHOWN_SUCCESSORS = 6


class _Compared(Settings):
    to: FilePath | None = Field(None, description="CMS code or order file of the second release; the embedded one when empty")
    limit: NonNegativeInt = Field(0, description="most codes to list of each kind of change; 0 for all")
    as_json: bool = Field(False, description="write JSON")
    output: Path | None = Field(None, description=f"also write every change as CSV: {', '.join(_COLUMNS)}")


# `from` is the word for it, and no word that a class body can say
CompareSettings: Any = create_model(
    "CompareSettings",
    __base__=_Compared,
    **{"from": (FilePath, Field(description="CMS code or order file of the first release, plain or gzip"))},  # type: ignore[call-overload]
)
"""Settings of `icdtune compare`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Compare two releases and print the changes."""
    settings = load_settings(CompareSettings, argv, doc=__doc__ or "", prog="icdtune compare")
    old, new = CodeSet.load(getattr(settings, "from")), CodeSet.load(settings.to)
    comparison = compare(old, new)
    if old.release == new.release:
        say(f"note: both files are of release {old.release} by their names")
    print(write_json(comparison, old, new) if settings.as_json else write_table(comparison, old, new, settings.limit))
    if settings.output is not None:
        write_text(settings.output, write_csv(comparison, old, new))
        say(f"written: {settings.output}")


def count_changes(comparison: Comparison) -> dict[str, int]:
    """Return the number of codes of each kind of change."""
    return {
        "added": len(comparison.added),
        "deleted": len(comparison.deleted),
        "newly_non_billable": len(comparison.newly_non_billable),
        "newly_billable": len(comparison.newly_billable),
        "retitled": len(comparison.retitled),
        "retitled_only_in_spelling": sum(change.only_spelling for change in comparison.retitled),
    }


def write_table(comparison: Comparison, old: CodeSet, new: CodeSet, limit: int = 0) -> str:
    """Return counts and lists for a person; `limit` codes of each kind at most, 0 for all."""
    counts = count_changes(comparison)
    lines = [
        f"release {comparison.old}: {len(old):,} billable codes; release {comparison.new}: {len(new):,}",
        f"+{counts['added']:,} -{counts['deleted']:,}, {counts['retitled']:,} retitled "
        f"({counts['retitled_only_in_spelling']:,} only in spelling); {counts['newly_non_billable']:,} of the deleted are "
        f"headings now, {counts['newly_billable']:,} of the added were headings before",
    ]
    lists = {
        "deleted": [_describe_deleted(comparison, code, old) for code in comparison.deleted],
        "added": [f"  {code:<9} {new.title(code)}" for code in comparison.added],
        "retitled": [f"  {change.code:<9} {change.old} -> {change.new}" for change in comparison.retitled],
    }
    for name, rows in lists.items():
        if rows:
            shown = rows[:limit] if limit else rows
            rest = [f"  … and {len(rows) - len(shown):,} more"] if len(shown) < len(rows) else []
            lines += ["", f"{name} ({len(rows):,})", *shown, *rest]
    return "\n".join(lines)


def write_json(comparison: Comparison, old: CodeSet, new: CodeSet) -> str:
    """Return everything that changed as one JSON object."""
    headings = set(comparison.newly_non_billable)
    content = {
        "old": {"release": comparison.old, "source": old.source, "n_codes": len(old)},
        "new": {"release": comparison.new, "source": new.source, "n_codes": len(new)},
        "counts": count_changes(comparison),
        "added": [{"code": code, "title": new.title(code)} for code in comparison.added],
        "deleted": [
            {
                "code": code,
                "title": old.title(code),
                "now_a_heading": code in headings,
                "successors": [{"code": other, "title": new.title(other)} for other in comparison.successors[code]],
            }
            for code in comparison.deleted
        ],
        "retitled": [change._asdict() for change in comparison.retitled],
        "newly_billable": list(comparison.newly_billable),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def write_csv(comparison: Comparison, old: CodeSet, new: CodeSet) -> str:
    """Return a row per change, sorted by kind and code; successors are joined by `;`, likeliest first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_list_rows(comparison, old, new))
    return text.getvalue()


def _list_rows(comparison: Comparison, old: CodeSet, new: CodeSet) -> Iterator[tuple[str, ...]]:
    for code in comparison.added:
        yield "added", code, "", new.title(code), ""
    for code in comparison.deleted:
        yield "deleted", code, old.title(code), "", ";".join(comparison.successors[code])
    for change in comparison.retitled:
        yield "retitled", change.code, change.old, change.new, ""


def _describe_deleted(comparison: Comparison, code: str, old: CodeSet) -> str:
    successors = comparison.successors[code]
    shown = ", ".join(successors[:_SHOWN_SUCCESSORS]) or "none found"
    more = f" and {len(successors) - _SHOWN_SUCCESSORS} more" if len(successors) > _SHOWN_SUCCESSORS else ""
    return f"  {code:<9} {old.title(code)} -> {shown}{more}"


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
