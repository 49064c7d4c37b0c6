"""Write the list of retired codes that the package carries, from CMS files of successive releases, oldest first.

    python -m icd10cm.retired icd10cm_order_2021.txt icd10cm_codes_2024.txt icd10cm_codes_2025.txt icd10cm_codes_2026.txt \
        --output icd10cm/retired.csv

A code that is missing from one file is given the successors that are valid in the last, through as many releases as it takes.
The files are works of the US government and in the public domain.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, FilePath

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.releases import RETIRED_FILE, Retired, compare
from icd10cm.run_header import write_text
from icd10cm.successors import resolve_chain


class RetiredSettings(Settings):
    """Which releases to compare, and where to write."""

    files: list[FilePath] = Field(min_length=2, description="CMS code or order files, oldest release first")
    output: Path = Field(RETIRED_FILE, description="CSV to write: code, title, last_release, since, successors")


def main(argv: Sequence[str] | None = None) -> None:
    """Compare each release with the next and write every code that went."""
    settings = load_settings(RetiredSettings, argv, doc=__doc__ or "", prog="python -m icd10cm.retired", positional="files")
    retired = collect_retired([CodeSet.load(path) for path in settings.files])
    write_text(settings.output, write_csv(retired))
    say(f"wrote {len(retired):,} retired codes to {settings.output}")


def collect_retired(releases: Sequence[CodeSet]) -> list[Retired]:
    """Return every code that a release has and the last one does not, sorted by code.

    Raises:
        ConfigError: the releases are not named by years, or not in order.
    """
    names = [release.release for release in releases]
    if not all(name.isdigit() for name in names) or sorted(set(names)) != names:
        raise ConfigError(f"the files are of the releases {', '.join(names)}; give files named by year, oldest first")
    last = releases[-1]
    later: dict[str, tuple[str, ...]] = {}
    found: dict[str, Retired] = {}
    for old, new in reversed(list(itertools.pairwise(releases))):
        first_without = int(old.release) + 1
        since = new.release if new.release == str(first_without) else f"{first_without}-{new.release}"
        successors = compare(old, new).successors
        for code, replaced in successors.items():
            if not last.is_billable(code) and code not in found:
                found[code] = Retired(code, old.title(code), old.release, since, resolve_chain(replaced, later))
        later |= {code: retired.successors for code, retired in found.items()}
    return [found[code] for code in sorted(found)]


def write_csv(retired: Sequence[Retired]) -> str:
    """Return the list as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Retired._fields)
    writer.writerows((*row[:-1], ";".join(row.successors)) for row in retired)
    return text.getvalue()


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
