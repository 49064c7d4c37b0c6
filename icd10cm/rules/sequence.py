"""What comes first, and what must come along: manifestations, "Code first", "Use additional code", external causes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from icd10cm.rules.case import EXTERNAL_CAUSES, Case, Instruction, is_external_cause
from icd10cm.rules.finding import Finding, Severity

_MANIFESTATION = re.compile(
    r"\b(?:in|of|with|to)\b.*(?<!cause of )\b(?:diseases?|conditions?|disorders?) classified elsewhere"
    r"|\bmellitus due to underlying|\banemia due to disease\b|\bin neoplastic disease\b",
    re.I,
)
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

    Absence is judged only of a code that is always due to something else (the note speaks of the underlying disease) and
    stands first: after another code, that one may be the cause. Where the note gives examples only, a wrong order is a
    reminder for the same reason; of the nature of an adverse effect it is no sign at all.
    """
    for place, code in enumerate(case.known):
        if place == 0 and is_manifestation(case, code):
            continue
        for node, instruction in case.knowledge.profile(code).code_first:
            text = instruction.text
            of_adverse_effect = "adverse effect" in text
            if of_adverse_effect and (place or not _is_adverse_effect(code)):
                continue
            named = case.find_in(instruction.targets, code)
            if any(other in case.known[:place] for other in named):
                continue
            if named:
                later = next(iter(named))
                severity = Severity.INFO if place and instruction.examples else Severity.WARNING
                message = f"{code} stands before {later}, but says to code {later} first"
                yield Finding("code_first", severity, (code, later), message, node, text)
            elif place == 0 and not instruction.conditional and instruction.underlying:
                message = f"{code} is listed first, but says that the underlying condition comes first"
                suggestions = tuple(instruction.targets)[:_SHOWN]
                yield Finding("code_first", Severity.WARNING, (code,), message, node, text, suggestions)


def find_use_additional(case: Case) -> Iterator[Finding]:
    """A "Use additional code" note of a code or its category, none of whose codes is in the list.

    Not judged, because codes alone cannot tell: notes that leave it open ("if applicable", "any"), menus of several lines
    of which none may fit the patient (tobacco, alcohol, how diabetes is controlled), and those of blocks and chapters.
    A warning where every patient has the detail (the stage, the site), a reminder elsewhere.
    """
    asked: dict[tuple[str, Instruction], list[str]] = {}
    for code in case.known:
        for node, instruction in case.knowledge.profile(code).use_additional:
            if not instruction.targets or "-" in node or node.isdigit():
                continue
            if instruction.conditional or (instruction.menu and not instruction.always):
                continue
            if not case.find_in(instruction.targets, code):
                asked.setdefault((node, instruction), []).append(code)
    for (node, instruction), codes in asked.items():
        text = instruction.text
        severity = Severity.WARNING if instruction.always and not instruction.examples else Severity.INFO
        verb = "asks" if len(codes) == 1 else "ask"
        message = f"{' and '.join(codes)} {verb} for an additional code that is not in the list"
        yield Finding("use_additional", severity, tuple(codes), message, node, text, tuple(instruction.targets)[:_SHOWN])


def is_manifestation(case: Case, code: str) -> bool:
    """Whether a code is the manifestation half of a pair, by its title ("in diseases classified elsewhere") or a heading's."""
    titles = case.knowledge.tabular.titles
    return any(
        _MANIFESTATION.search(titles.get(node, "")) for node in case.knowledge.profile(code).ancestors if "-" not in node
    )


def _is_adverse_effect(code: str) -> bool:
    """Whether a drug code is of an adverse effect, not of poisoning or underdosing: its last character before the 7th is 5."""
    return code[:7].rstrip("X.").endswith("5")


def _rate_first(case: Case) -> Severity:
    """A code on its own may be looked up rather than submitted."""
    return Severity.ERROR if len(case.listed) > 1 else Severity.WARNING
