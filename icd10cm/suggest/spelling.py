"""How codes are misspelled: what a text says as a code, and which signs are taken for one another."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator

LONGEST_TEXT = 2000
"""A code is looked for in the first characters of a text only."""
_LABEL = re.compile(r"\b(?:icd[ -]?(?:10)?(?:[ -]?cm)?|codes?|dx|diagnos[ie]s)\b", re.IGNORECASE | re.ASCII)
_SEPARATOR = re.compile(r"[\s.,;:/_·\-]+")
_BETWEEN_CODES = re.compile(r"[\s,;/|&+]+")
_LIST = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.?[0-9A-Z]+)?", re.IGNORECASE | re.ASCII)
_ONE_CODE = re.compile(r"[0-9A-Z](?:[\s.,;:/_·-]{0,3}[0-9A-Z]){1,9}", re.IGNORECASE | re.ASCII)
_A_WORD = re.compile(r"[A-WYZ][A-Z]+", re.IGNORECASE | re.ASCII)
_IN_TEXT = re.compile(r"(?<![0-9A-Z.])[0-9A-Z][0-9A-Z.]{1,9}(?![0-9A-Z])", re.IGNORECASE | re.ASCII)
_EDGES = " \t\r\n.,;:-_/\\·*'\"`()[]{}<>#!?•|=+&"
_MOST_CODES = 3
_FOREIGN = str.maketrans("АВЕЅІЈКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΧ−•∙‧․", "ABESIJKMHOPCTXABEZHIKMNOPTX-····")
"""Cyrillic and Greek capitals and signs of typesetting that look like ours."""

READ_AS_DIGIT = {"O": "0", "Q": "0", "D": "0", "I": "1", "L": "1", "Z": "2", "S": "5", "G": "6", "B": "8"}
READ_AS_LETTER = {"0": "OQD", "1": "IL", "2": "Z", "5": "S", "6": "G", "8": "B"}
_ALIKE = {(a, b) for group in ("0OQD", "1IL", "2Z", "5S", "6G", "8B", "UV") for a in group for b in group if a != b}
_SURE_DIGITS = {"O": "0", "o": "0", "I": "1", "i": "1", "l": "1"}
_SIGN_NAMES = {",": "comma", "-": "dash", " ": "blank", ":": "colon", "/": "slash", "_": "underscore"}
_NAMES = {"0": "zero", "1": "one"}


def _list_keyboard_neighbours() -> set[tuple[str, str]]:
    """Return the pairs of keys that touch on a QWERTY keyboard: beside each other, or in the row below."""
    rows = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")
    pairs = {(row[at], row[at + 1]) for row in rows for at in range(len(row) - 1)}
    for above, below in itertools.pairwise(rows):
        pairs |= {(above[at + side], key) for at, key in enumerate(below) for side in (0, 1) if at + side < len(above)}
    return pairs | {(b, a) for a, b in pairs}


_TOUCHING = _list_keyboard_neighbours()


def look_alike(written: str, meant: str) -> bool:
    """Whether two signs are easily taken for one another: O and 0, S and 5."""
    return (written, meant) in _ALIKE


def lie_together(written: str, meant: str) -> bool:
    """Whether two signs are neighbours on a keyboard."""
    return (written, meant) in _TOUCHING


def read_sure_digits(word: str) -> Iterator[str]:
    """Yield `word` with O, I and l after its first sign read as digits: one, some or all of them, at most five."""
    places = [at for at, sign in enumerate(word) if at and sign in _SURE_DIGITS]
    if len(places) <= 5:
        for taken in itertools.product((False, True), repeat=len(places)):
            read = dict(zip(places, taken, strict=True))
            if any(taken):
                yield "".join(_SURE_DIGITS[sign] if read.get(at) else sign for at, sign in enumerate(word))


def place_dot(word: str) -> str:
    """Return the signs of `word` in upper case with one dot, where a code has it, whatever separated them."""
    bare = _SEPARATOR.sub("", word).upper()
    return f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare


def keep_dots(word: str) -> str:
    """Return `word` in upper case with a dot wherever it has a dot, or another sign, or a blank."""
    return _SEPARATOR.sub(".", word).upper()


def describe_dot(word: str) -> str:
    """Say how a word that has all the characters of a code is spelled."""
    found = list(_SEPARATOR.finditer(word))
    if word.upper() == place_dot(word):
        return "valid code"
    if not found:
        return "dot missing"
    if "".join(word.split()).upper() == place_dot(word) and len(found) > 1:
        return "blank inside the code"
    if len(place_dot(word)) == 3:
        return "a code of three characters has no dot"
    if len(found) > 1 or found[0].start() != 3:
        return "dot in another place"
    sign = found[0].group()
    return "dot doubled" if not sign.strip(".") else f"{_SIGN_NAMES.get(sign[0], 'another sign')} in place of the dot"


def describe_look_alike(written: str, meant: str) -> str:
    """Say what was read as what: `letter O read as zero`."""
    kind = "letter" if written.isalpha() else "digit"
    return f"{kind} {written} read as {_NAMES.get(meant) or ('letter ' if meant.isalpha() else '') + meant}"


def fold_signs(text: str) -> str:
    """Return `text` with digits, dashes, wide and foreign letters of all Unicode as their plain ASCII counterparts."""
    begin = text[:LONGEST_TEXT]
    if begin.isascii() and begin.isprintable():
        return begin
    return "".join(_fold_sign(sign) for sign in unicodedata.normalize("NFKC", begin).translate(_FOREIGN))


def _fold_sign(sign: str) -> str:
    if sign.isascii():
        return sign if sign.isprintable() else " "
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    kind = unicodedata.category(sign)
    if kind == "Cf":
        return ""
    return "-" if kind == "Pd" else sign


def find_words(text: str) -> tuple[list[str], bool]:
    """Find what is meant as a code in `text`.

    Returns:
        The words, at most three, as written, `E11 9` being one word; and whether the text is nothing but these words and
        perhaps a label such as `ICD-10:`.
    """
    plain = _LABEL.sub(" ", fold_signs(text)).strip(_EDGES)
    pieces = [piece for part in _BETWEEN_CODES.split(plain) if (piece := part.strip(_EDGES))]
    if len(pieces) > 1 and all(map(_LIST.fullmatch, pieces)):
        return pieces[:_MOST_CODES], len(pieces) <= _MOST_CODES
    if _ONE_CODE.fullmatch(plain) and _has_digit(plain) and not any(map(_A_WORD.fullmatch, pieces)):
        return [plain], True
    words = [word.rstrip(".") for word in _IN_TEXT.findall(plain) if _has_digit(word) and not word.isdigit()]
    return words[:_MOST_CODES], False


def _has_digit(word: str) -> bool:
    return any("0" <= sign <= "9" for sign in word)
