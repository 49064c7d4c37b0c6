"""Find codes by words in any order, abbreviations, misspellings, or the beginning of a code.

icdtune search "T2DM w/ foot ulcer"
icdtune search "fracutre of rigth femur" --limit 3 --json
icdtune search e11.6
icdtune search --index-file icd10cm_index_2026.xml icd10cm_eindex_2026.xml < phrases.txt

A code is found by its title, by an inclusion term of the tabular list, or by an entry of the index files given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from pydantic import Field, FilePath, PositiveInt

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.search import Hit, SearchIndex
from icd10cm.search.entries import CODE, TITLE
from icd10cm.tabular import Tabular


class LookupSettings(Settings):
    """What to look for, and where."""

    phrase: str | None = Field(None, description="words to look for; one phrase per line of standard input when left out")
    limit: PositiveInt = Field(10, description="most codes to show for a phrase")
    headings: bool = Field(False, description="also codes that are not billable")
    index_file: list[FilePath] = Field([], description="index files of CMS in XML, whose entries are searched as well")
    code_file: FilePath | None = Field(None, description="CMS code or order file of the release; the embedded one when empty")
    tabular_file: FilePath | None = Field(None, description="CMS tabular XML of the release; the embedded one when empty")
    as_json: bool = Field(False, description="write JSON, one object per phrase")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the codes found for each phrase."""
    settings = load_settings(LookupSettings, argv, doc=__doc__ or "", prog="icdtune search", positional="phrase")
    phrases = _read_phrases() if settings.phrase is None else [settings.phrase]
    if not any(phrase.strip() for phrase in phrases):
        raise ConfigError('nothing to look for: give words (icdtune search "foot ulcer") or lines on standard input')
    codes = CodeSet.load(settings.code_file)
    tabular = Tabular.load(settings.tabular_file) if settings.tabular_file else None
    index = SearchIndex.load(codes, tabular, settings.index_file)
    for phrase in phrases:
        hits = index.search(phrase, settings.limit, billable_only=not settings.headings)
        print(_write_json(phrase, hits) if settings.as_json else _write_table(phrase, hits, codes))
    say("Decision support only: a certified coder decides.")


def _read_phrases() -> list[str]:
    if sys.stdin.isatty():
        say('reading one phrase per line, end with Ctrl-D (or: icdtune search "foot ulcer")')
    return [line.strip() for line in sys.stdin if line.strip()]


def _write_json(phrase: str, hits: Sequence[Hit]) -> str:
    return json.dumps({"text": phrase, "hits": [hit._asdict() for hit in hits]}, ensure_ascii=False)


def _write_table(phrase: str, hits: Sequence[Hit], codes: CodeSet) -> str:
    if not hits:
        advice = "try fewer words, or the name of the disease or the injured part alone"
        return f"{phrase}\n  nothing found in release {codes.release}: {advice}"
    lines = [phrase]
    for hit in hits:
        other = "" if hit.kind in (TITLE, CODE) else f"   ({hit.kind}: {hit.matched})"
        heading = "" if codes.is_billable(hit.code) else "   (heading, not billable)"
        lines.append(f"  {hit.code:<8}  {hit.title}{other}{heading}")
    return "\n".join(lines)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
