"""Releases of ICD-10-CM: what changed from one to another, which one a date of service needs, which codes are retired.

>>> find_release("2025-09-30"), find_release("2025-10-01")
('2025', '2026')
>>> find_retired("G35").successors[0]
'G35.D'
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from icd10cm.code_files import guess_release
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.errors import ConfigError, DataError
from icd10cm.successors import find_successors, fold_title

RETIRED_FILE = Path(__file__).with_name("retired.csv")
_FIRST_DAY = date(2015, 10, 1)
_CODE_FILE = re.compile(r"icd10cm.*?(codes|order).*\.txt(\.gz)?", re.IGNORECASE)
_APRIL = "-04"

T = TypeVar("T")


class Retitled(NamedTuple):
    """A code whose title changed.

    Attributes:
        code: dotted.
        old: title before.
        new: title after.
        only_spelling: whether the two differ in case, punctuation, white space or a possessive s only.
    """

    code: str
    old: str
    new: str
    only_spelling: bool


class Comparison(NamedTuple):
    """What changed between two releases; codes are dotted and sorted.

    Attributes:
        old: name of the first release.
        new: name of the second.
        added: billable in the second only.
        deleted: billable in the first only.
        retitled: billable in both, with another title.
        newly_non_billable: those of `deleted` that are headings now: more characters are needed.
        newly_billable: those of `added` that were headings before.
        successors: each code of `deleted` to the codes of the second release that replace it, likeliest first.
    """

    old: str
    new: str
    added: tuple[str, ...]
    deleted: tuple[str, ...]
    retitled: tuple[Retitled, ...]
    newly_non_billable: tuple[str, ...]
    newly_billable: tuple[str, ...]
    successors: dict[str, tuple[str, ...]]


class Retired(NamedTuple):
    """A code that was billable once and is not any more.

    Attributes:
        code: dotted.
        title: its last known title.
        last_release: the last release compared that has it.
        since: the release it is missing from, or a range such as `2022-2024` where the releases between were not compared.
        successors: billable codes of the embedded release that replace it, likeliest first; may be empty.
    """

    code: str
    title: str
    last_release: str
    since: str
    successors: tuple[str, ...]


def compare(a: CodeSet | str | Path, b: CodeSet | str | Path) -> Comparison:
    """Return what changed from release `a` to release `b`, each a code set or the path of a CMS code or order file.

    Whether a code became a heading is seen from the codes below it, so that plain code files, without headings, do too.

    Raises:
        CodeFileError: a file is missing or is not a whole code file.
    """
    old, new = (source if isinstance(source, CodeSet) else CodeSet.load(source) for source in (a, b))
    before, after = set(old.codes), set(new.codes)
    added, deleted = tuple(sorted(after - before)), tuple(sorted(before - after))
    retitled = (
        Retitled(code, old.title(code), new.title(code), fold_title(old.title(code)) == fold_title(new.title(code)))
        for code in sorted(before & after)
        if old.title(code) != new.title(code)
    )
    headings_before, headings_after = _list_headings(old), _list_headings(new)
    return Comparison(
        old=old.release,
        new=new.release,
        added=added,
        deleted=deleted,
        retitled=tuple(retitled),
        newly_non_billable=tuple(code for code in deleted if code in headings_after),
        newly_billable=tuple(code for code in added if code in headings_before),
        successors=find_successors(deleted, old, new, added),
    )


def find_release(day: date | str) -> str:
    """Return the name of the release in force on a date of service or discharge, such as `"2026"` from 2025-10-01 on.

    A release holds from 1 October to 30 September; an update on 1 April adds codes to it and keeps its name.

    Raises:
        ConfigError: not a date, or before ICD-10-CM came into use on 1 October 2015.
    """
    parsed = _read_day(day)
    if parsed < _FIRST_DAY:
        raise ConfigError(f"{day}: ICD-10-CM is in use since {_FIRST_DAY}; earlier services are coded in ICD-9-CM")
    return str(parsed.year + (parsed.month >= 10))


def list_releases(folder: Path) -> dict[str, Path]:
    """Return release to CMS file for a folder of code and order files; `2026-04` is an April update of 2026.

    Of two files of a release the order file counts, since it has the headings; addenda do not.

    Raises:
        DataError: the folder is missing or holds no code file whose name has its year.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("**/*")) if folder.is_dir() else ():
        match = _CODE_FILE.fullmatch(path.name)
        release = guess_release(path)
        if match is None or "addend" in path.name.lower() or release == "unknown":
            continue
        name = f"{release}{_APRIL}" if "april" in str(path.relative_to(folder)).lower() else release
        if name not in found or match[1].lower() == "order":
            found[name] = path
    if not found:
        raise DataError(f"{folder}: no CMS code files such as icd10cm_codes_2026.txt; download them from the CMS ICD-10 page")
    return found


def pick_release(day: date | str, releases: Mapping[str, T]) -> T:
    """Return what `releases` holds for a date of service: from 1 April on the April update, where there is one.

    Args:
        day: the date, or its ISO text.
        releases: release name to anything: a path of `list_releases`, a `CodeSet`, a checkpoint.

    Raises:
        ConfigError: not a date that ICD-10-CM covers.
        DataError: the release of that day is not among them.
    """
    release, parsed = find_release(day), _read_day(day)
    april = f"{release}{_APRIL}"
    if april in releases and 4 <= parsed.month < 10:
        return releases[april]
    if release not in releases:
        raise DataError(f"{day} needs release {release}, but there is only {', '.join(sorted(releases)) or 'none'}")
    return releases[release]


def find_retired(text: str) -> Retired | None:
    """Return what is known of a retired code in any usual spelling; None where it is valid or never existed."""
    return _read_retired().get(add_dot(text))


def list_retired() -> tuple[Retired, ...]:
    """Return every retired code that is known, sorted by code."""
    return tuple(_read_retired().values())


@functools.cache
def _read_retired() -> dict[str, Retired]:
    with RETIRED_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {
        code: Retired(code, title, last, since, tuple(filter(None, joined.split(";"))))
        for code, title, last, since, joined in rows
    }


def _list_headings(codes: CodeSet) -> set[str]:
    return _list_prefixes(codes.codes) | {code for code, heading in codes.headings.items() if not heading.billable}


def _list_prefixes(codes: Iterable[str]) -> set[str]:
    return {code[:end].rstrip(".") for code in codes for end in range(3, len(code))}


def _read_day(day: date | str) -> date:
    if isinstance(day, datetime):
        return day.date()
    if isinstance(day, date):
        return day
    try:
        return date.fromisoformat(str(day).strip())
    except ValueError:
        raise ConfigError(f"{str(day)[:40]!r} is not a date; write year-month-day, such as 2025-10-01") from None
