"""What the sections of a synthetic note are made of. A line with stems isn't used beside a condition that has one of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

SERVICES = ("MEDICINE", "SURGERY", "NEUROLOGY", "CARDIOTHORACIC", "ORTHOPAEDICS", "MEDICINE", "MEDICINE")
PROCEDURES = ("None", "None", "none", "___", "None this admission")
OPENINGS = (
    "This is a {age} {who}{history} who presents with {what}.",
    "{age} {who}{history} who was admitted with {what}.",
    "Pt is a {age} {who}{history} presenting w/ {what}.",
    "{age} {who}{history}, brought to the ED and found to have {what}.",
    "The patient is a {age} {who}{history} transferred from an outside hospital for {what}.",
    "{age} {who}{history} seen for {what}.",
)
SOCIAL = (
    "___",
    "Lives with spouse. Never smoker, no alcohol, no illicits.",
    "Lives alone, independent in ADLs. Denies tobacco, EtOH and drugs.",
    "Retired. No tobacco. Rare EtOH. No illicit drugs.",
    "Works in an office. Denies tobacco and illicits.",
)
FORMER = (
    "chickenpox as a child, resolved",
    "remote ankle sprain, healed",
    "tonsillitis in childhood, resolved",
    "mumps as a child",
    "h/o sinus infection last year, resolved",
)
"""Illnesses long past, which add no code."""

EXAM = (
    ("GENERAL: NAD, AOx3", "coma conscious deliri dement seiz stupor mental newborn infant shock encephal"),
    ("HEENT: NCAT, MMM, anicteric sclerae", "head face eye ear nose mouth oral dehydr jaundic throat skull"),
    ("NECK: supple, no LAD", "neck thyro lymph cervic"),
    ("CARDIAC: RRR, S1/S2, no murmurs", "cardi heart valv mitral aort tachy brady rhythm fibrillat septal"),
    ("LUNGS: CTAB, no wheezes", "lung pulm respir pneumo bronch asthma pleur thora chest hypox"),
    ("ABDOMEN: soft, NT/ND, +BS", "abdom gastr colon intestin periton hepat liver pancrea bili bowel ulcer pregnan hernia"),
    ("EXTREMITIES: warm, no edema", "edema limb leg arm foot hand ankle knee hip thigh finger toe venous artery femur tibia"),
    ("NEURO: CN intact, moves all extremities", "cerebr brain nerv palsy paraly pleg stroke spin neuro"),
    ("SKIN: no rash", "skin derm rash burn wound lacer ulcer cellul exanth contus abras"),
    ("PSYCH: appropriate affect", "depress mood bipolar schizo psych anxi mental suic personality"),
)
LABS = (
    (("WBC", 4.5, 10.5, 1), "seps infect leuk neutro bacter absces pneumon itis lymphom immun"),
    (("Hgb", 12.8, 15.2, 1), "anemi hemorrh bleed blood polycyth hemoglob leuk myelo"),
    (("Plt Ct", 165, 380, 0), "thrombocyt platelet purpura leuk hemorrh coagul"),
    (("Na", 136, 144, 0), "natremi sodium osmol dehydr adrenal"),
    (("K", 3.6, 4.8, 1), "kalemi potass renal kidney adrenal"),
    (("Cl", 98, 106, 0), "chlor acid alkal"),
    (("HCO3", 22, 28, 0), "acid alkal ketoac renal"),
    (("UreaN", 8, 19, 0), "renal kidney neph urem dehydr uret"),
    (("Creat", 0.6, 1.1, 1), "renal kidney neph urem dehydr uret"),
    (("Glucose", 80, 110, 0), "diabet glyc insulin"),
    (("Calcium", 8.6, 10.1, 1), "calc parathyr renal myelom"),
    (("Mg", 1.7, 2.4, 1), "magnes alcohol"),
    (("TSH", 0.6, 3.8, 1), "thyro goit graves"),
)
"""Normal results: (name, lowest, highest, decimals)."""

MEDICATIONS = (
    "Acetaminophen 650 mg PO Q6H:PRN pain",
    "Docusate Sodium 100 mg PO BID",
    "Senna 8.6 mg PO BID:PRN constipation",
    "Ondansetron 4 mg PO Q8H:PRN nausea",
    "Multivitamins 1 TAB PO DAILY",
    "Polyethylene Glycol 17 g PO DAILY:PRN",
    "Vitamin D 1000 UNIT PO DAILY",
)
DISPOSITIONS = ("Home", "Home", "Home With Service\n\nFacility:\n___", "Extended Care\n\nFacility:\n___")
CONDITIONS_AT_DISCHARGE = (
    "Mental Status: Clear and coherent.\nLevel of Consciousness: Alert and interactive.",
    "Stable.",
    "Good.",
)
INSTRUCTIONS = (
    "Dear ___,\nYou were cared for at ___. Please take your medications as listed and keep your appointments.",
    "Please call your doctor or return to the ED if you feel worse. It was a pleasure taking care of you.",
    "You were admitted to ___. Follow up with your PCP within two weeks.",
)
COURSES = {
    "condition": (
        "Pt was evaluated and treated; improved by discharge.",
        "Workup as above. Managed conservatively with improvement.",
        "Treated per protocol, tolerated well.",
        "Addressed during this stay, outpt f/u arranged.",
        "Specialist service consulted and recs followed.",
        "Remained stable on treatment.",
    ),
    "injury": (
        "Evaluated by trauma team, managed per their recs.",
        "Pain controlled, pt mobilized with PT.",
        "Imaging reviewed; treated and stable at d/c.",
    ),
    "subsequent": ("Healing followed up, no change in plan.", "Re-evaluated this admission; cont current care."),
    "sequela": ("Long-standing; supportive care, PT/OT eval.", "Late effect, unchanged from prior."),
    "chronic": (
        "Chronic, stable. Continued home regimen.",
        "Cont home meds, no acute issues.",
        "At baseline, outpt f/u.",
    ),
}
"""Kind of condition to what was done about it."""


def choose_free(lines: Sequence[tuple[Any, str]], said: str, rng: random.Random, number: int) -> list[Any]:
    """Return up to `number` lines, in order, none of which has a stem in what is `said` of the patient."""
    free = [line for line, stems in lines if not any(stem in said for stem in stems.split())]
    return [free[place] for place in sorted(rng.sample(range(len(free)), min(number, len(free))))]
