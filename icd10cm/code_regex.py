"""The code set as a regular expression with shared prefixes, for engines that take one with each request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from icd10cm.prompts import SEPARATOR

_END = ""
Trie = dict[str, "Trie"]


def build_regex(codes: Iterable[str], lists: bool = True) -> str:
    """Return a regular expression that matches exactly `codes` (dotted), or lists of them joined by `", "`.

    Shared prefixes are written once and characters with the same continuation share a class, so that the whole of
    ICD-10-CM is about 50 kB. Only character classes, groups, `?` and `*` are used, which every grammar engine reads.
    """
    one = _write_regex(_build_trie(codes))
    return f"{one}({SEPARATOR}{one})*" if lists else one


def _build_trie(codes: Iterable[str]) -> Trie:
    root: Trie = {}
    for code in codes:
        node = root
        for character in code:
            node = node.setdefault(character, {})
        node[_END] = {}
    return root


def _write_regex(node: Trie) -> str:
    heads_by_rest: dict[str, list[str]] = {}
    for character, below in sorted(node.items()):
        if character != _END:
            heads_by_rest.setdefault(_write_regex(below), []).append(character)
    branches = [_write_class(heads) + rest for rest, heads in heads_by_rest.items()]
    if not branches:
        return ""
    if len(branches) == 1 and _END not in node:
        return branches[0]
    return f"({'|'.join(branches)})" + ("?" if _END in node else "")


def _write_class(characters: list[str]) -> str:
    """Return a class that matches one of `characters`, runs of three or more written as ranges."""
    if len(characters) == 1:
        return re.escape(characters[0])
    runs: list[list[str]] = []
    for character in characters:
        if runs and ord(character) == ord(runs[-1][-1]) + 1:
            runs[-1].append(character)
        else:
            runs.append([character])
    return f"[{''.join(f'{run[0]}-{run[-1]}' if len(run) > 2 else ''.join(run) for run in runs)}]"
