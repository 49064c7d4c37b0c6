"""Which conditions were there before a stay: long-standing ones only, since an acute one is never `chronic, stable`."""

from __future__ import annotations

import re

_LASTING = (
    "B18", "B20", "D63", "E03", "E04", "E06.3", "E10", "E11", "E13", "E66", "E78", "F01", "F02", "F03", "F20", "F25", "F31",
    "F32", "F33", "F41.1", "F41.9", "F42", "F43.1", "F84", "F90", "G20", "G25.0", "G25.81", "G30", "G35", "G40", "G43",
    "G47.3", "G62.9", "G80", "G89.2", "G89.4", "H40", "I05", "I06", "I07", "I08", "I10", "I11", "I12", "I13", "I25.1",
    "I25.2", "I25.5", "I25.8", "I27.2", "I34", "I35", "I36", "I42", "I48", "I50", "I65", "I70", "I71", "I73.9", "I83.9",
    "I87.2", "J30", "J32", "J41", "J42", "J43", "J44", "J45", "J47", "J84.1", "J96.1", "K21", "K22.7", "K29.5", "K50", "K51",
    "K58", "K59.0", "K70.3", "K74", "K76.0", "K86.1", "K90.0", "L20", "L40", "L70", "L71", "L80", "M05", "M06", "M15", "M16",
    "M17", "M18", "M19", "M1A", "M32", "M35.3", "M45", "M47", "M48.0", "M51.3", "M79.7", "M81", "N18", "N28.1", "N39.3",
    "N40",
)  # fmt: skip
_FRESH = re.compile(
    r"\b(?:(?<!or )acute|exacerbation|decompensat\w*|(?<!without )status|cris[ei]s|ulcers?|ulceration|gangrene|bleeding"
    r"|hemorrhage|coma|ketoacidosis|hyperosmolarity|hypoglycemia|hyperglycemia|ruptured?|dissection|obstruction|infections?"
    r"|abscess|perforation|fistula|(?<!not )intractable|withdrawal|intoxication|delirium|unstable|angina"
    r"|(?<!current )pathological|relapse|rest pain|agitation|psychotic|thrombo\w+"
    r"|specified complications?|unspecified complications?"
    r"|generalized pustular|erythroderm\w*|inflammation|embol\w*|vitreous|detachment|post-traumatic|postprocedural"
    r"|occlusion)\b",
    re.IGNORECASE,
)
_NOT_OF_PAST = ("Z91.1", "Z91.A")
_HISTORY = ("Z14", "Z15", "Z21", "Z22", "Z79", "Z8", "Z9")


def is_chronic(code: str, title: str) -> bool:
    """Whether a condition is known to be a long-standing one without anything acute in its title.

    >>> is_chronic("I10", "Essential (primary) hypertension"), is_chronic("J44.1", "COPD with (acute) exacerbation")
    (True, False)
    """
    return code.startswith(_LASTING) and not _FRESH.search(title)


def is_history(code: str) -> bool:
    """Whether a code of chapter 21 tells of the past or of a lasting state, as past medical history does.

    >>> is_history("Z95.1"), is_history("Z3A.40")
    (True, False)
    """
    return code.startswith(_HISTORY) and not code.startswith(_NOT_OF_PAST)
