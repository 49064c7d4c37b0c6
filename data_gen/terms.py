"""What else a code is called: inclusion terms of the tabular list, bare names, and entries of an index of the user's.

A term counts for a code only where it has one meaning: it stands at the code, or at a heading whose codes differ in the
7th character alone, which is then added in the words of the code's title.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_gen.bare_names import list_bare_names, read_bare_names
from data_gen.checks import BARE_NAME, list_meanings
from data_gen.folding import fold_text
from icd10cm.alphabetic_index import read_index
from icd10cm.codeset import CodeSet
from icd10cm.tabular import Tabular

_FULL_LENGTH = len("S52.501A")
_REFERS = re.compile(
    r"\b(?:any|conditions?|codes?|categor\w+|classifi\w+|listed|above|below|see|following|those|this|these|such as"
    r"|specified in)\b",
    re.IGNORECASE,
)
_MODIFIER = re.compile(r" ?\([^()]*\)")
_MARK = re.compile(r",? ?\bNEC\b")
_FEWEST_LETTERS = 5


class Term(NamedTuple):
    """A phrase that means a code.

    Attributes:
        text: as printed, with the encounter where the code has one.
        source: `rules:inclusion_term`, `rules:index` or `rules:bare_name`.
    """

    text: str
    source: str


def collect_terms(codeset: CodeSet, tabular: Tabular, index_files: Iterable[Path] = ()) -> Mapping[str, Sequence[Term]]:
    """Return billable code to its terms, none of which means another code.

    Raises:
        CodeFileError: a file is not an index of CMS.
    """
    printed = [
        (note.node, Term(note.text, "rules:inclusion_term")) for note in tabular.all_notes() if note.kind == "inclusion_term"
    ]
    for path in index_files:
        entries = read_index(path, codeset).entries
        printed += [(entry.code, Term(_tidy_entry(entry.phrase), "rules:index")) for entry in entries if "," in entry.phrase]
    at_node = list_meanings(
        [*((term.text, node) for node, term in printed), *((head.title, code) for code, head in codeset.headings.items())]
    )
    terms: dict[str, dict[str, Term]] = {}
    for code, term in _list_bare(codeset, printed, at_node):
        terms.setdefault(code, {}).setdefault(fold_text(term.text), term)
    for node, term in printed:
        if at_node.get(fold_text(term.text)) != node or not _is_phrase(term.text):
            continue
        for code, text in _spread(node, term.text, codeset):
            terms.setdefault(code, {}).setdefault(fold_text(text), Term(text, term.source))
    return {code: tuple(found.values()) for code, found in terms.items()}


def _list_bare(codeset: CodeSet, printed: Sequence[tuple[str, Term]], at_node: Mapping[str, str]) -> Iterator[tuple[str, Term]]:
    """Yield billable code and bare name, if no other code has that name, but for the headings above."""
    names = [(code, codeset.title(code)) for code in codeset.codes]
    names += [(node, term.text) for node, term in printed if codeset.is_billable(node) and _is_phrase(term.text)]
    bare = [(text, code) for code, name in names for text in list_bare_names(name)]
    bare += [(name, code) for code, name in read_bare_names() if codeset.is_billable(code)]
    owners = list_meanings(bare)
    for text, code in bare:
        other = at_node.get(fold_text(text), code)
        if owners[fold_text(text)] == code and other and code.startswith(other):
            yield code, Term(text, BARE_NAME)


def _is_phrase(text: str) -> bool:
    """Whether a note names a condition by itself, and does not speak of other codes or other notes."""
    return len(text) >= _FEWEST_LETTERS and not _REFERS.search(text) and text.count("(") == text.count(")")


def _tidy_entry(phrase: str) -> str:
    """Return an index entry without non-essential modifiers: `Accident (to), boat, sinking` is `Accident, boat, sinking`."""
    return " ".join(_MARK.sub("", _MODIFIER.sub("", phrase)).replace(" ,", ",").split())


def _spread(node: str, text: str, codeset: CodeSet) -> list[tuple[str, str]]:
    """Return (code, text) for the code at `node`, or for each of its codes that differ in the 7th character only."""
    if codeset.is_billable(node):
        return [(node, text)]
    if node not in codeset.headings:
        return []
    below = codeset.children(node)
    while below and not codeset.is_billable(below[0]):
        # the placeholders before a 7th character are headings of some code sets
        below = codeset.children(below[0]) if len(below) == 1 else ()
    stem = node.ljust(_FULL_LENGTH - 1, "X") if "." in node else f"{node}.".ljust(_FULL_LENGTH - 1, "X")
    title = codeset.title(node)
    if not below or not title or any(code[:-1] != stem or not codeset.title(code).startswith(f"{title}, ") for code in below):
        return []
    return [(code, f"{text}{codeset.title(code)[len(title) :]}") for code in below]
