"""What a note says without it being coded: symptoms denied, conditions ruled out, diseases of relatives.

Each distractor lists stems; it is not used beside a condition that has a word with one of them, or, after `~`, a code that
begins so (where the codes are told too), so that a text never denies what it reports (`denies chest pain` beside angina).
"""

from __future__ import annotations

import random

_FEVER = (
    "fever infect seps pyre pneumon absces itis malaria influenza typh rickett tubercul plague dengue viral virus covid ~a ~b "
    "~j0 ~j1 ~c8 ~c9 ~u"
)
_HEART = "chest angina cardi coronary heart myocard pericard infarct rhythm fibrillat aort valv ~i0 ~i1 ~i2 ~i3 ~i4 ~i5 ~r0"
_LUNG = "breath dyspn respir lung pulmon asthma pneumo pleur bronch cough hypox airway copd emphys embol ~j ~i2 ~r0"
_SKIN = (
    "rash skin derm exanth urtic eczem erythem psori pemph cellul pox measl herpe typh rickett thrombocyt purpur lupus "
    "granul ichthy lepr syphil varic zoster lyme allerg anaphyl ~l ~b0 ~r2"
)
_BELLY = (
    "abdom gastr intestin colon colit bowel stomach append hernia diverticul nause vomit periton pancrea bili hepat liver "
    "intussus volvul ileus ~k ~a0 ~r1"
)
_BRAIN = "head migraine cereb brain intracran stroke seiz epilep conscious concuss syncop dizz neuro ~g ~i6 ~s0"

DENIED = (
    ("chest pain", _HEART + " thora rib pain"),
    ("shortness of breath", _LUNG + " heart cardi"),
    ("SOB", _LUNG + " heart cardi"),
    ("palpitations", _HEART + " tachy"),
    ("fever or chills", _FEVER),
    ("f/c", _FEVER),
    ("night sweats", "sweat hidrosis tubercul lymphom hiv"),
    ("cough", _LUNG + " throat laryn"),
    ("abdominal pain", _BELLY + " pain pelvi"),
    ("N/V", _BELLY + " vertig"),
    ("nausea or vomiting", _BELLY + " vertig"),
    ("diarrhea", _BELLY + " diarr enter foodborne poison crohn celiac chole salmonel shigel intussus volvul ileus"),
    ("melena or hematochezia", _BELLY + " hemorrh bleed rect anal ulcer anemi"),
    ("dysuria", "urin uret bladder cyst renal kidney prostat neph genit ~n"),
    ("hematuria", "urin uret bladder cyst renal kidney prostat neph hemorrh bleed hemoglobinur ~n"),
    ("headache", _BRAIN + " ache"),
    ("dizziness", _BRAIN + " vertig ear vestib labyr"),
    ("syncope", _BRAIN + " collapse hypotens cardi rhythm heart"),
    ("LOC", _BRAIN + " coma"),
    (
        "vision changes",
        "eye vis retin ocul optic blind glauc catar cornea kerat lens uve conjunct macul orbit lid ~h0 ~h1 ~h2 ~h3 ~h4 ~h5",
    ),
    ("rash", _SKIN),
    (
        "leg swelling",
        "edema swell heart venous thromb lymph leg ankle calf thigh foot overload renal kidney hepat cirrho cardi knee",
    ),
    ("suicidal ideation", "suic self-harm depress bipolar mood psych mental ~f"),
    ("weight loss", "weight malnutr cachex obes neoplas malign ~c"),
    ("hearing loss", "ear hear otit deaf auditory tympan mastoid ~h6 ~h7 ~h8 ~h9"),
    ("sore throat", "throat pharyn tonsil laryn strep"),
    ("joint swelling", "joint arthr gout synov burs effus chondrocalc knee hip ~m"),
)
"""Symptoms that a patient does not have, and the stems beside which they are not denied."""

