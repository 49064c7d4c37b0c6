"""The codes that a note of the tabular list names in its free text: `(E08-E13 with .62-)` becomes E08.62, E09.62 … E13.62.

What is read: codes, `I82.4-`, ranges, lists, `with .51-.52`, `with fifth or sixth character 1-4`, `with 7th character B`,
`with final characters -23`, `except T74`, chapters. What cannot be read is kept as it is printed, never guessed.

>>> codes = ("E08", "E08.0", "E08.6", "E08.61", "E08.62", "E09", "E09.0", "E09.6", "E09.61", "E09.62")
>>> index = NodeIndex({code: code[:-1].rstrip(".") if len(code) > 3 else "" for code in codes}, {})
>>> resolve("skin disorders in diabetes (E08-E09 with .62-)", index)
References(targets=('E08.62', 'E09.62'), unresolved=(), found=1)
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_CODE = r"(?<![A-Za-z0-9.])[A-Z](?:[0-9][0-9A-Z]|[A-Z][0-9])(?![0-9A-Za-z])(?:\.[0-9A-Z]{1,4}(?![0-9A-Z]))?"
_ITEM = re.compile(
    rf"(?P<first>{_CODE})(?P<open>\.?-(?![A-Z0-9-])|\.(?=[ ,;)]))?"
    rf"(?:(?:\.?--?| ?- ?(?<=[ -])|(?:\.-)? to )(?P<last>{_CODE})(?:\.?-)?)?"
)
_QUALIFIER = re.compile(r"[ ,]*with (?P<what>[^()]*)")
_ORDINALS = {"fourth": 4, "4th": 4, "fifth": 5, "5th": 5, "sixth": 6, "six": 6, "6th": 6, "seventh": 7, "7th": 7}
_ORDINAL = "|".join(_ORDINALS)
_POSITION = re.compile(
    rf"(?P<first>{_ORDINAL})(?: (?P<join>or|to) (?P<second>{_ORDINAL}))?[- ]characters? (?P<values>to indicate intent|.+)"
)
_OUTSIDE = re.compile(rf"\)( with (?:{_ORDINAL})[^()]*characters? [A-Z0-9]+)")
_FINAL = re.compile(r"final characters? (?P<values>.+)")
_SUFFIXES = re.compile(r"\.?\d+-?(?:(?:[,.]? +|,|-)(?:or )?\.?\d+-?)*")
_CHAPTER = re.compile(r"\b[Cc]hapter (\d{1,2})\b")
_EXCEPT = re.compile(r",? except\b")
_CUE = re.compile(
    r"(?:\b(?:to|in|as|from|category|categories|subcategory|subcategories|codes?|with|under|and|or|either|see)|[,;:(-]) *$"
)
_ELSEWHERE = re.compile(
    r"(?:\bsee\b|\bcode to (?!identify|specify)|- ?code the\b|\bomit code|\bclassified according|\bshould not be coded).*",
    re.IGNORECASE,
)

MISPRINTS = {
    "(I69.01-I69.11-, I69.21-I69.31-, I69.81- I69.91-)": "(I69.01-, I69.11-, I69.21-, I69.31-, I69.81-, I69.91-)",
}
"""Printed text that reads as another list than the one meant: a dash stands where a comma belongs."""


class References(NamedTuple):
    """Attributes: `targets` nodes named, `unresolved` what could not be read, `found` number of references of both kinds."""

    targets: tuple[str, ...]
    unresolved: tuple[str, ...]
    found: int


class NodeIndex:
    """The nodes of a tabular list, for looking up codes, ranges and characters at a position.

    Args:
        parents: node to the node above it (`""` for none), codes with and without children, blocks and chapters.
        expanded: leaf that needs a 7th character to the full codes it stands for.
    """

    def __init__(self, parents: Mapping[str, str], expanded: Mapping[str, tuple[str, ...]]) -> None:
        self.parents = parents
        self.codes = [name for name in parents if "-" not in name and not name.isdigit()]
        self._places = {code: place for place, code in enumerate(self.codes)}
        self._sorted = sorted(self.codes)
        self._full = {code: leaf for leaf, codes in expanded.items() for code in codes}
        self._expanded = expanded
        self._children: dict[str, list[str]] = {}
        for name, parent in parents.items():
            self._children.setdefault(parent, []).append(name)

    def __contains__(self, code: str) -> bool:
        return code in self._places or code in self._full

    def list_range(self, first: str, last: str) -> list[str]:
        """Return the codes from `first` to `last` and below it in the order of the list (D3A stands before D37).

        An end that does not exist is replaced by its nearest neighbour inside the range.
        """
        start = self._places.get(first)
        if start is None:
            after = bisect.bisect_left(self._sorted, first)
            start = self._places[self._sorted[after]] if after < len(self._sorted) else len(self.codes)
        end = self._places.get(last)
        if end is None:
            before = bisect.bisect_right(self._sorted, last + "~") - 1
            end = self._places[self._sorted[before]] if before >= 0 else -1
        while end + 1 < len(self.codes) and self.codes[end + 1].startswith(last):
            end += 1
        return self.codes[start : end + 1]

    def list_below(self, base: str) -> list[str]:
        """Return `base` and the codes below it, without 7th characters."""
        return self.list_range(base, base)

    def expand(self, leaf: str) -> tuple[str, ...]:
        """Return the full codes of a leaf with their 7th characters."""
        return self._expanded.get(leaf, ())

    def compact(self, codes: Iterable[str]) -> tuple[str, ...]:
        """Return the fewest nodes that cover the same codes: a block for all its categories, a code for all its children."""
        kept = set(codes)
        while len(kept) > 1:
            above = {self.parents.get(code, "") for code in kept} - kept - {""}
            full = {node for node in above if kept.issuperset(self._children[node])}
            if not full:
                break
            kept |= full
        covered = {code for code in kept if any(node in kept for node in self._iterate_above(code))}
        return tuple(sorted(map(self._name_only_child, kept - covered)))

    def remove(self, nodes: Iterable[str], removed: Iterable[str]) -> list[str]:
        """Return nodes that cover `nodes` without `removed` and what is below them."""
        gone = set(removed)
        kept: list[str] = []
        waiting = list(nodes)
        above_gone = {node for code in gone for node in self._iterate_above(code)}
        while waiting:
            node = waiting.pop()
            if node in above_gone:
                waiting.extend(self._children.get(node, ()))
            elif node not in gone and not any(node_above in gone for node_above in self._iterate_above(node)):
                kept.append(node)
        return kept

    def is_leaf(self, code: str) -> bool:
        """Whether no code stands below, 7th characters aside."""
        return code not in self._children

    def _name_only_child(self, node: str) -> str:
        while "-" in node and len(self._children[node]) == 1:
            node = self._children[node][0]
        return node

    def _iterate_above(self, code: str) -> Iterator[str]:
        at = self._full.get(code) or self.parents.get(code, "")
        while at:
            yield at
            at = self.parents.get(at, "")


def resolve(text: str, index: NodeIndex) -> References:
    """Return the nodes that a note names.

    Args:
        text: the note as printed.
        index: the nodes of the same release.
    """
    for printed, meant in MISPRINTS.items():
        text = text.replace(printed, meant)
    text = _OUTSIDE.sub(r"\1)", text)
    targets: list[str] = []
    unresolved: list[str] = []
    found = 0
    for segment, enclosed in _split_segments(text):
        named, excluded = _split_exception(segment)
        removed = _read_items(excluded, index, True)
        listed = _read_items(named, index, enclosed)
        for match in _CHAPTER.finditer(named):
            if match[1] in index.parents:
                listed.append((match.start(), match[0], [match[1]]))
        qualifier = _QUALIFIER.search(named, listed[-1][0] + len(listed[-1][1])) if listed else None
        if qualifier and named[listed[-1][0] + len(listed[-1][1]) : qualifier.start()].strip(" ,.-") == "":
            bases = [base for _, _, nodes in listed for base in nodes]
            picked = _qualify(bases, qualifier["what"].strip(" ,."), index)
            found += 1
            if picked is None:
                unresolved.append(" ".join(named[listed[0][0] :].split()))
            else:
                targets += picked
            continue
        found += len(listed)
        for _, printed, nodes in listed:
            if nodes:
                kept = index.remove(nodes, [node for _, _, gone in removed for node in gone]) if removed else nodes
                targets += kept
            else:
                unresolved.append(printed)
    elsewhere = _ELSEWHERE.search(text)
    if elsewhere and not found:
        unresolved.append(elsewhere[0])
        found += 1
    return References(index.compact(targets), tuple(unresolved), found)


def _split_segments(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text inside parentheses and those outside; a parenthesis that is never closed ends with the text."""
    for part in re.finditer(r"\((?P<inside>[^()]*)[)}]?|(?P<outside>[^()]+)", text):
        inside = part["inside"]
        yield (inside, True) if inside is not None else (part["outside"], False)


