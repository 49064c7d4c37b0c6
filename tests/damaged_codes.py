"""Ways to damage one character of a code, and how often any ranking could undo the uniform ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from icd10cm import CodeSet
from icd10cm.suggest.spelling import lie_together

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LOOK_ALIKES = {"O": "0", "Q": "0", "I": "1", "L": "1", "Z": "2", "S": "5", "G": "6", "B": "8",
               "0": "OQ", "1": "IL", "2": "Z", "5": "S", "6": "G", "8": "B"}  # fmt: skip
NEIGHBOURS = {sign: "".join(other for other in SIGNS if lie_together(sign, other)) for sign in SIGNS}

Damage = Callable[[str, random.Random], str]


def change_any(code: str, seeded: random.Random) -> str:
    at = seeded.randrange(len(code))
    return code[:at] + seeded.choice(SIGNS.replace(code[at], "")) + code[at + 1 :]


def drop_one(code: str, seeded: random.Random) -> str:
    at = seeded.randrange(len(code))
    return code[:at] + code[at + 1 :]


def insert_any(code: str, seeded: random.Random) -> str:
    at = seeded.randrange(len(code) + 1)
    return code[:at] + seeded.choice(SIGNS) + code[at:]


def swap_two(code: str, seeded: random.Random) -> str:
    at = seeded.choice([at for at in range(len(code) - 1) if code[at] != code[at + 1]])
    return code[:at] + code[at + 1] + code[at] + code[at + 2 :]


def double_one(code: str, seeded: random.Random) -> str:
    at = seeded.randrange(len(code))
    return code[:at] + code[at] + code[at:]


def change_to_look_alike(code: str, seeded: random.Random) -> str:
    return _change_among(LOOK_ALIKES, code, seeded)


def change_to_neighbour(code: str, seeded: random.Random) -> str:
    return _change_among(NEIGHBOURS, code, seeded)


def _change_among(others: dict[str, str], code: str, seeded: random.Random) -> str:
    places = [at for at, sign in enumerate(code) if sign in others]
    at = seeded.choice(places) if places else 0
    return code[:at] + seeded.choice(others.get(code[at], SIGNS)) + code[at + 1 :]


def move_dot(code: str, seeded: random.Random) -> str:
    bare = code.replace(".", "")
    at = seeded.choice([place for place in range(1, len(bare)) if place != 3])
    return f"{bare[:at]}.{bare[at:]}"


def leave_out_dot(code: str, seeded: random.Random) -> str:
    return code.replace(".", "")


UNIFORM: dict[str, Damage] = {"changed": change_any, "missing": drop_one, "surplus": insert_any, "swapped": swap_two}
"""Any place and any sign, each as likely as the next."""
CARELESS: dict[str, Damage] = {
    "look-alike": change_to_look_alike,
    "key beside": change_to_neighbour,
    "missing": drop_one,
    "doubled": double_one,
    "swapped": swap_two,
    "dot moved": move_dot,
    "dot left out": leave_out_dot,
}
"""What people do."""


def bound_hits(damage: str, text: str, codes: CodeSet, most: int = 5) -> float:
    """Return the probability that the best possible list of `most` codes holds the one that became `text`.

    Only for `changed` and `missing`: the codes that could have become `text` are counted, each by the number of places
    where the damage gives it over the length of the code, and the best `most` taken. The kind of damage is taken as known.
    """
    ways: Counter[str] = Counter()
    for at in range(len(text) + (damage == "missing")):
        for sign in SIGNS + ".":
            ways[text[:at] + sign + text[at + (damage == "changed") :]] += 1
    ways.pop(text, None)
    weights = sorted(
        (count for code, count in ways.items() if code in codes.headings and codes.is_billable(code)), reverse=True
    )
    return sum(weights[:most]) / sum(weights)
