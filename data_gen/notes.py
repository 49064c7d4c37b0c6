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
from data_gen.chronic import is_chronic, is_history
from data_gen.courses import COURSES, choose_kind, is_grave
from data_gen.distractors import choose_denied, choose_relatives, choose_ruled_out, choose_unseen
from data_gen.note_lines import (
    CONDITIONS_AT_DISCHARGE,
    DISPOSITIONS,
    ENCOUNTER_OPENINGS,
    EXAM,
    FORMER,
    INSTRUCTIONS,
    INSTRUCTIONS_TO_PARENTS,
    LABS,
    MEDICATIONS,
    MEDICATIONS_OF_CHILDREN,
    OPENINGS,
    PROCEDURES,
    SERVICES,
    SOCIAL,
    SOCIAL_OF_CHILDREN,
    SOCIAL_OF_OLD,
    choose_free,
)
from data_gen.variations.paraphrased import find_kind

_BACKGROUND = ("status", "history", "drug")
_INFANT, _CHILD, _OLD = 1.0, 20.0, 50.0
_HABITS = ("F", "G93", "G31", "I69", "J44", "K70", "K86.0", "O99.3", "P", "Q9", "R4", "T", "Y90", "Z5", "Z6", "Z7", "Z8", "Z9")
_SPEECHLESS = ("F0", "F72", "F73", "F84", "G9", "I6", "J80", "J96", "R40", "R41", "R47", "S06", "T", "Z99.1")
_CRITICAL = ("A40", "A41", "G93", "I21", "I46", "J80", "J96", "K55.0", "K63.1", "K65", "K72", "R57", "R65", "T31", "T79")
_GERMS = ("B95", "B96", "B97", "Z16")
_DEAD = re.compile(r"\bbrain dea(?:d|th)\b|\bdeath\b|stillb|syndrome, grade 5", re.IGNORECASE)
_TELLS_OF_PAST = re.compile(r"(?:pmh|h/o|hx|p/?h |ph |personal|past|status|s/p|long|lt )", re.IGNORECASE)


class Condition(NamedTuple):
    """One condition of a note.

    Attributes:
        code: its code.
        title: the title of the code.
        text: what the note calls it.
        again: what the note calls it where it comes up a second time; readable by itself.
    """

    code: str
    title: str
    text: str
    again: str


class _Patient(NamedTuple):
    """What every section keeps to."""

    codes: tuple[str, ...]
    said: str
    sex: str
    infant: bool
    child: bool
    old: bool
    dead: bool
    grave: bool


def write_note(
    conditions: Sequence[Condition], sex: str | None, rng: random.Random, ages: tuple[float, float] = (2, 200)
) -> str:
    """Return a discharge summary of a patient with `conditions`, principal diagnosis first.

    Args:
        conditions: one or more, none of family history.
        sex: `F`, `M`, or None to draw one.
        rng: every choice comes from it.
        ages: lowest and highest age, in years, of those who have all of the conditions.
    """
    patient = _read_patient(conditions, sex or rng.choice("FM"), ages)
    status = [one for one in conditions[1:] if find_kind(one.title, one.code) in _BACKGROUND]
    background = [one for one in status if is_history(one.code)]
    noted = [one for one in conditions[1:] if (one in status and one not in background) or one.code.startswith(_GERMS)]
    causes = [one for one in conditions[1:] if find_kind(one.title, one.code) == "external"]
    active = [one for one in conditions if one not in status and one not in causes and one not in noted]
    chronic = [one for one in active[1:] if is_chronic(one.code, one.title) and rng.random() < 0.8]
    past = background + chronic
    sections = [
        ("Chief Complaint", cap_first(conditions[0].again)),
        ("Major Surgical or Invasive Procedure", rng.choice(PROCEDURES)),
        ("History of Present Illness", _tell_history(active, past, causes, patient, rng)),
        ("Past Medical History", _list_past(past, patient, rng)),
        ("Social History", _tell_social(patient, rng)),
        ("Family History", _tell_family(patient.said, rng)),
        ("Physical Exam", _tell_exam(patient, rng)),
        ("Pertinent Results", _list_results(patient, rng)),
        ("Brief Hospital Course", _tell_course(active, past, noted, patient, rng)),
        ("Discharge Medications", _list_medications(patient, rng)),
        ("Discharge Disposition", "Expired" if patient.dead else _choose_disposition(patient, rng)),
        ("Discharge Diagnosis", _list_diagnoses(active, background, rng)),
        ("Discharge Condition", _tell_condition(patient, rng)),
        ("Discharge Instructions", _choose_instructions(patient, rng)),
        ("Followup Instructions", "___"),
    ]
    head = (
        "Name:  ___                     Unit No:   ___\n\nAdmission Date:  ___              Discharge Date:   ___\n\n"
        f"Date of Birth:  ___             Sex:   {patient.sex}\n\nService: {_choose_service(patient)}\n\n"
        "Allergies:\nNo Known Allergies / Adverse Drug Reactions\n\nAttending: ___.\n\n"
    )
    if any(one.code.startswith(("T78", "Z88", "Z91.0")) for one in conditions):
        head = head.replace("No Known Allergies / Adverse Drug Reactions", "___")
    return head + "\n\n".join(f"{name}:\n{text}" for name, text in sections)


