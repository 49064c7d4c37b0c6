"""What a note says was done about a condition, by what kind of condition it is."""

from __future__ import annotations

import re

from data_gen.chronic import is_chronic

COURSES = {
    "condition": (
        "Addressed during this stay, outpt f/u arranged.",
        "Specialist service consulted and recs followed.",
        "Evaluated this stay; plan per primary team.",
        "Followed during this stay, plan discussed with the team.",
    ),
    "passing": (
        "Pt was evaluated and treated; improved by discharge.",
        "Workup as above. Treated with improvement.",
        "Treated per protocol, tolerated well.",
        "Remained stable on treatment.",
    ),
    "remission": ("In remission, f/u as scheduled.", "No active issues this stay, outpt f/u."),
    "grave": ("Goals of care discussed with the family.", "Followed closely; family updated."),
    "wound": (
        "Examined and treated, pain controlled.",
        "Treated; stable at d/c.",
        "Evaluated; managed per the treating team's recs.",
    ),
    "poisoning": ("Observed with monitoring, toxicology recs followed.", "Monitored and treated; labs followed."),
    "adverse": ("Suspected agent reviewed; pt monitored.", "Reaction managed; medication list reviewed with pharmacy."),
    "underdosing": ("Medication regimen reviewed.", "Reviewed with pharmacy, regimen clarified."),
    "complication": ("Seen by the responsible service, managed per their recs.", "Evaluated and treated; close f/u arranged."),
    "subsequent": ("Seen in f/u this admission; cont current care.", "Re-evaluated this admission; cont current care."),
    "sequela": ("Long-standing; supportive care.", "Late effect, unchanged from prior."),
    "pregnancy": ("Followed by OB, managed per their recs.", "OB plan reviewed."),
    "newborn": ("Followed by the pediatric team.", "Monitored by the pediatric team, plan reviewed with the family."),
    "encounter": ("Addressed as planned.", "Reviewed this visit; f/u arranged."),
    "chronic": ("Chronic, stable. Continued home regimen.", "Chronic, no acute issues.", "At baseline, outpt f/u."),
}
"""Kind of condition to what was done about it."""

_GRAVE = re.compile(
    r"\bbrain dea(?:d|th)\b|\bdeath\b|(?<!without )\bcoma\b|vegetative|cardiac arrest|stillb|compression of brain"
    r"|without return to pre-existing"
    r"|\bruptured",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"(?<!non)infect|pneumonia|\w{3}itis\b|abscess|cellulitis|sepsis|\bpain\b|fever|nausea|vomiting|diarrhea|acute|dehydrat|depletion"
    r"|kalemia|natremia|constipation|syncope|cough|headache|dizziness",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"chronic|arthritis|cirrho|absence|malform|congenital|stage|old\b|atroph|sclero|hepatitis [BC]|failure|necro|malignan"
    r"|neoplasm|lymphom|leuk|retinitis|ichthyo|rheumat|spondyl|interstitial|dermatitis|neuritis|ulcerative|aneurysm|gangrene"
    r"|lymphatitis|HIV|deficiency|hemoph|palsy|paralys|blind|dement|perforat|infarct|hemorrh|edema",
    re.IGNORECASE,
)
_INJURIES = re.compile(r"S|T0|T1[0-4]|T2|T3[034]")
_EFFECTS = (
    ("underdosing", "Underdosing"),
    ("adverse", "Adverse effect"),
    ("poisoning", "Poisoning"),
    ("poisoning", "Toxic effect"),
)


def is_grave(title: str) -> bool:
    """Whether nobody says of a condition that it improved."""
    return bool(_GRAVE.search(title))


def choose_kind(code: str, title: str, said_kind: str, past: bool) -> str:
    """Return the key of `COURSES` for a condition.

    Args:
        code: its code.
        title: the title of the code.
        said_kind: what `data_gen.variations.paraphrased.find_kind` says of it.
        past: whether the note lists it as past history.
    """
    if is_grave(title) and code[0] != "Z":
        return "grave"
    if said_kind in ("subsequent", "sequela", "pregnancy", "newborn"):
        return said_kind
    if said_kind == "injury":
        return _choose_injury(code, title)
    if code[0] == "Z":
        return "encounter"
    if "remission" in title.lower() and "not having achieved remission" not in title.lower():
        return "remission"
    if past or is_chronic(code, title):
        return "chronic" if past else "condition"
    return "passing" if code[0] not in "CFMQ" and _PASSING.search(title) and not _LASTING.search(title) else "condition"


def _choose_injury(code: str, title: str) -> str:
    if _INJURIES.match(code):
        return "wound"
    for kind, start in _EFFECTS:
        if start.lower() in title.lower():
            return kind
    return "complication" if "T79" < code < "T89" else "condition"
