"""Tabular: the instructional notes of the tabular list as data, for one release.

>>> tabular = Tabular.load()
>>> [note.text for note in tabular.notes("E11.621", "use_additional_code")]
['code to identify site of ulcer (L97.4-, L97.5-)']
>>> tabular.notes("E11.621", "excludes1", inherited=True)[0].targets
('E08',)

Reading the XML and resolving its 26,000 notes takes about two seconds; the result is kept as a file of columns, which
loads in a tenth of that.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from icd10cm.cms_files import read_bytes
from icd10cm.embedded import RELEASE, find_cache_folder
from icd10cm.errors import UnknownCodeError
from icd10cm.references import NodeIndex, resolve
from icd10cm.run_header import write_text
from icd10cm.tabular_xml import RawTabular, find_sevenths, iterate_leaves, pad_code, read_tabular_xml

_PACKAGE = "simple-icd-10-cm"
_CACHE_FORMAT = 2


class Note(NamedTuple):
    """One note of the tabular list.

    Attributes:
        node: where it stands: a code, a block (`"E08-E13"`) or a chapter (`"4"`).
        kind: `includes`, `inclusion_term`, `excludes1`, `excludes2`, `code_first`, `use_additional_code`, `code_also`,
            `note`, `seventh_character_note` or `convention` (of the introduction).
        text: as printed.
        targets: nodes it names: codes (which stand for all codes that begin so), blocks or chapters.
        unresolved: references that could not be read, as printed.
        group: notes of one instruction, such as the lines of one "Code first" list, share it.
    """

    node: str
    kind: str
    text: str
    targets: tuple[str, ...]
    unresolved: tuple[str, ...]
    group: int

    @property
    def status(self) -> str:
        """`resolved`, `partly`, `unresolved`, or `none` when the note refers to nothing."""
        if self.unresolved:
            return "partly" if self.targets else "unresolved"
        return "resolved" if self.targets else "none"


@dataclass(frozen=True)
class Tabular:
    """The tabular list of one release. Methods take a code with its dot, a block or a chapter.

    Attributes:
        release: the year in the file, `"2026"`.
        titles: node to title, codes without their 7th character, blocks and chapters.
        parents: node to the node above it; chapters have none.
        sevenths: node to the 7th characters defined there and what they mean.
        source: where it was read from.
    """

    release: str
    titles: Mapping[str, str]
    parents: Mapping[str, str]
    sevenths: Mapping[str, Mapping[str, str]]
    source: str
    _notes: tuple[Note, ...]

    @staticmethod
    def load(path: str | Path | None = None) -> Tabular:
        """Read a tabular list.

        Args:
            path: a tabular XML of CMS of any release, plain or gzip; the April 2026 one of the package
                `simple-icd-10-cm` when omitted.

        Raises:
            CodeFileError: the file is missing, damaged or another file.
        """
        if path is None:
            return _load_embedded()
        return _load_file(Path(path), f"tabular-{hashlib.sha256(read_bytes(Path(path))).hexdigest()[:16]}", str(path))

    def all_notes(self) -> tuple[Note, ...]:
        """Return every note of the file, in its order."""
        return self._notes

    def notes(self, name: str, kind: str | None = None, inherited: bool = False) -> tuple[Note, ...]:
        """Return the notes at a node, nearest first.

        Args:
            name: code (any length, known or not), block or chapter.
            kind: one kind of note only.
            inherited: also those of every node above, up to the chapter.
        """
        nodes = self.ancestors(name) if inherited else (name,)
        return tuple(note for node in nodes for note in self._by_node.get(node, ()) if kind is None or note.kind == kind)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return a node and everything above it, nearest first: `E11.621`, `E11.62`, `E11.6`, `E11`, `E08-E13`, `4`.

        A full code also has its parts before the 7th character; an unknown code has those of its parts that are known.
        """
        found = [name]
        at = name
        while at not in self.parents and len(at) > 3 and "-" not in at:
            at = at[:-1].rstrip(".")
            if at in self.parents:
                found.append(at)
        while at := self.parents.get(at, ""):
            found.append(at)
        return tuple(found)

    def title(self, name: str) -> str:
        """Return the title of a node. Raises `UnknownCodeError`."""
        try:
            return self.titles[name]
        except KeyError:
            raise UnknownCodeError(f"{name!r} is not a node of the tabular list of release {self.release}") from None

    def seventh_characters(self, code: str) -> Mapping[str, str]:
        """Return the 7th characters in force at a code and their meaning; empty when it takes none."""
        for node in self.ancestors(code):
            if node in self.sevenths:
                return self.sevenths[node]
        return {}

    @functools.cached_property
    def _by_node(self) -> dict[str, list[Note]]:
        by_node: dict[str, list[Note]] = {}
        for note in self._notes:
            by_node.setdefault(note.node, []).append(note)
        return by_node


@functools.cache
def _load_embedded() -> Tabular:
    version = importlib.metadata.version(_PACKAGE)
    return _load_file(find_embedded_xml(), f"tabular-{version}", f"{_PACKAGE} {version}", RELEASE)


def find_embedded_xml() -> Path:
    """Return the tabular XML inside the package `simple-icd-10-cm`, without importing it (an import takes over a second)."""
    files = importlib.metadata.files(_PACKAGE) or []
    return Path(str(next(file for file in files if file.name.endswith(".xml")).locate()))


def _load_file(path: Path, name: str, source: str, release: str | None = None) -> Tabular:
    cache = find_cache_folder() / f"{name}-{_CACHE_FORMAT}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _build(json.loads(cache.read_text(encoding="utf-8")), source)
    columns = _resolve_all(read_tabular_xml(path), release)
    with contextlib.suppress(OSError):
        write_text(cache, json.dumps(columns, ensure_ascii=False, separators=(",", ":")))
    return _build(columns, source)


def _resolve_all(raw: RawTabular, release: str | None) -> dict[str, object]:
    """Return the tabular list as columns, references resolved."""
    expanded = {
        leaf: tuple(pad_code(leaf) + char for char in find_sevenths(leaf, raw.sevenths, raw.parents))
        for leaf, sevenths in iterate_leaves(raw)
        if sevenths
    }
    index = NodeIndex({name: raw.parents.get(name, "") for name in raw.titles}, expanded)
    references = [resolve(note.text, index) for note in raw.notes]
    return {
        "release": release or raw.version,
        "nodes": [list(raw.titles), list(raw.titles.values()), [raw.parents.get(name, "") for name in raw.titles]],
        "sevenths": raw.sevenths,
        "notes": [
            *map(list, zip(*((note.node, note.kind, note.text) for note in raw.notes), strict=True)),
            [" ".join(found.targets) for found in references],
            ["\t".join(found.unresolved) for found in references],
            [note.group for note in raw.notes],
        ],
    }


def _build(columns: dict, source: str) -> Tabular:
    names, titles, above = columns["nodes"]
    node, kind, text, targets, unresolved, group = columns["notes"]
    notes = tuple(map(Note, node, kind, text, map(_split_blanks, targets), map(_split_tabs, unresolved), group))
    return Tabular(
        release=columns["release"],
        titles=dict(zip(names, titles, strict=True)),
        parents={name: parent for name, parent in zip(names, above, strict=True) if parent},
        sevenths=columns["sevenths"],
        source=source,
        _notes=notes,
    )


def _split_blanks(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _split_tabs(text: str) -> tuple[str, ...]:
    return tuple(text.split("\t")) if text else ()
