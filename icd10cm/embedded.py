"""The code set that comes with the package `simple-icd-10-cm`: read once through the library, cleaned, then cached.

The library parses 10 MB of XML into global state in about 1.5 s at import. The cache is a tab-separated text file that
loads in about a tenth of that. What is cleaned: blocks without children and the codes they repeat, notes glued to titles
behind a slash or a TAB, and accented letters, so that titles read as in the CMS files.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import unicodedata
from pathlib import Path

import platformdirs

from icd10cm.code_files import Heading
from icd10cm.run_header import write_text

RELEASE = "2026"
_PACKAGE = "simple-icd-10-cm"
_CACHE_FORMAT = 1
_GLUED_NOTE = re.compile(r"/\t.*|/(?=(?:Old|Fall) [a-z]).*", re.DOTALL)


def describe_source() -> str:
    """Name the package and version the embedded set comes from."""
    return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


def load_headings() -> dict[str, Heading]:
    """Return dotted code -> `Heading` of the embedded release, in tabular order; writes the cache on first use."""
    cache = find_cache_folder() / f"codeset-{importlib.metadata.version(_PACKAGE)}-{_CACHE_FORMAT}.tsv"
    with contextlib.suppress(OSError, ValueError, IndexError):
        return _read_cache(cache)
    headings = _read_library()
    with contextlib.suppress(OSError):
        _write_cache(cache, headings)
    return headings


def find_cache_folder() -> Path:
    """Return the folder for files that can be made again: `ICDTUNE_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("ICDTUNE_CACHE") or platformdirs.user_cache_dir("icdtune"))


def clean_title(text: str) -> str:
    """Return a title of the library as CMS writes it."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join(_GLUED_NOTE.sub("", folded).split())


def _read_library() -> dict[str, Heading]:
    import simple_icd_10_cm as library

    headings: dict[str, Heading] = {}
    for code in library.get_all_codes(with_dots=True):
        if code in headings or not library.is_category_or_subcategory(code):
            continue
        parent = library.get_parent(code) if len(code) > 3 else None
        headings[code] = Heading(clean_title(library.get_description(code)), parent, library.is_leaf(code))
    return headings


def _write_cache(path: Path, headings: dict[str, Heading]) -> None:
    rows = [f"{code}\t{heading.parent or ''}\t{int(heading.billable)}\t{heading.title}" for code, heading in headings.items()]
    write_text(path, "\n".join([*rows, f"end\t{len(rows)}"]))


def _read_cache(path: Path) -> dict[str, Heading]:
    *rows, end = path.read_text(encoding="utf-8").split("\n")
    if end != f"end\t{len(rows)}":
        raise ValueError(f"{path} was not written to its end")
    headings: dict[str, Heading] = {}
    for row in rows:
        code, parent, billable, title = row.split("\t")
        headings[code] = Heading(title, parent or None, billable == "1")
    return headings
