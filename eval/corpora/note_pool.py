"""Invented notes in the layout of MIMIC-IV's discharge summaries, put together from a pool; no patient is behind them.

The pool is rendered once. A note draws a piece for each section and words the titles of its codes into it, about 8 to 10 kB
in all. What the pieces say besides is normal or has no code, but nothing in a note is checked against the rest of it:
these notes exercise the loading of a corpus, `data_gen.notes` writes those that are for learning.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_gen.casing import cap_first
from data_gen.courses import COURSES
from data_gen.note_lines import DISPOSITIONS, EXAM, LABS, MEDICATIONS, OPENINGS
from data_gen.variations import VARIATIONS
from icd10cm.codeset import CodeSet

HEADINGS = ("Chief Complaint", "History of Present Illness", "Past Medical History", "Brief Hospital Course",
            "Discharge Diagnosis")  # fmt: skip
"""Sections that every note here has."""

_PIECES = 300
_VARIATIONS = ("abbreviated", "reordered")
_SERVICES = ("MEDICINE", "SURGERY", "CARDIOTHORACIC", "NEUROLOGY", "ORTHOPAEDICS", "OBSTETRICS/GYNECOLOGY", "PSYCHIATRY")
_STORIES = (
    "The patient was in the usual state of health until ___ days prior to presentation.",
    "Symptoms began at home on ___ and did not get better with rest.",
    'She told the team: "I just did not feel right", and her daughter, a nurse, called ___.',
    "He was seen by his PCP at ___, who sent him to the ED.",
    "In the ED, initial vitals were: T ___, HR 84, BP 132/76, RR 16, SpO2 98% RA.",
    "Labs were notable for the values below; EKG showed NSR, no ST changes compared to ___.",
    "He was given 1L NS, IV fluids and his home medications, then transferred to the floor.",
    "On arrival to the floor, the patient reports the history above, comfortable, no new complaints.",
    "Review of systems: (+) per HPI; (-) all other systems reviewed and negative.",
    "Mme ___ speaks French; an interpreter (naïve to the case) was used, temp 37°C – afebrile.",
    "Records were requested from ___; the outside notes, labs, and imaging were reviewed.",
    "Of note, the patient was last admitted in ___ at another hospital, course not available.",
)
_FINDINGS = (
    "CHEST (PORTABLE AP) ___: The lungs are clear. The cardiomediastinal silhouette is within normal limits.",
    "ECHO ___: LVEF = 60%. Normal biventricular cavity sizes and preserved global systolic function.",
    "CT HEAD W/O CONTRAST ___: No acute intracranial abnormality.",
    "EKG ___: Sinus rhythm, normal axis, normal intervals.",
    "RENAL U.S. ___: No hydronephrosis, stones, or masses.",
    "___ 11:20 am BLOOD CULTURE - **FINAL REPORT ___** Blood Culture, Routine (Final ___): NO GROWTH.",
    "MRSA SCREEN (Final ___): No MRSA isolated.",
)
_ADVICE = (
    "It was a pleasure taking care of you at the ___.",
    "You were admitted to the hospital because you did not feel well.",
    "While you were here, we did blood tests and imaging, and changed some of your medications.",
    "When you go home, please take your medications as prescribed and weigh yourself every morning.",
    "Call your doctor if your weight goes up more than 3 lbs, if you have a fever, or if you feel worse in any way.",
    "Please keep all of your appointments, listed below.",
    "We wish you the best!\nYour ___ Team",
)
_COURSES = [frame for kind in ("condition", "passing", "chronic") for frame in COURSES[kind]]


class Wording(NamedTuple):
    """What notes call a code: its title and variants of it."""

    code: str
    texts: tuple[str, ...]


class Pool(NamedTuple):
    """Pieces of each section."""

    stories: tuple[str, ...]
    exams: tuple[str, ...]
    results: tuple[str, ...]
    medications: tuple[str, ...]
    advice: tuple[str, ...]


def build_pool(seed: int) -> Pool:
    """Return the pieces of which notes are made."""
    rng = random.Random(f"pool {seed}")
    writers: tuple[Callable[[random.Random], str], ...] = (
        _tell_story,
        _tell_exam,
        _list_results,
        _list_medications,
        _give_advice,
    )
    return Pool(*(tuple(write(rng) for _ in range(_PIECES)) for write in writers))


def word_codes(codes: Sequence[str], codeset: CodeSet, seed: int) -> list[Wording]:
    """Return what notes call each of `codes`, all billable: the title in two letter cases, and shortened or reordered."""
    wordings = []
    for code in codes:
        rng = random.Random(f"{seed} {code}")
        title = codeset.title(code)
        varied = VARIATIONS[rng.choice(_VARIATIONS)](title, rng)
        wordings.append(Wording(code, tuple(dict.fromkeys((title, title.lower(), varied or title)))))
    return wordings


def assemble_note(conditions: Sequence[Wording], sex: str, pool: Pool, rng: random.Random) -> str:
    """Return a discharge summary of a patient with `conditions`, the principal one first; there may be none."""
    named = [_choose(condition.texts, rng) for condition in conditions] or ["weakness"]
    who = "woman" if sex == "F" else "man"
    past = named[1 + len(named) // 2 :]
    history = f" with {past[0]}" if past else ""
    opening = _choose(OPENINGS, rng).format(age="___ year old", who=who, history=history, what=named[0])
    course = "\n\n".join(f"# {cap_first(name)}: {_choose(_COURSES, rng)}" for name in named)
    sections = (
        ("Chief Complaint", cap_first(named[0])),
        ("Major Surgical or Invasive Procedure", "None"),
        ("History of Present Illness", f"{opening} {_choose(pool.stories, rng)}"),
        ("Past Medical History", "\n".join(f"- {name}" for name in past) or "None"),
        ("Social History", "___"),
        ("Family History", "Non-contributory."),
        (
            "Physical Exam",
            f"ADMISSION PHYSICAL EXAM:\n{_choose(pool.exams, rng)}\n\nDISCHARGE EXAM:\n{_choose(pool.exams, rng)}",
        ),
        ("Pertinent Results", _choose(pool.results, rng)),
        ("Brief Hospital Course", f"{_choose(pool.stories, rng)}\n\n{course}"),
        ("Medications on Admission", _choose(pool.medications, rng)),
        ("Discharge Medications", _choose(pool.medications, rng)),
        ("Discharge Disposition", _choose(DISPOSITIONS, rng)),
        ("Discharge Diagnosis", "\n".join(named)),
        ("Discharge Condition", "Mental Status: Clear and coherent.\nLevel of Consciousness: Alert and interactive."),
        ("Discharge Instructions", f"Dear {'Ms.' if sex == 'F' else 'Mr.'} ___,\n\n{_choose(pool.advice, rng)}"),
        ("Followup Instructions", "___"),
    )
    head = (
        f" \nName:  ___                     Unit No:   ___\n \nAdmission Date:  ___              Discharge Date:   ___\n \n"
        f"Date of Birth:  ___             Sex:   {sex}\n \nService: {_choose(_SERVICES, rng)}\n \n"
        "Allergies: \nNo Known Allergies / Adverse Drug Reactions\n \nAttending: ___.\n \n"
    )
    return head + "\n \n".join(f"{name}:\n{text}" for name, text in sections) + "\n"


def assemble_letter(sex: str, pool: Pool, rng: random.Random) -> str:
    """Return a text that speaks to the patient, as other data sets derived from MIMIC-IV hold instead of the note."""
    return f"Dear {'Ms.' if sex == 'F' else 'Mr.'} ___,\n\n{_choose(pool.advice, rng)}"


def _choose(items: Sequence[str], rng: random.Random) -> str:
    """Return one of `items`; four times as fast as `choice`, which a note calls some fifty times."""
    return items[int(rng.random() * len(items))]


def _tell_story(rng: random.Random) -> str:
    return " ".join(rng.sample(_STORIES, rng.randint(7, 10)))


def _tell_exam(rng: random.Random) -> str:
    lines = [line for line, _, _ in EXAM]
    return "\n".join(["VITALS: 98.2 PO 118 / 72 68 18 97 RA", *rng.sample(lines, rng.randint(7, len(lines)))])


def _list_results(rng: random.Random) -> str:
    days = []
    for number in range(rng.randint(14, 22)):
        values = " ".join(f"{name}-{rng.uniform(low, high):.{places}f}" for (name, low, high, places), _, _ in LABS)
        days.append(f"___ 0{number % 10}:{rng.randint(10, 59)}AM BLOOD {values}")
    return "\n".join(["ADMISSION LABS", "=" * 14, *days, "", *rng.sample(_FINDINGS, 5)])


def _list_medications(rng: random.Random) -> str:
    lines = [f"{number}. {line[0]}" for number, line in enumerate(rng.sample(MEDICATIONS, 6), 1)]
    return "The Preadmission Medication list is accurate and complete.\n" + " \n".join(lines)


def _give_advice(rng: random.Random) -> str:
    return "\n\n".join(_ADVICE[:1] + tuple(rng.sample(_ADVICE[1:-1], 5)) + _ADVICE[-1:])
