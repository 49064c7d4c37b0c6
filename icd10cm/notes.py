"""Show what the tabular list says of a code: its place, its notes and those it inherits, its 7th characters.

icdtune notes E11.621
icdtune notes S52.501A --json
icdtune notes --summary --tabular-file icd10cm_tabular_2025.xml
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from pydantic import Field, FilePath

from icd10cm.codeset import add_dot
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, UnknownCodeError
from icd10cm.tabular import Note, Tabular

STATUSES = ("resolved", "partly", "unresolved", "none")


class NotesSettings(Settings):
    """What to show."""

    codes: list[str] = Field([], description="codes, blocks (E08-E13) or chapters (4)")
    summary: bool = Field(
        False, description="count the notes of the whole file by kind, and how many of their references are read"
    )
    tabular_file: FilePath | None = Field(None, description="CMS tabular XML of a release; the embedded one when empty")
    as_json: bool = Field(False, description="write JSON, one object per code")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the notes of each code, or the summary."""
    settings = load_settings(NotesSettings, argv, doc=__doc__ or "", prog="icdtune notes", positional="codes")
    if not settings.codes and not settings.summary:
        raise ConfigError("nothing to show: give a code (icdtune notes E11.621) or --summary")
    tabular = Tabular.load(settings.tabular_file)
    if settings.summary:
        print(_write_summary(tabular))
    for text in settings.codes:
        name = text if text in tabular.titles else add_dot(text)
        nodes = tabular.ancestors(name)
        if len(nodes) == 1 and name not in tabular.titles:
            raise UnknownCodeError(f"{text!r} is no code, block or chapter of the tabular list of release {tabular.release}")
        print(_write_json(name, tabular) if settings.as_json else _write_table(name, tabular))
    say(f"Tabular list of release {tabular.release} ({tabular.source}).")


def count_notes(tabular: Tabular) -> Counter[tuple[str, str]]:
    """Return the number of notes by kind and status of their references (`STATUSES`)."""
    return Counter((note.kind, note.status) for note in tabular.all_notes())


def _write_summary(tabular: Tabular) -> str:
    counts = count_notes(tabular)
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    lines = [f"{'kind of note':<24}{'notes':>8}" + "".join(f"{status:>14}" for status in (*STATUSES[:-1], "no reference"))]
    for kind in (*kinds, "all"):
        row = [sum(n for (k, s), n in counts.items() if kind in (k, "all") and s == status) for status in STATUSES]
        lines.append(f"{kind:<24}{sum(row):>8,}" + "".join(f"{number:>14,}" for number in row))
    return "\n".join(lines)


def _write_json(name: str, tabular: Tabular) -> str:
    notes = [note._asdict() for note in tabular.notes(name, inherited=True)]
    content = {
        "code": name,
        "above": tabular.ancestors(name),
        "notes": notes,
        "seventh": dict(tabular.seventh_characters(name)),
    }
    return json.dumps(content, ensure_ascii=False)


def _write_table(name: str, tabular: Tabular) -> str:
    lines = []
    for node in reversed(tabular.ancestors(name)):
        lines.append(f"{node:<9} {tabular.titles.get(node, '')}".rstrip())
        lines += [f"{'':10}{note.kind.replace('_', ' ')}: {note.text}{_name_targets(note)}" for note in tabular.notes(node)]
    sevenths = tabular.seventh_characters(name)
    lines += [f"{'':10}7th character {char}: {meaning}" for char, meaning in sevenths.items()]
    return "\n".join(lines)


def _name_targets(note: Note) -> str:
    return f"  [not read: {'; '.join(note.unresolved)}]" if note.unresolved else ""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
