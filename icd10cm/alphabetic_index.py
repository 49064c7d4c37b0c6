"""Read the indexes that CMS publishes beside the tabular list: each entry as a phrase and the code it leads to.

Layout: `letter > mainTerm > term > term …`, each with a `title` (non-essential modifiers in `nemod`), a `code`, or, in the
Tables of Neoplasms and of Drugs, a `cell` for each column. Source: the CMS "Code Tables, Tabular and Index" archive,
`icd10cm_index_YYYY.xml`, `icd10cm_eindex_YYYY.xml`, `icd10cm_neoplasm_YYYY.xml`, `icd10cm_drug_YYYY.xml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from icd10cm.cms_files import read_xml
from icd10cm.codeset import CodeSet
from icd10cm.errors import CodeFileError


class IndexEntry(NamedTuple):
    """One line of an index.

    Attributes:
        phrase: the main term and every term down to the line, joined by commas, non-essential modifiers in parentheses:
            `Accident (to), boat, boating, striking swimmer, powered`.
        code: code or heading it leads to, dotted.
    """

    phrase: str
    code: str


class AlphabeticIndex(NamedTuple):
    """One index file.

    Attributes:
        entries: the lines that lead to a code or heading of the release, in file order.
        n_references: lines that have no code, only a `see` or `see also`, or none at all; they aren't followed.
        unmapped: entries whose code the release doesn't have, code as printed.
    """

    entries: tuple[IndexEntry, ...]
    n_references: int
    unmapped: tuple[IndexEntry, ...]


def read_index(path: str | Path, codes: CodeSet) -> AlphabeticIndex:
    """Read an index of CMS in XML, plain or gzip.

    A code printed with a dash (`T74.2-`) or short of its 7th character leads to its heading.

    Raises:
        CodeFileError: the file is missing, damaged, or not an index of CMS; one line that names it.
    """
    root = read_xml(Path(path), ".index", "an index")
    heads = {head.get("col", ""): _read_text(head) for head in root.iterfind("indexHeading/head")}
    entries: list[IndexEntry] = []
    unmapped: list[IndexEntry] = []
    n_references = 0
    for main_term in root.iter("mainTerm"):
        for phrase, printed in _read_lines(main_term, heads):
            if not printed:
                n_references += 1
            elif code := find_node(printed, codes):
                entries.append(IndexEntry(phrase, code))
            else:
                unmapped.append(IndexEntry(phrase, printed))
    if not entries:
        raise CodeFileError(f"{path}: no entry leads to a code of release {codes.release}; give an index XML of CMS")
    return AlphabeticIndex(tuple(entries), n_references, tuple(unmapped))


def find_node(printed: str, codes: CodeSet) -> str | None:
    """Return the code or heading that an index means: `T74.2-` is `T74.2`, `Y37.6X-` is `Y37.6X` or what is above it."""
    node = printed.strip().rstrip("-.").upper()
    while len(node) > 2:
        if node in codes.headings:
            return node
        if not node.endswith("X"):
            return None
        node = node[:-1].rstrip(".")
    return None


def _read_lines(main_term: Element, heads: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield phrase and code as printed, empty where a line has none, of a main term and every term below it."""
    waiting = [(main_term, "")]
    while waiting:
        element, above = waiting.pop()
        phrase = ", ".join(part for part in (above, _read_text(element.find("title"))) if part)
        waiting += [(term, phrase) for term in reversed(element.findall("term"))]
        cells = [cell for cell in element.findall("cell") if _read_text(cell).strip("-")]
        for cell in cells:
            yield f"{phrase}, {heads.get(cell.get('col', ''), '').lower()}".rstrip(", "), _read_text(cell)
        printed = [text for code in element.findall("code") if (text := _read_text(code))]
        yield from ((phrase, text) for text in printed)
        if not cells and not printed:
            yield phrase, ""


def _read_text(element: Element | None) -> str:
    """Return the text of an element, modifiers that touch a word set apart."""
    return " ".join(" ".join(element.itertext()).split()) if element is not None else ""
