"""What comes first, and what must come along: manifestations, "Code first", "Use additional code", external causes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from icd10cm.rules.case import EXTERNAL_CAUSES, Case, Instruction, is_external_cause
from icd10cm.rules.finding import Finding, Severity

_MANIFESTATION = re.compile(r"\b(?:in|of|with|to)\b.*\b(?:diseases?|conditions?|disorders?) classified elsewhere", re.I)
_SHOWN = 8


def find_external_cause_first(case: Case) -> Iterator[Finding]:
    """An external cause as principal diagnosis."""
    code = case.principal
    if code in case.known and code is not None and is_external_cause(code):
        note = case.knowledge.tabular.notes(EXTERNAL_CAUSES, "note")
        message = f"{code} is an external cause and never the principal diagnosis: the injury or condition comes first"
        text = note[0].text if note else case.knowledge.tabular.titles[EXTERNAL_CAUSES]
        yield Finding("external_cause_first", _rate_first(case), (code,), message, EXTERNAL_CAUSES, text)


def find_manifestation_first(case: Case) -> Iterator[Finding]:
    """A manifestation as principal diagnosis: the disease that causes it comes first."""
    code = case.principal
    if code is None or code not in case.known or not is_manifestation(case, code):
        return
    for node, instruction in case.knowledge.profile(code).code_first:
        named = tuple(case.find_in(instruction.targets, code))
        there = f" ({named[0]} is in the list)" if named else ""
        message = f"{code} is a manifestation and never the principal diagnosis: the underlying disease comes first{there}"
        suggestions = (named or tuple(instruction.targets))[:_SHOWN]
        yield Finding("manifestation_first", _rate_first(case), (code, *named), message, node, instruction.text, suggestions)
        return


def find_code_first(case: Case) -> Iterator[Finding]:
    """A "Code first" note whose code comes later in the list, or not at all.

    A note that leaves it open ("if applicable", "any associated") is judged by the order only: codes alone cannot tell
    whether something is missing. The same holds for a list of examples when anything stands before the code.
    """
    for place, code in enumerate(case.known):
        if place == 0 and is_manifestation(case, code):
            continue
        for node, instruction in case.knowledge.profile(code).code_first:
            named = case.find_in(instruction.targets, code)
            if any(other in case.known[:place] for other in named):
                continue
            text = instruction.text
            if named:
                later = next(iter(named))
                message = f"{later} comes before {code} in the list: {code} says to code it first"
                yield Finding("code_first", Severity.WARNING, (code, later), message, node, text)
            elif not instruction.conditional and not (place and instruction.examples):
                message = f"{code} says to code another condition first, which is not in the list"
                suggestions = tuple(instruction.targets)[:_SHOWN]
                yield Finding("code_first", Severity.WARNING, (code,), message, node, text, suggestions)


def find_use_additional(case: Case) -> Iterator[Finding]:
    """A "Use additional code" note of a code or its category, none of whose codes is in the list.

    Notes that leave it open ("if applicable", "any") and those of blocks and chapters are not judged. A warning where every
    patient has the detail (the stage, the site), a reminder elsewhere.
    """
    asked: dict[tuple[str, Instruction], list[str]] = {}
    for code in case.known:
        for node, instruction in case.knowledge.profile(code).use_additional:
            if not instruction.targets or "-" in node or node.isdigit() or instruction.conditional:
                continue
            if not case.find_in(instruction.targets, code):
                asked.setdefault((node, instruction), []).append(code)
    for (node, instruction), codes in asked.items():
        text = instruction.text
        severity = Severity.WARNING if instruction.always else Severity.INFO
        verb = "asks" if len(codes) == 1 else "ask"
        message = f"{' and '.join(codes)} {verb} for an additional code that is not in the list"
        yield Finding("use_additional", severity, tuple(codes), message, node, text, tuple(instruction.targets)[:_SHOWN])


def is_manifestation(case: Case, code: str) -> bool:
    """Whether a code is the manifestation half of a pair, by its title ("in diseases classified elsewhere") or a heading's."""
    titles = case.knowledge.tabular.titles
    return any(
        _MANIFESTATION.search(titles.get(node, "")) for node in case.knowledge.profile(code).ancestors if "-" not in node
    )


def _rate_first(case: Case) -> Severity:
    """A code on its own may be looked up rather than submitted."""
    return Severity.ERROR if len(case.listed) > 1 else Severity.WARNING