def _split_exception(segment: str) -> tuple[str, str]:
    match = _EXCEPT.search(segment)
    return (segment[: match.start()], segment[match.end() :]) if match else (segment, "")


def _read_items(segment: str, index: NodeIndex, enclosed: bool) -> list[tuple[int, str, list[str]]]:
    """Return position, printed text and nodes of each code or range; no nodes for a code that the release does not have."""
    items: list[tuple[int, str, list[str]]] = []
    for match in _ITEM.finditer(segment):
        first, last = match["first"], match["last"]
        bare_category = len(first) == 3 and not last and not match["open"]
        if bare_category and not enclosed and not _CUE.search(segment[: match.start()]):
            continue
        if last:
            nodes = index.list_range(first, last)
        elif first in index:
            nodes = [first]
        else:
            nodes = []
        if not nodes and bare_category and not _looks_listed(segment, enclosed):
            continue
        items.append((match.start(), match[0], nodes))
    return items


def _looks_listed(segment: str, enclosed: bool) -> bool:
    """Whether a parenthesis holds nothing but codes, so that an unknown one is a code too and not a word such as `GH1`."""
    return enclosed and not re.search(r"[a-z]{2}|\b[A-Z]{2}[0-9]", segment)


def _qualify(bases: list[str], what: str, index: NodeIndex) -> list[str] | None:
    """Return the nodes at or below `bases` that `what` picks, None when it cannot be read or picks nothing."""
    below = dict.fromkeys(code for base in bases for code in index.list_below(base))
    if position := _POSITION.fullmatch(what):
        picked = _pick_position(list(below), position, index)
    elif final := _FINAL.fullmatch(what):
        endings = tuple(value.lstrip("-.") for value in _list_values(final["values"]))
        leaves = [code for code in below if index.is_leaf(code)]
        whole = "." in final["values"]
        picked = [code for code in leaves if (code[4:] in endings if whole else code[5:].endswith(endings))]
    elif what == "open fracture 7th character":
        picked = [full for code in below for full in index.expand(code) if full[-1] in "BCEFHJMNQR"]
    elif _SUFFIXES.fullmatch(what):
        picked = _pick_suffixes(bases, what, index)
    else:
        return None
    return picked or None


