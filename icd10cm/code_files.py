"""Read the code files that CMS and NCHS publish each year, plain or gzip.

Code file (`icd10cm_codes_YYYY.txt`): code without dot in columns 1-7, one blank, then the long title; billable codes only.
Order file (`icd10cm_order_YYYY.txt`): order number in 1-5, code in 7-13, 1 or 0 for billable in 15, short title in 17-76,
long title from 78; headings too. Source: the CMS "ICD-10-CM code descriptions" archives and their PDF of file layouts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from icd10cm.cms_files import read_bytes
from icd10cm.errors import CodeFileError

_CODE_LINE = re.compile(r"([A-Z](?=[A-Z]*[0-9])[0-9A-Z]{2,6}) *\s(\S.*)")
_ORDER_LINE = re.compile(r"(\d{5}) ([A-Z](?=[A-Z]*[0-9])[0-9A-Z]{2,6}) +([01]) (.{60}) (\S.*)")
_SMALLEST_RELEASE = 60_000
"""No release since 2016 had fewer billable codes; a shorter file was cut off."""
_LAST_CATEGORY = "Z99"
"""The last category of every release."""


class Heading(NamedTuple):
    """One line of the hierarchy: a billable code or an ancestor of billable codes."""

    title: str
    parent: str | None
    billable: bool


def read_code_file(path: Path) -> dict[str, Heading]:
    """Read a code file or an order file into dotted code -> `Heading`, in file order, ancestors before descendants.

    Raises:
        CodeFileError: names the file, the first bad line and what was expected.
    """
    lines = _read_lines(path)
    is_order = bool(re.match(r"\d{5} ", lines[0]))
    pattern, layout = (_ORDER_LINE, "order file") if is_order else (_CODE_LINE, "code file")
    listed: dict[str, tuple[str, bool]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.rstrip())
        if match is None:
            raise CodeFileError(
                f"{path}, line {number}: not a line of a CMS {layout}: {line[:60].rstrip()!r}; "
                "download the text file again from the CMS ICD-10-CM page"
            )
        bare, title, billable = (match[2], match[5], match[3] == "1") if is_order else (match[1], match[2], True)
        code = f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare
        if code in listed:
            raise CodeFileError(f"{path}, line {number}: code {code} is listed twice; the file is damaged, download it again")
        listed[code] = (title.strip(), billable)
    n_billable = sum(billable for _, billable in listed.values())
    last = max(listed)
    if n_billable < _SMALLEST_RELEASE or last < _LAST_CATEGORY:
        raise CodeFileError(
            f"{path}, line {len(lines)}: the file ends after {n_billable:,} billable codes, at {last}; every release since "
            f"2016 has over {_SMALLEST_RELEASE:,}, up to {_LAST_CATEGORY}, so it is truncated: download it again"
        )
    return _link_parents(listed)


def guess_release(path: Path) -> str:
    """Return the year in a file name (`icd10cm_codes_2025.txt.gz` -> `"2025"`), or `"unknown"`."""
    years = re.findall(r"(?<!\d)20[1-9]\d(?!\d)", path.name)
    return years[-1] if years else "unknown"


def _read_lines(path: Path) -> list[str]:
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise CodeFileError(f"{path}, line 1: the file is empty; download it again")
    return text.splitlines()


def _link_parents(listed: dict[str, tuple[str, bool]]) -> dict[str, Heading]:
    """Give each code its parent: the longest shorter code listed, or in a plain code file its category."""
    headings: dict[str, Heading] = {}
    for code, (title, billable) in listed.items():
        category = code[:3]
        if category not in listed and category not in headings:
            headings[category] = Heading("", None, False)
        parent = None
        for end in range(len(code) - 1, 2, -1):
            shorter = code[:end]
            if shorter in listed or shorter == category:
                parent = shorter
                break
        headings[code] = Heading(title, parent, billable)
    return headings
