"""7th characters that disagree: initial encounter, subsequent encounter, sequela."""

from __future__ import annotations

from collections.abc import Iterator

from icd10cm.rules.case import Case, is_external_cause
from icd10cm.rules.finding import Finding, Severity

ENCOUNTERS = ("initial", "subsequent", "sequela")
_FULL_LENGTH = len("S52.501A")


def find_encounter_conflicts(case: Case) -> Iterator[Finding]:
    """7th characters at odds with each other or with the encounter that was named."""
    phases = {code: phase for code in case.known if (phase := find_phase(case, code))}
    if not phases:
        return
    if case.encounter:
        for code, phase in phases.items():
            if phase != case.encounter:
                message = f"{code} says {_name(phase)}, but this is {_name(case.encounter)}"
                yield _build_finding(case, (code,), message, Severity.WARNING)
    injuries = {code: phase for code, phase in phases.items() if not is_external_cause(code)}
    yield from _find_same_injury(case, injuries)
    for code, phase in phases.items():
        if code not in injuries and injuries and phase not in injuries.values():
            other = next(iter(injuries))
            message = f"{code} says {_name(phase)}, the injury {other} says {_name(injuries[other])}"
            yield _build_finding(case, (code, other), message, Severity.WARNING)


def find_phase(case: Case, code: str) -> str | None:
    """Return `initial`, `subsequent` or `sequela` by the meaning of a code's 7th character, None when it has none."""
    if len(code) != _FULL_LENGTH:
        return None
    _, meanings = case.knowledge.profile(code).sevenths
    return next((phase for phase in ENCOUNTERS if meanings.get(code[-1], "").startswith(phase)), None)


def _find_same_injury(case: Case, injuries: dict[str, str]) -> Iterator[Finding]:
    first_of: dict[str, str] = {}
    for code in injuries:
        other = first_of.setdefault(code[:-1], code)
        if other != code:
            message = f"{other} and {code} are one injury with two 7th characters: an injury has one per encounter"
            yield _build_finding(case, (other, code), message, Severity.WARNING)


def _build_finding(case: Case, codes: tuple[str, ...], message: str, severity: Severity) -> Finding:
    node, _ = case.knowledge.profile(codes[0]).sevenths
    text = "; ".join(f"{code[-1]} {case.knowledge.profile(code).sevenths[1][code[-1]]}" for code in codes)
    return Finding("encounter", severity, codes, message, node, text)


def _name(phase: str) -> str:
    return "sequela" if phase == "sequela" else f"{phase} encounter"