def _read_patient(conditions: Sequence[Condition], sex: str, ages: tuple[float, float]) -> _Patient:
    said = " ".join(f"{condition.title} {condition.text}" for condition in conditions)
    # what data_gen.distractors asks of codes
    said = " ".join((said, *(f"~{one.code[:2]}" for one in conditions))).lower()
    low, high = ages
    dead = any(_DEAD.search(one.title) and one.code[0] not in "OVWXYZ" for one in conditions)
    return _Patient(
        codes=tuple(one.code for one in conditions),
        said=said,
        sex=sex,
        infant=high <= _INFANT,
        child=_INFANT < high <= _CHILD,
        old=low >= _OLD,
        dead=dead,
        grave=any(is_grave(one.title) and one.code[0] != "Z" for one in conditions),
    )


def _choose_service(patient: _Patient) -> str:
    if patient.infant:
        return "NEONATOLOGY"
    if patient.child:
        return "PEDIATRICS"
    return next((service for start, service in SERVICES if patient.codes[0].startswith(start)), "MEDICINE")


def _tell_history(
    active: Sequence[Condition], past: Sequence[Condition], causes: Sequence[Condition], patient: _Patient, rng: random.Random
) -> str:
    who = {"F": ("woman", "girl", "infant girl"), "M": ("man", "boy", "infant boy")}[patient.sex]
    age = "___ day old" if patient.infant else "___ year old" if rng.random() < 0.6 else "___ y/o"
    history = ""
    if past and rng.random() < 0.6:
        history = f" with {'' if _TELLS_OF_PAST.match(past[0].text) else 'PMH notable for '}{past[0].text}"
    first = active[0]
    seen = first.code[0] == "Z" or find_kind(first.title, first.code) in ("encounter", "subsequent", "sequela", "newborn")
    # what the patient comes in with is the principal diagnosis
    sentences = [
        rng.choice(ENCOUNTER_OPENINGS if seen else OPENINGS).format(
            age=age, who=who[2 if patient.infant else 1 if patient.child else 0], history=history, what=first.text
        )
    ]
    if causes:
        told = "Mechanism" if causes[0].code < "Y62" and len(causes) == 1 else "Circumstances"
        sentences.append(f"{told}: {'; '.join(cause.again for cause in causes)}.")
    if not (patient.infant or patient.child):
        sentences += _tell_negatives(patient, rng)
    return " ".join(sentences)


def _tell_negatives(patient: _Patient, rng: random.Random) -> list[str]:
    sentences = []
    speechless = patient.dead or any(code.startswith(_SPEECHLESS) for code in patient.codes) or "coma" in patient.said
    denied = [] if speechless else choose_denied(patient.said, rng, rng.randint(1, 3))
    if denied:
        sentences.append(rng.choice(("Denies {}.", "Pt denied {}.", "ROS negative for {}.")).format(", ".join(denied)))
    if rng.random() < 0.4 and (out := choose_ruled_out(patient.said, rng)):
        frame = rng.choice(("{} was ruled out in the ED.", "In the ED, w/u was negative for {}."))
        sentences.append(cap_first(frame.format(out[0])))
    return sentences


def _list_past(past: Sequence[Condition], patient: _Patient, rng: random.Random) -> str:
    lines = [one.again for one in past]
    if not (patient.infant or patient.child) and rng.random() < 0.4:
        lines += choose_free(FORMER, patient.said, patient.codes, rng, 1)
    if not lines:
        return "None" if all(code[0] in "SVWXY" for code in patient.codes) else "___"
    mark = rng.choice(("- ", "", "# ", "-"))
    return "\n".join(mark + line for line in lines)


