"""Synthetic discharge summaries with the section headings of MIMIC-IV notes; no patient and no real note is behind them.

The codes of a note are those of the conditions it reports. Symptoms denied, conditions ruled out, diseases of relatives
and childhood illnesses are in it too, and add no code.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from data_gen.casing import cap_first
from data_gen.distractors import choose_denied, choose_relatives, choose_ruled_out
from data_gen.note_lines import (
    CONDITIONS_AT_DISCHARGE,
    COURSES,
    DISPOSITIONS,
    EXAM,
    FORMER,
    INSTRUCTIONS,
    LABS,
    MEDICATIONS,
    OPENINGS,
    PROCEDURES,
    SERVICES,
    SOCIAL,
    choose_free,
)
from data_gen.variations.paraphrased import find_kind
from icd10cm.codeset import find_chapter

_BACKGROUND = ("status", "history", "drug")
_NEW_CHAPTERS = (1, 15, 16, 18, 19, 20, 21, 22)
_ACUTE = re.compile(
    r"\b(?:acute|initial|ST elevation|infarction|hemorrhage|obstruction|perforation|exacerbation)\b", re.IGNORECASE
)


class Condition(NamedTuple):
    """One condition of a note.

    Attributes:
        code: its code.
        title: the title of the code.
        text: what the note calls it.
        again: what the note calls it where it comes up a second time.
    """

    code: str
    title: str
    text: str
    again: str


def write_note(conditions: Sequence[Condition], sex: str | None, rng: random.Random, *, infant: bool = False) -> str:
    """Return a discharge summary of a patient with `conditions`, principal diagnosis first.

    Args:
        conditions: one or more, none of family history.
        sex: `F`, `M`, or None to draw one.
        rng: every choice comes from it.
        infant: whether the patient is in the first year.
    """
    sex = sex or rng.choice("FM")
    said = " ".join(f"{condition.title} {condition.text}" for condition in conditions).lower()
    background = [one for one in conditions[1:] if find_kind(one.title, one.code) in _BACKGROUND]
    causes = [one for one in conditions[1:] if find_kind(one.title, one.code) == "external"]
    active = [one for one in conditions if one not in background and one not in causes]
    past = background + [one for one in active[1:] if _may_be_past(one) and rng.random() < 0.5]
    sections = [
        ("Chief Complaint", cap_first(conditions[0].again)),
        ("Major Surgical or Invasive Procedure", rng.choice(PROCEDURES)),
        ("History of Present Illness", _tell_history(active, past, causes, said, sex, rng, infant)),
        ("Past Medical History", _list_past(past, rng, infant)),
        ("Social History", "___" if infant else rng.choice(SOCIAL) if not _is_habit(said) else "___"),
        ("Family History", _tell_family(said, rng)),
        ("Physical Exam", "\n".join(choose_free(EXAM, said, rng, 6))),
        ("Pertinent Results", _list_results(said, rng)),
        ("Brief Hospital Course", _tell_course(active, past, said, rng)),
        ("Discharge Medications", _number(rng.sample(MEDICATIONS, rng.randint(2, 5)))),
        ("Discharge Disposition", rng.choice(DISPOSITIONS)),
        ("Discharge Diagnosis", _list_diagnoses(active, background, causes, rng)),
        ("Discharge Condition", rng.choice(CONDITIONS_AT_DISCHARGE)),
        ("Discharge Instructions", rng.choice(INSTRUCTIONS)),
        ("Followup Instructions", "___"),
    ]
    head = (
        "Name:  ___                     Unit No:   ___\n\nAdmission Date:  ___              Discharge Date:   ___\n\n"
        f"Date of Birth:  ___             Sex:   {sex}\n\nService: {rng.choice(SERVICES)}\n\n"
        "Allergies:\nNo Known Allergies / Adverse Drug Reactions\n\nAttending: ___.\n\n"
    )
    return head + "\n\n".join(f"{name}:\n{text}" for name, text in sections)


def _may_be_past(one: Condition) -> bool:
    """Whether a condition may have been there before this stay: no symptom, injury, pregnancy, newborn's or acute one."""
    return find_chapter(one.code) not in _NEW_CHAPTERS and not _ACUTE.search(one.title)


