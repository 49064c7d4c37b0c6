"""Read the XML of the tabular list that CMS publishes each year, plain or gzip: its hierarchy, notes and 7th characters.

Layout: `chapter > section > diag > diag …`, sections inside sections included. Source: the CMS "Code Tables, Tabular and
Index" archive, `icd10cm_tabular_YYYY.xml` and its XSD.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from icd10cm.cms_files import read_xml
from icd10cm.errors import CodeFileError

KINDS = {
    "includes": "includes",
    "inclusionTerm": "inclusion_term",
    "excludes1": "excludes1",
    "excludes2": "excludes2",
    "codeFirst": "code_first",
    "useAdditionalCode": "use_additional_code",
    "codeAlso": "code_also",
    "notes": "note",
    "sevenChrNote": "seventh_character_note",
    "sevenChrDef": "seventh_character_note",
    "instruction": "convention",
}
"""Element of the XML to the kind of note it holds."""

_FEWEST_CODES = 40_000
"""No release since 2016 has fewer nodes; a shorter file was cut off."""


class RawNote(NamedTuple):
    """One `<note>` as printed. Notes of one element share a `group`: they are one instruction."""

    node: str
    kind: str
    text: str
    group: int


@dataclass
class RawTabular:
    """What the XML says, references not yet resolved.

    Attributes:
        version: the year in the file.
        titles: node to title, in file order. A node is a chapter (`"4"`), a block (`"E08-E13"`) or a code without its 7th
            character (`"E11.62"`).
        parents: node to the node above it; chapters have none.
        notes: every `<note>` of the file, in file order; those of the introduction have an empty node.
        sevenths: node to its 7th characters and their meaning; they hold for every code below that has none of its own.
    """

    version: str
    titles: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    notes: list[RawNote] = field(default_factory=list)
    sevenths: dict[str, dict[str, str]] = field(default_factory=dict)


def read_tabular_xml(path: Path) -> RawTabular:
    """Read a tabular list.

    Raises:
        CodeFileError: the file is missing, damaged, or not a tabular list of CMS; one line that names it.
    """
    root = read_xml(path, ".tabular", "a tabular list")
    raw = RawTabular(_read_text(root.find("version")))
    for child in root:
        if child.tag == "introduction":
            for section in child:
                _read_notes(section, "", raw)
        elif child.tag == "chapter":
            _read_node(child, _read_text(child.find("name")), "", raw)
    _nest_blocks(raw)
    if len(raw.titles) < _FEWEST_CODES:
        raise CodeFileError(
            f"{path}: holds {len(raw.titles):,} nodes, a tabular list has over {_FEWEST_CODES:,}: download it again"
        )
    return raw


def iterate_leaves(raw: RawTabular) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every code without children with the 7th characters it needs, an empty dict when it needs none."""
    inner = set(raw.parents.values())
    for name in raw.titles:
        if name not in inner and name in raw.parents and "-" not in name:
            yield name, find_sevenths(name, raw.sevenths, raw.parents)


def find_sevenths(name: str, sevenths: dict[str, dict[str, str]], parents: dict[str, str]) -> dict[str, str]:
    """Return the 7th characters in force at a node: its own, or those of the nearest node above."""
    at: str | None = name
    while at:
        if at in sevenths:
            return sevenths[at]
        at = parents.get(at)
    return {}


def pad_code(name: str) -> str:
    """Return `name` with placeholders X up to six characters, ready for the 7th: `T36.95` becomes `T36.95X`."""
    bare = name.replace(".", "").ljust(6, "X")
    return f"{bare[:3]}.{bare[3:]}"


def _read_node(element: Element, name: str, parent: str, raw: RawTabular) -> None:
    raw.titles[name] = _read_text(element.find("desc"))
    if parent:
        raw.parents[name] = parent
    for child in element:
        if child.tag == "section":
            block = child.get("id", "")
            _read_node(child, block if "-" in block else f"{block}-{block}", name, raw)
        elif child.tag == "diag":
            _read_node(child, _read_text(child.find("name")), name, raw)
        elif child.tag == "sevenChrDef":
            raw.sevenths[name] = {x.get("char", ""): _read_text(x) for x in child.iter("extension")}
            _read_notes(child, name, raw)
        else:
            _read_notes(child, name, raw)


def _nest_blocks(raw: RawTabular) -> None:
    """Put each block below the block before it that holds its range: V00-X58, V00-V99 and V00-V09 are printed side by side."""
    chapters = {name: raw.parents[name] for name in raw.titles if "-" in name}
    ranges = {name: (name.split("-")[0], name.split("-")[1]) for name in chapters}
    wider: dict[str, list[str]] = {}
    for name, chapter in chapters.items():
        (first, last), earlier = ranges[name], wider.setdefault(chapter, [])
        holders = [other for other in earlier if ranges[other][0] <= first and last <= ranges[other][1]]
        if holders:
            raw.parents[name] = holders[-1]
        earlier.append(name)


def _read_notes(element: Element, node: str, raw: RawTabular) -> None:
    group = len(raw.notes)
    kind = KINDS.get(element.tag, "convention" if not node else "note")
    for note in element.iter("note"):
        raw.notes.append(RawNote(node, kind, _read_text(note), group))


def _read_text(element: Element | None) -> str:
    return " ".join("".join(element.itertext()).split()) if element is not None else ""
