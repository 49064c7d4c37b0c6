"""A list of codes with what is known of the patient, and what the release says of each code, looked up once."""

from __future__ import annotations

import bisect
import datetime
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from icd10cm.tabular import Note, Tabular

PREGNANCY, PERINATAL, EXTERNAL_CAUSES = "15", "16", "20"
"""Chapters with rules of their own, as nodes of the tabular list."""

_CONDITIONAL = re.compile(r"\bif (?:applicable|known|present|any|documented)\b|\bany\b|\bwhen\b|\bas applicable\b", re.I)
_EXAMPLES = re.compile(r"\bsuch as\b|\be\.g\.", re.I)
_UNDERLYING = re.compile(r"\bunderlying\b|\bresulting from\b|\bnature of the adverse effect\b", re.I)
_ALWAYS_KNOWN = re.compile(r"\bto (?:identify|specify) (?:the )?(?:stage|site|specific|weeks)\b", re.I)


def is_external_cause(code: str) -> bool:
    """Whether a code is of chapter 20, V00 to Y99."""
    return "V" <= code < "Z"


@dataclass(frozen=True, eq=False)
class Instruction:
    """A "Code first" or "Use additional code" note with all its lines.

    Attributes:
        text: the lines as printed.
        targets: node to the line that names it.
        conditional: whether it leaves open that there is such a code ("if applicable", "any associated").
        examples: whether its codes are examples only ("such as"), or none are named.
        menu: whether it has several lines.
        underlying: whether it speaks of the underlying disease or cause.
        always: whether it asks for a detail that every such patient has (the stage, the site).
    """

    text: str
    targets: Mapping[str, Note]
    conditional: bool
    examples: bool
    menu: bool
    underlying: bool
    always: bool


class Profile(NamedTuple):
    """What the tabular list says of a code, everything inherited.

    Attributes:
        ancestors: the code and every node above it, nearest first.
        named: those of them that an instruction of some code names.
        excludes1: for each node with Excludes1 notes, the nodes they name, with the note.
        code_first: the "Code first" instructions, each with the node it stands at.
        use_additional: the "Use additional code" instructions likewise.
        sevenths: the node that defines the 7th characters and their meaning; empty when there are none.
    """

    ancestors: tuple[str, ...]
    named: tuple[str, ...]
    excludes1: tuple[Mapping[str, Note], ...]
    code_first: tuple[tuple[str, Instruction], ...]
    use_additional: tuple[tuple[str, Instruction], ...]
    sevenths: tuple[str, Mapping[str, str]]


