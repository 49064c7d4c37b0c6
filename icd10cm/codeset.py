"""CodeSet: the codes of one ICD-10-CM release, with titles and hierarchy.

>>> codes = CodeSet.load()
>>> codes.title("E11.621")
'Type 2 diabetes mellitus with foot ulcer'
>>> codes.category("e11621"), codes.chapter("E11.621"), codes.is_billable("E11.62")
('E11', 4, False)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icd10cm import code_files, embedded
from icd10cm.code_files import Heading
from icd10cm.errors import CodeFileError, UnknownCodeError

CODE_SHAPE = re.compile(r"[A-Z](?:[0-9][0-9A-Z]|[A-Z][0-9])(?:\.?[0-9A-Z]{1,4})?")
"""The shape of every ICD-10-CM code, dot or not: 3 to 7 characters, a letter allowed in second (QA0) or third place (C4A)."""

CHAPTER_TITLES = {
    1: "Certain infectious and parasitic diseases",
    2: "Neoplasms",
    3: "Diseases of the blood and immune mechanism",
    4: "Endocrine, nutritional and metabolic diseases",
    5: "Mental, behavioral and neurodevelopmental disorders",
    6: "Diseases of the nervous system",
    7: "Diseases of the eye and adnexa",
    8: "Diseases of the ear and mastoid process",
    9: "Diseases of the circulatory system",
    10: "Diseases of the respiratory system",
    11: "Diseases of the digestive system",
    12: "Diseases of the skin and subcutaneous tissue",
    13: "Diseases of the musculoskeletal system",
    14: "Diseases of the genitourinary system",
    15: "Pregnancy, childbirth and the puerperium",
    16: "Conditions originating in the perinatal period",
    17: "Congenital malformations and chromosomal abnormalities",
    18: "Symptoms, signs and abnormal findings",
    19: "Injury, poisoning and other external consequences",
    20: "External causes of morbidity",
    21: "Factors influencing health status",
    22: "Codes for special purposes",
}
"""Chapter number to a short form of its CMS title."""

_CHAPTER_STARTS = (
    ("A", 1), ("C", 2), ("D5", 3), ("E", 4), ("F", 5), ("G", 6), ("H", 7), ("H6", 8), ("I", 9), ("J", 10), ("K", 11),
    ("L", 12), ("M", 13), ("N", 14), ("O", 15), ("P", 16), ("Q", 17), ("R", 18), ("S", 19), ("U", 22), ("V", 20), ("Z", 21),
)  # fmt: skip


def add_dot(text: str) -> str:
    """Return `text` as a code in dotted upper-case form: `e11621` and `E11.621` become `E11.621`, `i10.` becomes `I10`.

    A dot in another place stays where it is, so that `E1.19` is no code.
    """
    bare = text.strip().upper().rstrip(".")
    return f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 and "." not in bare else bare


def find_chapter(code: str) -> int:
    """Return the chapter number, 1 to 22, of a code of any release."""
    number = 0
    for start, chapter in _CHAPTER_STARTS:
        if code >= start:
            number = chapter
    return number


@dataclass(frozen=True)
class CodeSet:
    """The codes of one release. Methods take a code in any usual spelling: dotted or not, upper or lower case.

    Attributes:
        release: name of the release, such as `"2026"`; `"unknown"` when a file does not say.
        headings: dotted code to its `Heading`, billable codes and their ancestors, in file order.
        source: where it was read from, for `run.json`.
    """

    release: str
    headings: dict[str, Heading]
    source: str

    @staticmethod
    def load(path: str | Path | None = None, release: str | None = None) -> CodeSet:
        """Read a release.

        Args:
            path: a CMS code file (`icd10cm_codes_YYYY.txt`) or order file (`icd10cm_order_YYYY.txt`), plain or gzip;
                the set embedded with the package `simple-icd-10-cm` when omitted.
            release: its name; taken from the year in the file name when omitted.

        Raises:
            CodeFileError: the file is missing, empty, truncated or not a code file, names the first bad line; or there is
                no path and another release is wanted than the embedded one.
        """
        if path is None:
            if release not in (None, embedded.RELEASE):
                raise CodeFileError(
                    f"release {release} is not the embedded one, which is {embedded.RELEASE}: give its code file"
                )
            return _load_embedded()
        headings = code_files.read_code_file(Path(path))
        return CodeSet(release or code_files.guess_release(Path(path)), headings, str(path))

    @functools.cached_property
    def codes(self) -> tuple[str, ...]:
        """Every billable code, dotted, sorted."""
        return tuple(sorted(code for code, heading in self.headings.items() if heading.billable))

    @functools.cached_property
    def _children(self) -> dict[str, tuple[str, ...]]:
        children: dict[str, list[str]] = {}
        for code, heading in self.headings.items():
            if heading.parent is not None:
                children.setdefault(heading.parent, []).append(code)
        return {code: tuple(below) for code, below in children.items()}

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and add_dot(text) in self.headings

    def __len__(self) -> int:
        """Number of billable codes."""
        return len(self.codes)

    def is_billable(self, text: str) -> bool:
        """Whether `text` is a code that is valid for submission; False for headings and for anything unknown."""
        heading = self.headings.get(add_dot(text))
        return heading is not None and heading.billable

    def title(self, text: str) -> str:
        """Return the CMS long description. Raises `UnknownCodeError`; headings of a plain code file have an empty title."""
        return self._find(text).title

    def parent(self, text: str) -> str | None:
        """Return the code one level up, None for a category. Raises `UnknownCodeError`."""
        return self._find(text).parent

    def children(self, text: str) -> tuple[str, ...]:
        """Return the codes one level down, in file order; empty for a billable code. Raises `UnknownCodeError`."""
        self._find(text)
        return self._children.get(add_dot(text), ())

    def category(self, text: str) -> str:
        """Return the first three characters, for any code, also one that is not in the release."""
        return add_dot(text)[:3]

    def chapter(self, text: str) -> int:
        """Return the chapter number, 1 to 22 (`CHAPTER_TITLES` has the names)."""
        return find_chapter(add_dot(text))

    def select(self, prefixes: Iterable[str]) -> tuple[str, ...]:
        """Return the billable codes that begin with any of `prefixes`, sorted.

        Raises:
            UnknownCodeError: a prefix that no billable code of this release begins with.
        """
        wanted = [add_dot(prefix) for prefix in prefixes]
        for prefix in wanted:
            if not any(code.startswith(prefix) for code in self.codes):
                raise UnknownCodeError(f"no billable code of release {self.release} begins with {prefix!r}")
        return tuple(code for code in self.codes if code.startswith(tuple(wanted)))

    def _find(self, text: str) -> Heading:
        try:
            return self.headings[add_dot(text)]
        except KeyError:
            raise UnknownCodeError(f"{text!r} is not a code of ICD-10-CM release {self.release}") from None


@functools.cache
def _load_embedded() -> CodeSet:
    return CodeSet(embedded.RELEASE, embedded.load_headings(), embedded.describe_source())
