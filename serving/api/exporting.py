"""Lists of codes as a file: a FHIR Bundle or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from fastapi.responses import Response

from serving.api.fhir_bundle import build_bundle
from serving.api.service import Service
from serving.api.written import WrittenList

FHIR, CSV = "application/fhir+json", "text/csv"
Format = Literal["json", "fhir", "csv"]

COLUMNS = ("request_id", "id", "position", "code", "title", "category", "confidence", "reviewed", "release", "recorded")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


async def write_file(service: Service, kind: Literal["fhir", "csv"] | Format, lists: Sequence[WrittenList]) -> Response:
    """Return lists as a file to be saved."""
    if kind == "csv":
        content, media_type, name = write_csv(lists).encode(), f"{CSV}; charset=utf-8", "codes.csv"
    else:
        bundle = await service.compute(lambda: build_bundle(lists))
        content, media_type, name = json.dumps(bundle, ensure_ascii=False).encode(), FHIR, "codes.fhir.json"
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def write_csv(lists: Sequence[WrittenList]) -> str:
    """Return lists as CSV (RFC 4180), a row for each code, where no cell is taken for a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for listed in lists:
        for position, coded in enumerate(listed.codes, 1):
            confidence = "" if coded.confidence is None else coded.confidence
            row = (listed.request_id, listed.id or "", position, coded.code, coded.title, coded.code[:3], confidence,
                   str(listed.reviewed).lower(), listed.release, listed.recorded.isoformat(timespec="seconds"))  # fmt: skip
            writer.writerow([guard_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()


def guard_cell(text: str) -> str:
    """Return a text that a spreadsheet shows and does not compute.

    >>> guard_cell("=1+1"), guard_cell("E11.9")
    ("'=1+1", 'E11.9')
    """
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
