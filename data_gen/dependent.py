"""Codes that make sense only beside others, codes that rule each other out, and codes that never stand first.

What the tabular list says of this is in `icd10cm.rules`; here is what it leaves to the coder's sense.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

from icd10cm.rules.case import is_external_cause

_INFECTIONS = (
    "A0", "A3", "A4", "I33", "J0", "J1", "J2", "J69", "J85", "J86", "K57", "K61", "K63", "K65", "K81", "K83", "L0", "M00",
    "M86", "N10", "N11", "N12", "N13.6", "N15.1", "N30", "N39", "N41", "N7", "O23", "O86", "P36", "R78", "T8",
)  # fmt: skip
_DIABETES = ("E08", "E09", "E10", "E11", "E13", "O24")
_GRAVE = (
    "A4", "C7", "D62", "G93", "I13", "I21", "I46", "I50", "I6", "J18", "J80", "J96", "K7", "N17", "N18", "R40", "R57", "R65",
    "S", "T", "Z66",
)  # fmt: skip
_FROM_HEALTH = ("Z00", "Z02", "Z11", "Z12", "Z13", "Z30", "Z31", "Z41", "Z52", "Z76.1", "Z76.2", "Z76.8")
_THIN = ("E40", "E41", "E42", "E43", "E44", "E45", "E46", "R64", "F50.0")

_NEEDS = (
    # chapters 15 and 16 come first where they apply (guidelines I.C.15.a.1, I.C.16.a.2)
    (("O",), ("O", "Z3")),
    (("P",), ("P", "Z38")),
    (("I22", "I23"), ("I21",)),
    (("R29.7",), ("I60", "I61", "I62", "I63")),
    (("Z3A", "Z37"), ("O",)),
    (("Z36",), ("O", "Z34")),
    (("F02",), ("A", "B", "E", "G", "M", "S06")),
    (("B96.0",), ("J",)),
    (("B95", "B96", "B97", "Z16"), _INFECTIONS),
    (("R65.2",), ("A0", "A2", "A3", "A4", "B37.7", "O85", "P36", "T8")),
    (("Z17",), ("C50",)),
    (("Z19",), ("C61",)),
    (("Z79.4", "Z79.84", "Z96.41"), _DIABETES),
    (("Z68.1",), (*_THIN, "R63")),
    (("Z68.3", "Z68.4"), ("E66",)),
    (("Z38",), ("P", "Q", "Z23", "Z05")),
    (("Y90",), ("F10", "S", "T")),
    (("Y95",), ("A", "J", "N39", "T8")),
    (("Y62", "Y63", "Y64", "Y65", "Y66", "Y69", "Y7", "Y8"), ("T8", "K91", "I97", "J95", "N99")),
    (("V", "W", "X", "Y"), ("S", "T")),
    (("T31", "T32"), ("T2",)),
    (("R40.2",), ("F1", "G0", "G4", "G9", "I6", "R4", "S0", "T4", "T5")),
)
"""Beginnings of codes, and of those of which one has to be there already; the first that fits counts."""

_APART = (
    (("E66", "Z68.3", "Z68.4"), (*_THIN, "Z68.1", "R63.4", "R63.6")),
    (("E00", "E01", "E02", "E03"), ("E05",)),
    (("K50",), ("K51",)),
    (("E66.0", "E66.1", "E66.2", "E66.8", "E66.9"), ("Z68.2",)),
    (("E66.3",), ("Z68.20", "Z68.21", "Z68.22", "Z68.23", "Z68.24")),
    (("N40.0",), ("R33", "R35", "R39.1")),
    (_FROM_HEALTH, _GRAVE),
    (("I12.9", "I13.0", "I13.10"), ("N18.5", "N18.6")),
    (("I12.0", "I13.11", "I13.2"), ("N18.1", "N18.2", "N18.3", "N18.4", "N18.9")),
    (("B96.8",), ("T8",)),
    (("F03",), ("F01", "F02", "G30", "G31")),
    (("Z34", "O80"), ("O0", "O1", "O2", "O3", "O4", "O6", "O7", "O8", "O9")),
    (("O80", "O82"), ("O00", "O01", "O02", "O03", "O04", "O07", "O08", "O20", "O21")),
    # a coder takes hypertension with heart failure or kidney disease for one condition: I11, I12, I13
    (("I10",), ("I11", "I12", "I13", "I50", "N18", "E08.22", "E09.22", "E10.22", "E11.22", "E13.22")),
    (("I11",), ("I12", "I13", "N18", "E08.22", "E09.22", "E10.22", "E11.22", "E13.22")),
    (("U07.1",), ("J12.81", "U09")),
    (("I12",), ("I13", "I50")),
    (("I11.9", "I13.1"), ("I50",)),
    (("J81",), ("I50",)),
    (("I25.10", "I25.810", "I25.811", "I25.812"), ("I20", "I25.11", "I25.7")),
    (("N40.0", "N40.2"), ("N39.4", "R33", "R35", "R39.1")),
    (("R65.1",), ("A4", "R65.2", "P36", "O85")),
    (("E10.9", "E11.9", "E13.9"), ("E08", "E09", "E10", "E11", "E13", "L97", "M86")),
)
_LATER = (
    "B95", "B96", "B97", "I22", "I23", "R29.7", "R65", "T31", "T32", "Z14", "Z15", "Z16", "Z17", "Z18", "Z19", "Z28", "Z37",
    "Z3A", "Z66", "Z67", "Z68", "Z72", "Z73", "Z74", "Z77", "Z78", "Z79", "Z8", "Z9",
)  # fmt: skip


def is_fit(code: str, chosen: Collection[str]) -> bool:
    """Whether a code makes sense beside those chosen so far: what it hangs on is there, and nothing that rules it out.

    >>> is_fit("W19.XXXA", ["I10"]), is_fit("W19.XXXA", ["S52.501A"]), is_fit("W10.0XXA", ["S52.501A", "W19.XXXA"])
    (False, True, False)
    """
    needed = _find_needed(code)
    if needed and not any(other.startswith(needed) for other in chosen):
        return False
    if _is_mechanism(code) and any(map(_is_mechanism, chosen)):
        return False
    against = _list_sides(code, turned=True)
    return not against or not any(against & _list_sides(other) for other in chosen)


def comes_later(code: str) -> bool:
    """Whether a code is of a circumstance, a status or a germ, which is not why a patient came.

    >>> [code for code in ("I10", "W19.XXXA", "Z79.4", "B96.20") if comes_later(code)]
    ['W19.XXXA', 'Z79.4', 'B96.20']
    """
    return is_external_cause(code) or code.startswith(_LATER)


def _is_mechanism(code: str) -> bool:
    """Whether it says how an injury came about; place, activity and status do not."""
    return "V" <= code < "Y9"


# asked for some hundred thousand times of the same codes
@functools.cache
def _find_needed(code: str) -> tuple[str, ...]:
    return next((needed for dependent, needed in _NEEDS if code.startswith(dependent)), ())


@functools.cache
def _list_sides(code: str, turned: bool = False) -> frozenset[tuple[int, int]]:
    """Return in which rows of `_APART` a code is on which side; turned round, where what it rules out is."""
    return frozenset(
        (number, side ^ turned) for number, row in enumerate(_APART) for side in (0, 1) if code.startswith(row[side])
    )
