"""Several conditions in one text, as lists, problem lists and sentences; the codes are in the order written."""

from __future__ import annotations

import random
from collections.abc import Sequence

from data_gen.casing import cap_first


def join_texts(texts: Sequence[str], rng: random.Random) -> str:
    """Return the texts of two or more conditions as one text, in the same order."""
    plain = not any(mark in text for text in texts for mark in (",", ";", " and ", " AND "))
    joiners = _JOINERS + (_PLAIN_JOINERS if plain else ()) + (_PAIR_JOINERS if plain and len(texts) == 2 else ())
    return rng.choice(joiners)(texts, rng)


def _join_semicolons(texts: Sequence[str], rng: random.Random) -> str:
    return "; ".join(texts)


def _join_lines(texts: Sequence[str], rng: random.Random) -> str:
    return "\n".join(texts)


def _join_numbers(texts: Sequence[str], rng: random.Random) -> str:
    mark = rng.choice(("{}. ", "{}) ", "#{} "))
    between = rng.choice(("\n", "\n", " "))
    return between.join(mark.format(number) + text for number, text in enumerate(texts, 1))


def _join_bullets(texts: Sequence[str], rng: random.Random) -> str:
    mark = rng.choice(("- ", "* ", "# ", "• "))
    return "\n".join(mark + text for text in texts)


def _join_problem_list(texts: Sequence[str], rng: random.Random) -> str:
    heading = rng.choice(("Problem list:", "Diagnoses:", "Dx:", "Assessment:", "A/P:", "Impression:", "Discharge diagnoses:"))
    return f"{heading}\n{_join_numbers(texts, rng)}" if rng.random() < 0.6 else f"{heading} {'; '.join(texts)}"


def _join_primary(texts: Sequence[str], rng: random.Random) -> str:
    first, rest = rng.choice((("Principal dx", "Secondary dx"), ("Primary", "Secondary"), ("Admit dx", "Other dx")))
    return f"{first}: {texts[0]}\n{rest}: {'; '.join(texts[1:])}"


def _join_patient(texts: Sequence[str], rng: random.Random) -> str:
    start = rng.choice(("pt with", "patient with", "pt has", "Patient presents with", "Admitted with", "Pt w/"))
    return f"{start} {_join_sentence(texts, rng)}"


def _join_sentence(texts: Sequence[str], rng: random.Random) -> str:
    """Return `a; b and c`, with commas where no text has one of its own."""
    comma = ";" if any("," in text for text in texts) else ","
    last = rng.choice((" and ", f"{comma} and ", " and also ", f"{comma} as well as ", f"{comma} also "))
    return f"{f'{comma} '.join(texts[:-1])}{last}{texts[-1]}"


def _join_plus(texts: Sequence[str], rng: random.Random) -> str:
    return rng.choice((" + ", " / ", " & ")).join(texts)


def _join_stops(texts: Sequence[str], rng: random.Random) -> str:
    return " ".join(f"{cap_first(text)}." for text in texts)


def _join_commas(texts: Sequence[str], rng: random.Random) -> str:
    return ", ".join(texts)


def _join_and(texts: Sequence[str], rng: random.Random) -> str:
    return rng.choice((" and ", " with ", ", with ", " along with ", " and also ")).join(texts)


_JOINERS = (
    _join_semicolons, _join_lines, _join_numbers, _join_bullets, _join_problem_list, _join_primary, _join_patient,
    _join_sentence, _join_plus, _join_stops,
)  # fmt: skip
_PLAIN_JOINERS = (_join_commas,)
_PAIR_JOINERS = (_join_and,)