def _tell_social(patient: _Patient, rng: random.Random) -> str:
    if patient.infant:
        return "___"
    if patient.child:
        return (
            "___"
            if any(code.startswith(("Z6", "Z7", "Z5", "T74", "T76", "Y07")) for code in patient.codes)
            else rng.choice(SOCIAL_OF_CHILDREN)
        )
    if patient.grave or any(code.startswith(_HABITS) for code in patient.codes) or _is_habit(patient.said):
        return "___"
    return rng.choice(("___", *SOCIAL, SOCIAL_OF_OLD) if patient.old else ("___", *SOCIAL))


def _tell_family(said: str, rng: random.Random) -> str:
    relatives = choose_relatives(said, rng, rng.randint(0, 2))
    if not relatives:
        return rng.choice(("Non-contributory.", "___", "NC"))
    whose = rng.sample(("Mother with {}.", "Father had {}.", "Uncle with {}.", "Grandmother had {}.", "FHx of {}."), 2)
    if "breast ca" in relatives:
        whose = ["Mother with {}.", "Grandmother had {}."]
    return " ".join(frame.format(what) for frame, what in zip(whose, relatives, strict=False))


def _tell_exam(patient: _Patient, rng: random.Random) -> str:
    ill = patient.grave or any(code.startswith(_CRITICAL) for code in patient.codes)
    return "\n".join(choose_free(EXAM[:1] if ill else EXAM, patient.said, patient.codes, rng, 6))


def _list_results(patient: _Patient, rng: random.Random) -> str:
    chosen = [] if patient.infant or patient.child else choose_free(LABS, patient.said, patient.codes, rng, rng.randint(4, 8))
    labs = [f"{name}-{rng.uniform(low, high):.{places}f}" for name, low, high, places in chosen]
    text = f"ADMISSION LABS:\n___ BLOOD {' '.join(labs)}" if labs else "___"
    if not (patient.infant or patient.child) and rng.random() < 0.4 and (out := choose_unseen(patient.said, rng)):
        text += f"\n\nIMAGING: no evidence of {out[0]}."
    return text


def _tell_course(
    active: Sequence[Condition], past: Sequence[Condition], noted: Sequence[Condition], patient: _Patient, rng: random.Random
) -> str:
    paragraphs = []
    for one in active:
        kind = choose_kind(one.code, one.title, find_kind(one.title, one.code), one in past)
        frames = COURSES["grave" if patient.dead else kind]
        paragraphs.append(f"# {cap_first(one.again)}: {rng.choice(frames)}")
    if noted:
        paragraphs.append(f"Also documented this stay: {'; '.join(one.again for one in noted)}.")
    if not (patient.infant or patient.child) and rng.random() < 0.4 and (out := choose_ruled_out(patient.said, rng)):
        paragraphs.append(f"# R/o {out[0]}: Work-up was negative; {out[0]} was ruled out.")
    return "\n\n".join(paragraphs)


def _list_medications(patient: _Patient, rng: random.Random) -> str:
    if patient.dead:
        return "None"
    stock: Sequence[tuple[str, str, str]] = MEDICATIONS_OF_CHILDREN if patient.infant or patient.child else MEDICATIONS
    stock = stock[1:] if patient.infant else stock
    return _number(choose_free(stock, patient.said, patient.codes, rng, rng.randint(2, 5))) or "___"


def _choose_disposition(patient: _Patient, rng: random.Random) -> str:
    return (
        "Home"
        if patient.infant or patient.child
        else "Extended Care\n\nFacility:\n___"
        if patient.grave
        else rng.choice(DISPOSITIONS)
    )


def _tell_condition(patient: _Patient, rng: random.Random) -> str:
    if patient.dead:
        return "Expired."
    if patient.grave:
        return "Guarded."
    return str(rng.choice(choose_free(CONDITIONS_AT_DISCHARGE, patient.said, patient.codes, rng, 3)))


def _choose_instructions(patient: _Patient, rng: random.Random) -> str:
    if patient.dead:
        return "Not applicable."
    return rng.choice(INSTRUCTIONS_TO_PARENTS if patient.infant or patient.child else INSTRUCTIONS)


def _list_diagnoses(active: Sequence[Condition], background: Sequence[Condition], rng: random.Random) -> str:
    rest = [one.text for one in active[1:]]
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
    stems = (
        "tobac", "nicotin", "smok", "alcohol", "opioid", "drug", "cannab", "cocain", "use of", "stimul", "hallucin", "sedat",
        "inhalant", "substance", "abuse", "intoxic", "withdrawal", "dement", "withdraw",
    )  # fmt: skip
    return any(stem in said for stem in stems)
