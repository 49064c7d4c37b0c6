"""What a rule says about a list of codes."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Severity(enum.StrEnum):
    """How much a finding matters to the person who decides.

    `error`: the list cannot be submitted as it stands. `warning`: probably wrong, a coder should look.
    `info`: a reminder of an instruction that may or may not apply to this patient.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """One remark about a list of codes. Nothing is ever removed from a list because of it.

    Attributes:
        rule: name of the rule, a key of `icd10cm.rules.RULES`.
        severity: how much it matters.
        codes: the codes of the list it is about, dotted, in the order of the list.
        message: one sentence for a person.
        node: the code, block or chapter of the tabular list that says so; empty when no node does.
        text: what that node says, quoted.
        suggestions: codes that would settle it: successors, completions, the codes an instruction asks for.
    """

    rule: str
    severity: Severity
    codes: tuple[str, ...]
    message: str
    node: str = ""
    text: str = ""
    suggestions: tuple[str, ...] = ()