class Knowledge:
    """One release for the rules: its codes, its tabular list, and what follows for each code, worked out when first asked.

    Profiled: a third of the time of checking random lists went into looking up the same nodes again for each rule; one
    profile per code, shared by the codes that differ in the 7th character only, halved it.
    """

    def __init__(self, codes: CodeSet, tabular: Tabular) -> None:
        self.codes = codes
        self.tabular = tabular
        self.sides: dict[str, tuple[str | None, str]] = {}
        """Code to its side and condition, kept by `icd10cm.rules.laterality`."""
        self._profiles: dict[str, Profile] = {}

    def profile(self, code: str) -> Profile:
        """Return what the tabular list says of a code, also of one that it does not have."""
        found = self._profiles.get(code)
        if found is None:
            found = self._profiles[code] = self._build_profile(code)
        return found

    def has_code(self, code: str) -> bool:
        """Whether the release has a code or a heading; a plain code file does not list the headings between."""
        return code in self.codes.headings or (len(code) > 3 and bool(self.list_completions(code)))

    def list_completions(self, code: str) -> tuple[str, ...]:
        """Return the billable codes that begin with `code`, itself left out."""
        billable = self.codes.codes
        start = bisect.bisect_right(billable, code)
        return billable[start : bisect.bisect_right(billable, code + "~", start)]

    def _build_profile(self, code: str) -> Profile:
        ancestors = self.tabular.ancestors(code)
        if code not in self.tabular.parents and len(ancestors) > 1:
            stem = self.profile(ancestors[1])
            own = (code,) if code in self._named else ()
            return stem._replace(ancestors=ancestors, named=own + stem.named)
        sevenths = next((node for node in ancestors if node in self.tabular.sevenths), "")
        return Profile(
            ancestors,
            tuple(node for node in ancestors if node in self._named),
            tuple(self._excludes1[node] for node in ancestors if node in self._excludes1),
            tuple((node, one) for node in ancestors for one in self._code_first.get(node, ())),
            tuple((node, one) for node in ancestors for one in self._use_additional.get(node, ())),
            (sevenths, self.tabular.sevenths.get(sevenths, {})),
        )

    @functools.cached_property
    def _named(self) -> frozenset[str]:
        kinds = ("excludes1", "code_first", "use_additional_code")
        return frozenset(target for note in self.tabular.all_notes() if note.kind in kinds for target in note.targets)

    @functools.cached_property
    def _excludes1(self) -> dict[str, dict[str, Note]]:
        index: dict[str, dict[str, Note]] = {}
        for note in self.tabular.all_notes():
            if note.kind == "excludes1":
                for target in note.targets:
                    index.setdefault(note.node, {}).setdefault(target, note)
        return index

    @functools.cached_property
    def _code_first(self) -> dict[str, list[Instruction]]:
        return self._collect_instructions("code_first")

    @functools.cached_property
    def _use_additional(self) -> dict[str, list[Instruction]]:
        return self._collect_instructions("use_additional_code")

    def _collect_instructions(self, kind: str) -> dict[str, list[Instruction]]:
        groups: dict[tuple[str, int], list[Note]] = {}
        for note in self.tabular.all_notes():
            if note.kind == kind:
                groups.setdefault((note.node, note.group), []).append(note)
        found: dict[str, list[Instruction]] = {}
        for (node, _), notes in groups.items():
            found.setdefault(node, []).append(_build_instruction(notes))
        return found


def _build_instruction(notes: Sequence[Note]) -> Instruction:
    text = "; ".join(note.text for note in notes)
    targets = {target: note for note in reversed(notes) for target in note.targets}
    return Instruction(
        text,
        targets,
        conditional=_CONDITIONAL.search(text) is not None,
        examples=not targets or _EXAMPLES.search(text) is not None,
        menu=len(notes) > 1,
        underlying=_UNDERLYING.search(text) is not None,
        always=_ALWAYS_KNOWN.search(text) is not None,
    )


@dataclass(frozen=True)
class Case:
    """What is checked.

    Attributes:
        listed: the codes as given, dotted, in order, repeats and all; the first is the principal diagnosis.
        known: those that the release has, headings too, without repeats.
        sex: `"F"`, `"M"` or None.
        age: in years, None when unknown.
        encounter: `"initial"`, `"subsequent"`, `"sequela"` or None.
        date: day of service, None when unknown.
        knowledge: the release.
    """

    listed: tuple[str, ...]
    known: tuple[str, ...]
    sex: str | None
    age: float | None
    encounter: str | None
    date: datetime.date | None
    knowledge: Knowledge

    @property
    def principal(self) -> str | None:
        """The first code, None for an empty list."""
        return self.listed[0] if self.listed else None

    @functools.cached_property
    def holders(self) -> dict[str, list[str]]:
        """Node that some instruction names to the codes of the list at or below it."""
        holders: dict[str, list[str]] = {}
        for code in self.known:
            for node in self.knowledge.profile(code).named:
                holders.setdefault(node, []).append(code)
        return holders

    def find_in(self, targets: Mapping[str, Note], code: str) -> dict[str, Note]:
        """Return the other codes of the list that lie at or below any of `targets`, each with the note that names it."""
        found: dict[str, Note] = {}
        for node in targets.keys() & self.holders.keys():
            for other in self.holders[node]:
                if other != code:
                    found.setdefault(other, targets[node])
        return {other: found[other] for other in self.known if other in found} if found else found