def _pick_position(below: list[str], position: re.Match[str], index: NodeIndex) -> list[str]:
    first = _ORDINALS[position["first"]]
    second = _ORDINALS.get(position["second"] or "")
    if position["values"] == "to indicate intent":
        return below
    values = tuple(_list_values(position["values"]))
    if first == 7:
        return [full for code in below for full in index.expand(code) if full[-1] in values]
    bare = {code: code.replace(".", "") for code in below}
    if position["join"] == "or":
        leaves = [code for code in below if index.is_leaf(code)]
        return [code for code in leaves if len(bare[code]) in (first, second) and bare[code][-1] in values]
    end = second or first
    return [code for code in below if len(bare[code]) == end and bare[code][first - 1 :] in values]


def _pick_suffixes(bases: list[str], what: str, index: NodeIndex) -> list[str]:
    shortest = min(map(len, bases))
    picked = []
    for base in bases:
        if len(base) > shortest:
            continue
        for suffix in _list_values(what):
            digits = suffix.lstrip(".")
            code = base + digits if "." in base else f"{base}.{digits}"
            if code in index:
                picked.append(code)
    return picked


def _list_values(text: str) -> list[str]:
    """Return the values of `1-4 or 6`, `.26, .96`, `.51-.52`, `B or C`, `-23`."""
    values: list[str] = []
    for part in re.split(r"(?:,|\bor\b|\.? (?=\.))\s*", text):
        piece = part.strip().rstrip("-")
        if not piece:
            continue
        ends = re.fullmatch(r"\.?(\d+)-\.?(\d+)", piece)
        if ends:
            values += [str(number).zfill(len(ends[1])) for number in range(int(ends[1]), int(ends[2]) + 1)]
        else:
            values.append(piece.lstrip("."))
    return values
