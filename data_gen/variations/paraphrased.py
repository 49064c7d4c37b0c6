"""A condition as a clinician mentions it: in a frame (`pt presents with …`, `f/u for …`, `h/o …`), often with distractors.

What is framed is a title or another name of the code. Distractors (`denies chest pain`, `FHx of breast ca`) speak of what
the patient does not have and add no code.
"""

from __future__ import annotations

import random
import re

from data_gen.casing import cap_first, lower_plain, type_case
from data_gen.distractors import write_distractor
from data_gen.vocabulary import uncap_first
from data_gen.words import Words
from icd10cm.codeset import find_chapter

_HISTORY = re.compile(r"personal history(?: of)? ", re.IGNORECASE)
_FAMILY = re.compile(r"family history of ", re.IGNORECASE)
_ENCOUNTER = re.compile(r"encounter for ", re.IGNORECASE)
_LONG_TERM = re.compile(r"long[ -]term \(current\) use of ", re.IGNORECASE)
_SUBSEQUENT = re.compile(r"\bsubsequent encounter\b", re.IGNORECASE)
_SEQUELA = re.compile(r"\bsequelae?\b", re.IGNORECASE)
_EXTERNAL, _STATUS, _PERINATAL, _PREGNANCY, _INJURY = 20, 21, 16, 15, 19

_FRAMES: dict[str, tuple[str, ...]] = {
    "condition": (
        "pt presents with {}", "pt presents w/ {}", "patient with {}", "pt w/ {}", "pt found to have {}", "found to have {}",
        "admitted for {}", "admitted with {}", "adm for {}", "dx: {}", "Dx {}", "diagnosed with {}", "pt dx'd with {}",
        "assessment: {}", "A/P: {}", "impression: {}", "Imp: {}", "presents with {}", "here for {}", "seen for {}",
        "workup shows {}", "consistent with {}", "evaluated for {}", "treated for {}", "being followed for {}",
        "eval c/w {}", "{} noted", "{} on exam and workup", "{} confirmed", "{} - cont current mgmt", "{}, stable",
    ),
    "injury": (
        "pt presents with {}", "presents w/ {}", "brought in with {}", "seen for {}", "evaluated for {}", "pt w/ {}",
        "dx: {}", "assessment: {}", "found to have {}", "impression: {}", "patient with {}", "came in with {}",
    ),
    "subsequent": (
        "here for f/u of {}", "f/u visit for {}", "follow-up of {}", "returns for {}", "seen in f/u for {}", "f/u: {}",
        "clinic visit for {}", "pt returns with {}", "dx: {}", "assessment: {}", "seen again for {}", "recheck of {}",
    ),
    "sequela": (
        "seen for {}", "evaluated for {}", "dx: {}", "assessment: {}", "pt w/ {}", "impression: {}", "here because of {}",
        "patient with {}", "problem: {}", "clinic visit for {}",
    ),
    "external": (
        "mechanism: {}", "cause of injury: {}", "circumstances: {}", "mechanism of injury: {}", "MOI: {}", "external cause: {}",
        "how it happened: {}", "reported cause: {}", "per EMS: {}", "per pt: {}", "event: {}", "documented cause: {}",
    ),
    "status": (
        "on record: {}", "noted: {}", "pt chart: {}", "problem list: {}", "documented: {}", "PMH/status: {}", "relevant: {}",
        "assessment: {}", "of note: {}", "chart lists {}", "per chart {}", "background: {}",
    ),
    "newborn": (
        "newborn: {}", "infant: {}", "baby found to have {}", "neonate, {}", "NICU: {}", "dx: {}", "assessment: {}",
        "nursery note: {}", "impression: {}", "neonatal problem: {}",
    ),
    "pregnancy": (
        "OB: {}", "OB visit: {}", "pt w/ {}", "dx: {}", "assessment: {}", "seen in OB clinic for {}", "L&D note: {}",
        "followed by OB for {}", "impression: {}", "patient with {}", "problem: {}",
    ),
    "history": (
        "h/o {}", "hx of {}", "past hx of {}", "PMH of {}", "PMHx: h/o {}", "pt has h/o {}", "past history of {}",
        "patient with prior history of {}", "known h/o {}", "personal hx of {}",
    ),
    "family": (
        "FHx of {}", "fam hx of {}", "family hx: {}", "FH positive for {}", "FHx pos for {}", "strong family history of {}",
        "relative with {}", "FH notable for {}", "reports family hx of {}", "Fam Hx sig for {}",
    ),
    "encounter": (
        "here for {}", "presents for {}", "pt here for {}", "seen for {}", "visit for {}", "comes in for {}", "pt comes for {}",
        "reason for visit: {}", "appt for {}", "in clinic for {}",
    ),
    "drug": (
        "on long-term {}", "pt on long-term {}", "chronically on {}", "takes {} long term", "current long-term use of {}",
        "maintained on long-term {}", "med list: long-term {}", "long-term therapy with {}",
    ),
}  # fmt: skip
"""Kind of phrase to frames. What `history`, `family`, `encounter` and `drug` say is cut from the phrase."""

_CUT = {"history": _HISTORY, "family": _FAMILY, "encounter": _ENCOUNTER, "drug": _LONG_TERM}
_OF_CHAPTER = {_EXTERNAL: "external", _STATUS: "status", _PERINATAL: "newborn", _PREGNANCY: "pregnancy", _INJURY: "injury"}
_DISTRACTED = ("condition", "injury", "subsequent", "history", "encounter", "drug", "sequela", "pregnancy")
_JOINTS = ("{}, {}", "{}, {}", "{}; {}", "{}. {}", "{} - {}")
_SHARE_DISTRACTED = 0.45


def vary(title: str, rng: random.Random, words: Words | None = None, code: str = "") -> str:
    """Return `title`, or another name of `code`, in a frame that suits it, in about half of the cases with a distractor."""
    kind = find_kind(title, code)
    phrase = uncap_first(_CUT[kind].sub("", title, count=1) if kind in _CUT else title)
    frame = rng.choice(_FRAMES[kind])
    text = frame.format(phrase if rng.random() < 0.5 else lower_plain(phrase))
    if kind in _DISTRACTED and rng.random() < _SHARE_DISTRACTED:
        distractor = write_distractor(title, rng, relatives=kind not in ("history", "pregnancy"))
        if distractor is not None:
            text = _join(text, distractor, rng)
    draw = rng.random()
    if draw < 0.35:
        return cap_first(text)
    return text.lower() if draw < 0.5 else text


def say_plainly(phrase: str, rng: random.Random) -> str:
    """Return a name of a condition as it is, in the case somebody typed it."""
    return type_case(phrase, rng)


def find_kind(phrase: str, code: str = "") -> str:
    """Return the key of `_FRAMES` that suits a phrase; without a code only what the phrase itself says is known."""
    for kind, pattern in _CUT.items():
        if pattern.match(phrase):
            return kind
    chapter = find_chapter(code) if code else 0
    if chapter == _EXTERNAL:
        return "external"
    if _SUBSEQUENT.search(phrase):
        return "subsequent"
    if _SEQUELA.search(phrase):
        return "sequela"
    return _OF_CHAPTER.get(chapter, "condition")


def _join(text: str, distractor: str, rng: random.Random) -> str:
    joint = rng.choice(_JOINTS)
    if rng.random() < 0.12 and ":" not in text:
        # a comma would carry `denies` on to the condition
        return f"{distractor}. {cap_first(text)}"
    return joint.format(text, cap_first(distractor) if joint == "{}. {}" else distractor)
