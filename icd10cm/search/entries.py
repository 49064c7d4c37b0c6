"""What a search finds: titles, inclusion terms and index entries, each as words with the part they play.

A title says some things that nobody asks for: that a side is unspecified, that a complication is absent. Such words are
told apart here, so that `pneumonia` means `Pneumonia, unspecified organism` before it means `Lobar pneumonia`.
"""

from __future__ import annotations

import bisect
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from icd10cm.alphabetic_index import IndexEntry
from icd10cm.codeset import CodeSet
from icd10cm.tabular import Tabular

TITLE, INCLUSION_TERM, INDEX, CODE = "title", "inclusion term", "index", "code"

TERM_KINDS = ("inclusion_term", "includes")
"""Notes of the tabular list that name a condition; both are found as inclusion terms."""

_WORD = re.compile(r"[a-z0-9]+")
_POSSESSIVE = re.compile(r"(?<=[a-z])['’]s\b")
_NEUTRAL = re.compile(
    r"\([^()]*\)|\[[^\[\]]*\]"
    r"|,\s*unspecified\b(?:(?!\bwith|\bdue\b|\bnot\b|\bin\b)[^,])*|,[^,]*\b(?:unspecified|not specified|not stated)\s*(?=,|$)"
    r"|\bunspecified (?:site|part|type|organism|severity|cause|nature|stage|level|degree|trimester|side|laterality)s?\b"
    r"|\bnot elsewhere classified\b|\b(?:unspecified|nos|nec|uncomplicated|female|male)\b|\bwithout complications?\b"
    r"|,\s*initial encounter(?: for (?:closed )?fracture)?(?=$|,)"
)
_UNDECIDED = re.compile(r",?\s*\bunspecified whether[^,]*")
_NEGATED = re.compile(
    r"\b(?:without|not)\b(?: (?:evidence|loss|mention|signs|diagnosis) of\b)?[^,]*?(?=,|\band\b|\bof\b|\bwith\b|$)"
)
_EITHER = re.compile(r"\b[a-z-]+ (?:and/or|and|or) [a-z-]+\b")
_MOST_DESCENDANTS = 100
"""A term at a heading with more codes below leads to the least specific of them only."""


class Roles(NamedTuple):
    """The words of a text, lower case, by the part they play.

    Attributes:
        core: what is said.
        either: what is joined by `and` or `or`; in titles `and` means `and/or` (Official Guidelines, I.A.14).
        negated: what is said to be absent: `without hematuria`.
        neutral: what says nothing more: `unspecified`, an optional modifier in parentheses, an initial encounter.
    """

    core: Sequence[str]
    either: Sequence[str] = ()
    negated: Sequence[str] = ()
    neutral: Sequence[str] = ()


class Entry(NamedTuple):
    """A text that leads to a code.

    Attributes:
        code: billable code or heading.
        kind: `title`, `inclusion term` or `index`.
        text: as printed.
        roles: its words, and for a term of a heading also what the code's title says beyond the heading's.
        repeated: whether the same text has come before, at the heading or another code below it.
    """

    code: str
    kind: str
    text: str
    roles: Roles
    repeated: bool = False


def split_words(text: str) -> list[str]:
    """Return the words and numbers of a text, lower case, without accents and possessives."""
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _WORD.findall(_POSSESSIVE.sub("", plain.lower()))


def split_roles(text: str) -> Roles:
    """Return the words of a title or term by the part they play.

    >>> split_roles("Acute cystitis (bacterial) without hematuria, unspecified site")
    Roles(core=('acute', 'cystitis'), either=(), negated=('without', 'hematuria'), neutral=('bacterial', 'unspecified', 'site'))
    """
    either: list[str] = []
    negated: list[str] = []
    neutral: list[str] = []
    rest = text.lower()
    for pattern, words in ((_UNDECIDED, negated), (_NEUTRAL, neutral), (_NEGATED, negated), (_EITHER, either)):
        rest = pattern.sub(functools.partial(_take, words), rest)
    core = split_words(rest)
    if not core and not either:
        return Roles(tuple(neutral + negated))
    return Roles(tuple(core), tuple(either), tuple(negated), tuple(neutral))


def _take(words: list[str], found: re.Match[str]) -> str:
    words += split_words(found[0])
    return " "


def collect_entries(codes: CodeSet, tabular: Tabular | None, index_entries: Iterable[IndexEntry] = ()) -> Iterator[Entry]:
    """Yield every text that leads to a code of the release: titles first, in the order of the code set.

    A term at a heading is repeated for each billable code below it. Terms of codes that the release lacks are left out.
    """
    roles = {code: split_roles(heading.title) for code, heading in codes.headings.items() if heading.title}
    for code, heading in codes.headings.items():
        if heading.title:
            yield Entry(code, TITLE, heading.title, roles[code])
    notes = tabular.all_notes() if tabular else ()
    terms = [(note.node, INCLUSION_TERM, note.text) for note in notes if note.kind in TERM_KINDS]
    terms += [(entry.code, INDEX, entry.phrase) for entry in index_entries]
    above = {node: split_roles(tabular.titles.get(node, "")) for node, _, _ in terms} if tabular else {}
    for node, kind, text in dict.fromkeys(terms):
        said = split_roles(text)
        if not any(said):
            continue
        if node in roles:
            yield Entry(node, kind, text, said)
        for number, code in enumerate(_list_descendants(node, codes, roles)):
            all_said = _add_difference(said, roles[code], roles.get(node) or above.get(node, Roles(())))
            yield Entry(code, kind, text, all_said, repeated=node in roles or number > 0)


def _list_descendants(node: str, codes: CodeSet, roles: dict[str, Roles]) -> list[str]:
    """Return the billable codes below a heading, or the one that says least beyond it where they are too many.

    A heading that a plain code file doesn't list is found by the codes that begin with it.
    """
    if node in codes.headings and codes.is_billable(node):
        return []
    low, high = bisect.bisect_left(codes.codes, node), bisect.bisect_left(codes.codes, f"{node}~")
    found = list(codes.codes[low:high])
    if len(found) > _MOST_DESCENDANTS:
        return [min(found, key=lambda code: (len(roles[code].core), code))]
    return found


def _add_difference(said: Roles, below: Roles, above: Roles) -> Roles:
    """Return the words of a term, and those that a title below the heading adds to the heading's."""
    known = {word for words in (*above, *said) for word in words}
    added = ([word for word in words if word not in known] for words in below)
    return Roles(*((*mine, *more) for mine, more in zip(said, added, strict=True)))