RULED_OUT = (
    ("PE", _LUNG + " embol chest heart"),
    ("MI", _HEART),
    ("ACS", _HEART),
    ("DVT", "thromb embol phleb venous vein vascul leg calf ~i8"),
    ("stroke", _BRAIN + " hemipleg hemipar aphas paraly subarach hemorrh aneurysm carotid vertebr basilar"),
    ("pneumonia", _LUNG + " infect seps bacter strep covid influenza ~j"),
    ("meningitis", _BRAIN + " mening infect seps"),
    ("appendicitis", _BELLY),
    ("bowel obstruction", _BELLY + " obstruct ileus"),
    ("sepsis", "seps infect bacter shock ~a ~b"),
    ("UTI", "urin uret bladder cyst renal kidney pyelo infect seps ~n"),
)
"""Conditions looked for and not found, with stems."""

_ON_IMAGES = ("PE", "DVT", "stroke", "pneumonia", "appendicitis", "bowel obstruction")

RELATIVES = (
    ("breast ca", "breast neoplas malign cancer carcin"),
    ("colon ca", "colon rect intestin neoplas malign cancer carcin"),
    ("colon cancer", "colon rect intestin neoplas malign cancer carcin"),
    ("CAD", _HEART),
    ("MI", _HEART),
    ("HTN", "hypertens pressure"),
    ("hypertension", "hypertens pressure"),
    ("DM", "diabet glyc insulin"),
    ("diabetes", "diabet glyc insulin"),
    ("stroke", _BRAIN + " hemipleg aphas"),
    ("asthma", _LUNG),
    ("Alzheimer's", "alzheim dement cognit memory"),
    ("lung ca", _LUNG + " neoplas malign cancer carcin"),
    ("thyroid disease", "thyro goit"),
    ("depression", "depress mood bipolar mental psych suic"),
    ("glaucoma", "glauc eye optic"),
    ("RA", "rheum arthr"),
    ("kidney disease", "kidney renal nephr urin"),
)
"""Diseases of relatives, with stems."""


def choose_denied(said: str, rng: random.Random, number: int = 1) -> list[str]:
    """Return up to `number` symptoms that may be denied beside what is `said`."""
    return _choose(DENIED, said, rng, number)


def choose_ruled_out(said: str, rng: random.Random, number: int = 1) -> list[str]:
    """Return up to `number` conditions that may be ruled out beside what is `said`."""
    return _choose(RULED_OUT, said, rng, number)


def choose_unseen(said: str, rng: random.Random) -> list[str]:
    """Return a condition that an image may rule out beside what is `said`."""
    return _choose(tuple(row for row in RULED_OUT if row[0] in _ON_IMAGES), said, rng, 1)


def choose_relatives(said: str, rng: random.Random, number: int = 1) -> list[str]:
    """Return up to `number` diseases that relatives may have beside what is `said`."""
    return _choose(RELATIVES, said, rng, number)


def _choose(distractors: tuple[tuple[str, str], ...], said: str, rng: random.Random, number: int) -> list[str]:
    stems_said = said.lower()
    order = rng.sample(range(len(distractors)), min(len(distractors), number + 5))
    free: dict[str, str] = {}
    for name, stems in (distractors[place] for place in order):
        if not any(stem in stems_said for stem in stems.split()):
            # the same stems stand for the same thing: SOB, shortness of breath
            free.setdefault(stems, name)
    return list(free.values())[:number]


def write_distractor(said: str, rng: random.Random, relatives: bool = True) -> str | None:
    """Return a clause that reports nothing of the patient: `denies chest pain`, `FHx of breast ca`, `PE ruled out`."""
    draw = rng.random()
    if draw < 0.25 and relatives:
        found = choose_relatives(said, rng)
        return rng.choice(_OF_RELATIVES).format(found[0]) if found else None
    if draw < 0.4:
        found = choose_ruled_out(said, rng)
        return rng.choice(_OUT).format(found[0]) if found else None
    found = choose_denied(said, rng, rng.choice((1, 1, 2)))
    if not found:
        return None
    return rng.choice(_NOT).format(" or ".join(found) if " or " not in "".join(found) else found[0])


_NOT = ("denies {}", "denies {}", "no {}", "no {}", "pt denies {}", "denied {}", "neg for {}", "negative for {}")
_OUT = ("{} ruled out", "r/o'd for {}", "no evidence of {}", "w/u neg for {}", "{} was ruled out")
_OF_RELATIVES = (
    "FHx of {}", "fam hx of {}", "family history of {}", "FH: {}", "mother had {}", "father with {}", "sister has {}",
    "brother with {}", "FHx sig for {}",
)  # fmt: skip
