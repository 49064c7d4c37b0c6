"""Excludes1: two codes that are not reported together, because one says that the other is coded elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from icd10cm.rules.case import Case
from icd10cm.rules.finding import Finding, Severity

EXCEPTION = "unless the two conditions are unrelated to each other (Official Guidelines, section I.A.12.a)"


def find_excludes1(case: Case) -> Iterator[Finding]:
    """Pairs that an Excludes1 note forbids.

    A note at node N that names T holds between every code below N that is not itself below T, and every code below T.
    Notes of the subcategory, category, block and chapter are inherited.
    """
    seen: set[frozenset[str]] = set()
    for code in case.known:
        profile = case.knowledge.profile(code)
        for targets in profile.excludes1:
            for other, note in case.find_in(targets, code).items():
                pair = frozenset((code, other))
                if pair in seen or not set(note.targets).isdisjoint(profile.ancestors):
                    continue
                seen.add(pair)
                ordered = tuple(listed for listed in case.known if listed in pair)
                message = f"{ordered[0]} and {ordered[1]} are not reported together, {EXCEPTION}"
                yield Finding("excludes1", Severity.WARNING, ordered, message, note.node, note.text)