def _tell_history(
    active: Sequence[Condition],
    past: Sequence[Condition],
    causes: Sequence[Condition],
    said: str,
    sex: str,
    rng: random.Random,
    infant: bool,
) -> str:
    who = {"F": "woman", "M": "man"}[sex] if not infant else {"F": "infant girl", "M": "infant boy"}[sex]
    age = "___ day old" if infant else "___ year old" if rng.random() < 0.6 else "___ y/o"
    # what the patient comes in with is the principal diagnosis
    history = f" with PMH notable for {past[0].text}" if past and rng.random() < 0.6 else ""
    sentences = [rng.choice(OPENINGS).format(age=age, who=who, history=history, what=active[0].text)]
    if causes:
        sentences.append(f"Mechanism: {'; '.join(cause.text for cause in causes)}.")
    denied = choose_denied(said, rng, rng.randint(1, 3)) if not infant else []
    if denied:
        sentences.append(rng.choice(("Denies {}.", "Pt denied {}.", "ROS negative for {}.")).format(", ".join(denied)))
    if rng.random() < 0.4 and (out := choose_ruled_out(said, rng)):
        sentences.append(rng.choice(("{} was ruled out in the ED.", "In the ED, w/u was negative for {}.")).format(out[0]))
    return " ".join(sentences)


def _list_past(past: Sequence[Condition], rng: random.Random, infant: bool) -> str:
    lines = [one.text for one in past]
    if not infant and rng.random() < 0.4:
        lines.append(rng.choice(FORMER))
    if not lines:
        return rng.choice(("None", "Otherwise healthy", "___"))
    mark = rng.choice(("- ", "", "# ", "-"))
    return "\n".join(mark + line for line in lines)


def _tell_family(said: str, rng: random.Random) -> str:
    relatives = choose_relatives(said, rng, rng.randint(0, 2))
    if not relatives:
        return rng.choice(("Non-contributory.", "___", "NC"))
    whose = rng.sample(("Mother with {}.", "Father had {}.", "Brother with {}.", "Grandmother had {}.", "FHx of {}."), 2)
    return " ".join(frame.format(what) for frame, what in zip(whose, relatives, strict=False))


def _list_results(said: str, rng: random.Random) -> str:
    labs = [
        f"{name}-{rng.uniform(low, high):.{places}f}"
        for name, low, high, places in choose_free(LABS, said, rng, rng.randint(4, 8))
    ]
    text = f"ADMISSION LABS:\n___ BLOOD {' '.join(labs)}" if labs else "___"
    if rng.random() < 0.4 and (out := choose_ruled_out(said, rng)):
        text += f"\n\nIMAGING: no evidence of {out[0]}."
    return text


def _tell_course(active: Sequence[Condition], past: Sequence[Condition], said: str, rng: random.Random) -> str:
    paragraphs = []
    for number, one in enumerate(active):
        kind = find_kind(one.title, one.code)
        course = rng.choice(COURSES["chronic" if one in past else kind if kind in COURSES else "condition"])
        paragraphs.append(f"# {cap_first(one.again if number == 0 else one.text)}: {course}")
    if rng.random() < 0.4 and (out := choose_ruled_out(said, rng)):
        paragraphs.append(f"# R/o {out[0]}: Work-up was negative; {out[0]} was ruled out.")
    return "\n\n".join(paragraphs)


def _list_diagnoses(
    active: Sequence[Condition], background: Sequence[Condition], causes: Sequence[Condition], rng: random.Random
) -> str:
    rest = [one.text for one in (*active[1:], *causes)]
    if rng.random() < 0.4:
        rest += [one.text for one in background]
    first = active[0].text
    if not rest:
        return first
    if rng.random() < 0.5:
        return f"Primary:\n{first}\n\nSecondary:\n" + "\n".join(rest)
    return f"PRIMARY DIAGNOSIS: {first}\nSECONDARY DIAGNOSES: {'; '.join(rest)}"


def _number(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _is_habit(said: str) -> bool:
    return any(stem in said for stem in ("tobac", "nicotin", "smok", "alcohol", "opioid", "drug", "cannab", "cocain", "use of"))
