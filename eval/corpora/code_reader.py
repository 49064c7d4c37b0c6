"""The codes of a corpus, read against a release: kept, mapped forward, or lost with the reason."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from typing import NamedTuple

from icd10cm.codeset import CODE_SHAPE, CodeSet, add_dot
from icd10cm.errors import ConfigError
from icd10cm.releases import find_retired

KEPT = "kept as they are"
TO_SUCCESSOR = "retired: the likeliest successor put for it"
TO_UNSPECIFIED = "subdivided since: its one unspecified code put for it"
BY_OWN_MAP = "put by code_map"
MAPPED = (TO_SUCCESSOR, TO_UNSPECIFIED, BY_OWN_MAP)

BLANK = "lost: blank"
NO_SHAPE = "lost: has not the shape of a code"
CATEGORY = "lost: a heading, more characters are needed"
RETIRED = "lost: retired, no successor is known"
UNMAPPED = "lost: retired, and map_retired is false"
UNKNOWN = "lost: not in the release"
LOST = (BLANK, NO_SHAPE, CATEGORY, RETIRED, UNMAPPED, UNKNOWN)

_PCS_SHAPE = re.compile(r"[0-9B-DF-HX][0-9A-HJ-NP-Z]{6}")
_UNSPECIFIED = re.compile(r"\bunspecified\b", re.IGNORECASE)


class Reading(NamedTuple):
    """What a code of the corpus became: a billable code, empty when it is lost, and why."""

    code: str
    outcome: str


class CodeReader:
    """Reads codes in any spelling; each distinct spelling is looked up once."""

    def __init__(self, codeset: CodeSet, map_retired: bool, code_map: Mapping[str, str]):
        """Read against `codeset`, with retired codes mapped forward or not, and those of `code_map` in any case.

        Raises:
            ConfigError: a code to map to is not billable in the release.
        """
        wrong = [code for code in code_map.values() if not codeset.is_billable(code)]
        if wrong:
            raise ConfigError(
                f"'code_map': {', '.join(wrong)} not billable in release {codeset.release}; map to codes that are"
            )
        self._codeset, self._map_retired = codeset, map_retired
        self._own = {add_dot(old): add_dot(new) for old, new in code_map.items()}
        self._known: dict[str, Reading] = {}

    def read(self, text: str) -> Reading:
        """Return what a diagnosis code became."""
        if text not in self._known:
            self._known[text] = self._look_up(add_dot(text))
        return self._known[text]

    def _look_up(self, code: str) -> Reading:
        if not code:
            return Reading("", BLANK)
        if code in self._own:
            return Reading(self._own[code], BY_OWN_MAP)
        if self._codeset.is_billable(code):
            return Reading(code, KEPT)
        if not CODE_SHAPE.fullmatch(code):
            return Reading("", NO_SHAPE)
        retired = find_retired(code)
        unspecified = self._find_unspecified(code)
        if (retired or unspecified) and not self._map_retired:
            return Reading("", UNMAPPED)
        successors = [other for other in (retired.successors if retired else ()) if self._codeset.is_billable(other)]
        if successors:
            return Reading(successors[0], TO_SUCCESSOR)
        if unspecified:
            return Reading(unspecified, TO_UNSPECIFIED)
        return Reading("", RETIRED if retired else CATEGORY if code in self._codeset else UNKNOWN)

    def _find_unspecified(self, code: str) -> str:
        """Return the one code below a heading of four characters or more that leaves open what has been subdivided.

        The list of retired codes begins in 2021. A code that was billed, and is a heading now, was subdivided before.
        """
        if "." not in code or code not in self._codeset:
            return ""
        codes = self._codeset.codes
        below = codes[bisect.bisect_left(codes, code) : bisect.bisect_left(codes, code + "~")]
        children = (child for child in below if len(child) == len(code) + 1)
        left_open = [child for child in children if _UNSPECIFIED.search(self._codeset.title(child))]
        return left_open[0] if len(left_open) == 1 else ""


def read_procedure(text: str) -> str:
    """Return an ICD-10-PCS code in upper case; empty where the text has not the shape of one (no release is looked up)."""
    code = text.strip().upper()
    return code if _PCS_SHAPE.fullmatch(code) else ""
