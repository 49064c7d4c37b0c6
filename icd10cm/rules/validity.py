"""Codes that cannot be submitted at all, or not together with themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from icd10cm.releases import find_release, find_retired
from icd10cm.rules.case import Case
from icd10cm.rules.finding import Finding, Severity
from icd10cm.suggest import suggest

_SHOWN = 8


def find_release_mismatch(case: Case) -> Iterator[Finding]:
    """The day of service belongs to another release than the one the list is checked against."""
    loaded = case.knowledge.codes.release
    if case.date is None or not loaded.isdigit():
        return
    needed = find_release(case.date)
    if needed != loaded:
        yield Finding(
            "release",
            Severity.WARNING,
            (),
            f"service on {case.date} is coded with release {needed}, but this list is checked against release {loaded}",
        )


def find_unknown(case: Case) -> Iterator[Finding]:
    """A code that the release does not have: retired, or not a code."""
    codes = case.knowledge.codes
    for code in dict.fromkeys(case.listed):
        if code in case.known:
            continue
        retired = find_retired(code)
        if retired is not None and retired.since <= codes.release:
            successors = tuple(successor for successor in retired.successors if codes.is_billable(successor))
            message = f"{code} was retired: not valid since release {retired.since} ({retired.title})"
            yield Finding("not_in_release", Severity.ERROR, (code,), message, suggestions=successors)
            continue
        near = tuple(suggestion.code for suggestion in suggest(code, codes)[:5])
        message = f"{code or 'an empty entry'} is not a code of release {codes.release}"
        yield Finding("not_in_release", Severity.ERROR, (code,), message, suggestions=near)


def find_not_billable(case: Case) -> Iterator[Finding]:
    """A heading: characters are missing."""
    knowledge = case.knowledge
    for code in case.known:
        if knowledge.codes.is_billable(code):
            continue
        completions = knowledge.list_completions(code)
        node, sevenths = knowledge.profile(code).sevenths
        lengths = sorted({len(full.replace(".", "")) - len(code.replace(".", "")) for full in completions})
        span = str(lengths[0]) if lengths[:1] == lengths[-1:] else f"{lengths[0]} to {lengths[-1]}"
        missing = f"{span} more character{'' if lengths == [1] else 's'}"
        if sevenths:
            missing += f", the 7th being one of {', '.join(sevenths)}"
        more = f" ({len(completions)} completions)" if len(completions) > _SHOWN else ""
        text = "; ".join(f"{char} {meaning}" for char, meaning in sevenths.items())
        retired = find_retired(code)
        since = f" since release {retired.since}" if retired is not None and retired.since <= knowledge.codes.release else ""
        message = f"{code} is a heading{since} and not valid for submission: {missing} needed{more}"
        likely = [code for code in retired.successors if code in completions] if retired is not None else []
        suggestions = tuple(dict.fromkeys([*likely, *completions]))[:_SHOWN]
        yield Finding("not_billable", Severity.ERROR, (code,), message, node, text, suggestions)


def find_duplicates(case: Case) -> Iterator[Finding]:
    """The same code more than once: each is reported once per encounter (Official Guidelines, section I.B.12)."""
    for code, times in Counter(case.listed).items():
        if times > 1:
            yield Finding("duplicate", Severity.ERROR, (code,), f"{code} is listed {times} times; a code is reported once")


def find_ancestors(case: Case) -> Iterator[Finding]:
    """A code together with a heading it belongs to."""
    listed = set(case.known)
    for other in case.known:
        for code in case.knowledge.profile(other).ancestors[1:]:
            if code in listed:
                message = f"{code} is the heading of {other}, which says more: keep {other}"
                yield Finding("ancestor", Severity.ERROR, (code, other), message, code, _find_title(case, code), (other,))


def _find_title(case: Case, code: str) -> str:
    return case.knowledge.tabular.titles.get(code, "")
