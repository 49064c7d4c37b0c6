"""Misspellings that people really made, from a user's lists: `misspelling,correction[,correction …]`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_gen.vocabulary import read_words
from icd10cm.word_files import raise_fault, read_rows

_EXPECTED = "a misspelling and its correction, split by a comma or a tab"


def read_misspellings(paths: Iterable[Path]) -> Mapping[str, tuple[str, ...]]:
    """Return word of a title, in lower case, to its misspellings in the order of the files.

    A misspelling of several words (`cas` of `case` and `cast`), also over several rows or files, says none of them and is
    left out, as is one that is a word of any title.

    Raises:
        DataError: a row is broken; the message names the line.
    """
    meant: dict[str, set[str]] = {}
    for path in paths:
        for number, (wrong, *corrections) in read_rows(path, _EXPECTED):
            if wrong.lower() == "misspelling":  # a header
                continue
            if not corrections:
                raise_fault(path, number, "the number of columns is 1", _EXPECTED)
            meant.setdefault(wrong.lower(), set()).update(map(str.lower, corrections))
    known = read_words() if meant else frozenset()
    found: dict[str, list[str]] = {}
    for wrong, words in meant.items():
        word = next(iter(words))
        if len(words) == 1 and word in known and wrong not in known and wrong.isalpha() and wrong.isascii():
            found.setdefault(word, []).append(wrong)
    return {word: tuple(wrongs) for word, wrongs in found.items()}
