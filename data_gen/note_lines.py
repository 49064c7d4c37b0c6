"""What the sections of a synthetic note are made of. A line isn't used beside what would contradict it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

SERVICES = (("O", "OBSTETRICS/GYNECOLOGY"), ("S", "SURGERY"), ("G", "NEUROLOGY"), ("I6", "NEUROLOGY"), ("F", "PSYCHIATRY"))
"""Beginning of the principal diagnosis to service; MEDICINE for the rest."""

PROCEDURES = ("None", "None", "none", "___", "None this admission")
OPENINGS = (
    "This is a {age} {who}{history} who presents with {what}.",
    "{age} {who}{history} who was admitted with {what}.",
    "Pt is a {age} {who}{history} presenting w/ {what}.",
    "{age} {who}{history}, brought to the ED and found to have {what}.",
    "The patient is a {age} {who}{history} transferred from an outside hospital for {what}.",
    "{age} {who}{history} seen for {what}.",
)
ENCOUNTER_OPENINGS = (
    "{age} {who}{history} seen for {what}.",
    "This is a {age} {who}{history}; reason for this stay: {what}.",
)
SOCIAL = (
    "Lives with spouse. Never smoker, no alcohol, no illicits.",
    "Lives with family. Denies tobacco, EtOH and drugs.",
    "Denies tobacco and illicits. Rare EtOH.",
)
SOCIAL_OF_OLD = "Retired. No tobacco. Rare EtOH. No illicit drugs."
SOCIAL_OF_CHILDREN = ("___", "Lives with parents.", "Lives with family.")
FORMER = (
    ("chickenpox as a child, resolved", "", "varicell zoster"),
    ("remote ankle sprain, healed", "S8 S9 M", "ankle foot leg"),
    ("tonsillitis in childhood, resolved", "J", "tonsil throat pharyn"),
    ("mumps as a child", "B2", "mumps parot"),
    ("h/o sinus infection last year, resolved", "J", "sinus"),
)
"""Illnesses long past, which add no code."""

EXAM = (
    ("VITALS: ___", "", ""),
    (
        "GENERAL: NAD, AOx3",
        "A4 D57 E05 F G I2 K85 K65 I46 I6 I97 J4 J80 K55 K56 J96 K72 P R29 R4 R57 R6 R99 S0 T",
        "coma conscious deliri dement seiz stupor shock",
    ),
    (
        "HEENT: NCAT, MMM, anicteric sclerae",
        "A B C D5 E10.1 E11.0 E13.1 E80 E86 E87 F50 G H I8 J K L P Q R S0 T",
        "head face dehydr volem deplet jaundic skull",
    ),
    ("NECK: supple, no LAD", "A B C D E0 G I8 J K11 L M P Q R S T", "neck thyro lymph cervic mening"),
    (
        "CARDIAC: RRR, S1/S2, no murmurs",
        "A B33 E0 I0 I11 I13 I2 I3 I4 I5 I7 I97 J96 M3 O P Q R S2 T Z45 Z94 Z95",
        "cardi heart valv rhythm",
    ),
    (
        "LUNGS: CTAB, no wheezes",
        "A B C D5 D8 E84 E87 I11 I13 I2 I4 I5 J M3 O P Q R S2 T U Z90 Z93 Z94 Z99",
        "lung pulm respir heart chest",
    ),
    ("ABDOMEN: soft, NT/ND, +BS", "A B C D E7 E8 I7 I8 K L N O P Q R S T Z3 Z4 Z9", "abdom pregnan splen sickle pelvi"),
    ("EXTREMITIES: warm, no edema", "A B C D E0 E1 E8 G8 I K7 L M N O P Q R S T Z4 Z8 Z9", "edema overload limb"),
    (
        "NEURO: CN intact, moves all extremities",
        "A B C D E F G H I6 I97 K7 M O P Q R S T Z4 Z8 Z9",
        "nerv neuro coma cerebr encephal",
    ),
    ("SKIN: no rash", "A B C D E I7 I8 I9 K L M N O P Q R S T U Z4 Z9", "skin ulcer"),
    (
        "PSYCH: appropriate affect",
        "A8 E F G I6 I97 K7 O P Q R S0 T X Y Z0 Z5 Z6 Z7 Z9",
        "suic self-harm intellect coma cerebr encephal",
    ),
)
"""Normal findings: (line, beginnings of codes beside which it is left out, stems beside which it is left out)."""

LABS = (
    (("WBC", 4.5, 10.5, 1), "A B C D E86 E87 G0 I3 I8 I9 J K L M N O P R S T U Y Z4", "infect itis"),
    (("Hgb", 12.8, 15.2, 1), "A B C D E I6 I7 I8 I9 K M N O P R S T Z4", "anemi hemo bleed sickle blood"),
    (("Plt Ct", 165, 380, 0), "A B C D F10 I6 I8 K M3 N O P R S T Z4", "platelet hemo sickle"),
    (("Na", 136, 144, 0), "A B C E0 E1 E2 E4 E5 E8 F G I11 I13 I5 J K N O P R S T Z99", "natrem"),
    (("K", 3.6, 4.8, 1), "A B C E0 E1 E2 E4 E8 F G7 I11 I12 I13 I5 J96 K N O P R S T Z99", "kalem"),
    (("Cl", 98, 106, 0), "A B C E0 E1 E2 E4 E8 F I11 I12 I13 I5 J K N O P R S T Z99", "chlor acid"),
    (("HCO3", 22, 28, 0), "A B C E0 E1 E2 E4 E8 F G I11 I12 I13 I4 I5 J K N O P R S T U Z99", "acid alkal ketoac capni"),
    (("UreaN", 8, 19, 0), "A C D5 E1 E2 E8 I11 I12 I13 I5 K M N O P Q6 R S T Z94 Z99", "renal kidney"),
    (("Creat", 0.6, 1.1, 1), "A C D5 E1 E2 E8 I11 I12 I13 I5 K M N O P Q6 R S T Z94 Z99", "renal kidney"),
    (("Glucose", 80, 110, 0), "A4 C25 E K8 O P R T Z79", "diabet glyc insulin"),
    (("Calcium", 8.6, 10.1, 1), "C D E K N M8 O P Q R S T Z99", "calc parathyr"),
    (("Mg", 1.7, 2.4, 1), "A E F10 I4 K N O P R T", "magnes alcohol"),
    (("TSH", 0.6, 3.8, 1), "C73 E F I4 O P Q R T", "thyro"),
)
"""Normal results: (name, lowest, highest, decimals), and beside which codes and stems they are left out."""

MEDICATIONS = (
    ("Acetaminophen 650 mg PO Q6H:PRN pain", "B1 K7 T39", "hepat liver aminophenol alcohol"),
    ("Docusate Sodium 100 mg PO BID", "A0 K5 K6 R19 T47", "obstruct ileus diarr volvul"),
    ("Senna 8.6 mg PO BID:PRN constipation", "A0 K5 K6 O R19 T47", "obstruct ileus diarr volvul"),
    ("Ondansetron 4 mg PO Q8H:PRN nausea", "I4 O T45", "long qt"),
    ("Multivitamins 1 TAB PO DAILY", "E67 E83 T45", ""),
    ("Polyethylene Glycol 17 g PO DAILY:PRN", "A0 K5 K6 R19 T47", "obstruct ileus diarr volvul"),
    ("Vitamin D 1000 UNIT PO DAILY", "D86 E67 E83 E21 T45", "calcem"),
)
MEDICATIONS_OF_CHILDREN = (
    ("Acetaminophen 15 mg/kg PO Q6H:PRN pain", "B1 K7 T39", "hepat liver aminophenol"),
    ("Cholecalciferol 400 UNIT PO DAILY", "E67 E83 T45", "calcem"),
    ("Pediatric multivitamin PO DAILY", "E67 E83 T45", ""),
)
DISPOSITIONS = ("Home", "Home", "Home With Service\n\nFacility:\n___", "Extended Care\n\nFacility:\n___")
CONDITIONS_AT_DISCHARGE = (
    (
        "Mental Status: Clear and coherent.\nLevel of Consciousness: Alert and interactive.",
        "F G H9 I6 I97 K7 P Q R4 S0 T",
        "coma deliri encephal cerebr",
    ),
    ("Stable.", "", ""),
    ("Stable, as discussed with the team.", "", ""),
)
INSTRUCTIONS = (
    "Dear ___,\nYou were cared for at ___. Please take your medications as listed and keep your appointments.",
    "Please call your doctor or return to the ED if you feel worse. It was a pleasure taking care of you.",
    "You were admitted to ___. Follow up with your PCP within two weeks.",
)
INSTRUCTIONS_TO_PARENTS = (
    "Dear parents,\nYour child was cared for at ___. Please keep the appointments as listed.",
    "Please call the pediatrician if you are worried about your child.",
)


def choose_free(
    lines: Sequence[tuple[Any, str, str]], said: str, codes: Sequence[str], rng: random.Random, number: int
) -> list[Any]:
    """Return up to `number` lines, in order, that nothing `said` of the patient and none of the `codes` stands against."""
    free = [
        line
        for line, prefixes, stems in lines
        if not any(stem in said for stem in stems.split())
        and not any(code.startswith(tuple(prefixes.split())) for code in codes)
    ]
    return [free[place] for place in sorted(rng.sample(range(len(free)), min(number, len(free))))]
