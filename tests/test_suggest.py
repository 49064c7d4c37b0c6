"""Suggestions for damaged codes: each kind of damage, how often the original is in the first five, what is not repaired."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

import pytest
from damaged_codes import CARELESS, SIGNS, UNIFORM, bound_hits
from hypothesis import given
from hypothesis import strategies as st

from icd10cm import CodeSet
from icd10cm.codeset import CODE_SHAPE
from icd10cm.releases import list_retired
from icd10cm.suggest import Suggestion, repair, suggest

ANY_SIGN = st.characters(exclude_categories=())
"""Lone surrogates and control characters too."""
CODE_LIKE = st.text(SIGNS + "abcilosz.,;:-–_/ •０١Оο|", max_size=14)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("E11.621", "E11.621", "valid code"),
        ("e11.621", "E11.621", "valid code"),
        (" E11.621. ", "E11.621", "valid code"),
        ("ICD-10: e11.9", "E11.9", "valid code"),
        ("ICD-10-CM code E11.9", "E11.9", "valid code"),
        ("K35.80 - acute appendicitis", "K35.80", "valid code"),
        ("Ｅ１１．９", "E11.9", "valid code"),
        ("E١١.٩", "E11.9", "valid code"),
        ("Е11.9", "E11.9", "valid code"),
        ("E11621", "E11.621", "dot missing"),
        ("E1.1621", "E11.621", "dot in another place"),
        ("E116.21", "E11.621", "dot in another place"),
        ("E11..621", "E11.621", "dot doubled"),
        ("E11,621", "E11.621", "comma in place of the dot"),
        ("E11-621", "E11.621", "dash in place of the dot"),
        ("E11—621", "E11.621", "dash in place of the dot"),
        ("E11 621", "E11.621", "blank in place of the dot"),
        ("E 11.621", "E11.621", "blank inside the code"),
        ("I.10", "I10", "a code of three characters has no dot"),
        ("W21.89A", "W21.89XA", "placeholder X missing"),
        ("T36.01A", "T36.0X1A", "placeholder X missing"),
        ("W19.A", "W19.XXXA", "placeholder X missing"),
        ("W19A", "W19.XXXA", "placeholder X missing"),
        ("W21.89X", "W21.89XA", "7th character missing"),
        ("S52.501", "S52.501A", "7th character missing"),
        ("W21.89", "W21.89XA", "placeholder X and 7th character missing"),
        ("E11.62", "E11.620", "heading E11.62: more characters needed"),
        ("E11.6Z1", "E11.621", "letter Z read as 2"),
        ("S52.5O1A", "S52.501A", "letter O read as zero"),
        ("I1O", "I10", "letter O read as zero"),
        ("E1I.621", "E11.621", "letter I read as one"),
        ("e1l.621", "E11.621", "letter L read as one"),
        ("552.501A", "S52.501A", "digit 5 read as letter S"),
        ("E1I.6Z1", "E11.621", "letter I read as one, letter Z read as 2"),
        ("S52.5O1", "S52.501A", "letter O read as zero, 7th character missing"),
        ("I20.2Q", "I20.2", "one character too many"),
        ("S52.5501A", "S52.501A", "one character too many"),
        ("S52.50A", "S52.501A", "one character missing"),
        ("E11.W21", "E11.621", "one character differs"),
        ("S52.051A", "S52.501A", "two characters swapped"),
        ("B88.0", "B88.09", "code retired in 2026: its successor"),
        ("b880", "B88.01", "code retired in 2026: its successor"),
        ("A00.ZZZZ", "A00.9", "begins with A00 too"),
        ("T81.4XXA", "T81.40XA", "subdivided: a character stands where the X was"),
        ("S02.62XA", "S02.620A", "subdivided: a character stands where the X was"),
    ],
)
def test_each_damage_has_its_code_and_reason(text: str, code: str, reason: str, codes: CodeSet) -> None:
    assert (code, reason) in [(near.code, near.reason) for near in suggest(text, codes)[:5]]


def list_codes(text: str, codes: CodeSet, limit: int = 10) -> list[str]:
    return [near.code for near in suggest(text, codes, limit)]


def test_heading_gives_what_is_below_it_unspecified_and_initial_encounter_first(codes: CodeSet) -> None:
    assert list_codes("E11", codes)[0] == "E11.9"
    assert list_codes("E11.", codes)[0] == "E11.9"
    assert list_codes("M25.5", codes)[0] == "M25.50"
    assert list_codes("S52.50", codes)[:6] == ["S52.509A", "S52.501A", "S52.502A", "S52.509B", "S52.501B", "S52.502B"]
    assert list_codes("S52.501", codes, 99)[:16] == [f"S52.501{encounter}" for encounter in "ABCDEFGHJKMNPQRS"]
    assert all(code.startswith("S52") and code.endswith("A") for code in list_codes("S52", codes))


def test_every_heading_gives_codes_below_it_first(codes: CodeSet) -> None:
    headings = [code for code, heading in codes.headings.items() if not heading.billable][::30]
    retired = [heading for heading in headings if "retired" in suggest(heading, codes, 1)[0].reason]
    assert len(headings) > 700 and len(retired) < 10
    below = Counter(code[:end] for code in codes.codes for end in range(3, len(code)))
    for heading in set(headings) - set(retired):
        assert sum(code.startswith(heading) for code in list_codes(heading, codes, 2)) == min(below[heading], 2), heading


def test_every_valid_code_comes_first_in_any_spelling_and_is_its_own_repair(codes: CodeSet) -> None:
    for code in codes.codes[::60]:
        for text in (code, code.lower(), code.replace(".", "")):
            assert (suggest(text, codes, 1)[0].code, repair(text, codes)) == (code, code)


def test_suggestions_are_billable_distinct_and_no_more_than_asked(codes: CodeSet, non_codes: list[str]) -> None:
    for text in non_codes[:2000]:
        near = suggest(text, codes)
        assert all(codes.is_billable(one.code) and one.reason and one.edits >= 0 for one in near)
        assert len({one.code for one in near}) == len(near) <= 10
        assert [one.code for one in near[:3]] == list_codes(text, codes, 3)
    assert suggest("E11", codes, 0) == suggest("E11", codes, -1) == []


def test_several_codes_in_a_text_take_turns(codes: CodeSet) -> None:
    assert list_codes("E11.9, i10", codes)[:2] == ["E11.9", "I10"]
    assert repair("E11.9, I10", codes) is None


def test_words_and_numbers_are_no_codes(codes: CodeSet) -> None:
    for text in ("", " ", ".", "diabetes", "vitamin B12", "type 2 diabetes", "12345678", "ICD-10", "QQQ.QQQQ", "💊"):
        assert suggest(text, codes) == [] and repair(text, codes) is None, text


def test_a_release_of_choice_decides(codes: CodeSet, shared_data: Path) -> None:
    older = CodeSet.load(shared_data / "icd10cm" / "icd10cm_codes_2024.txt.gz")
    assert suggest("B88.0", older)[0] == Suggestion("B88.0", "valid code", 0) and repair("b880", older) == "B88.0"
    assert repair("B88.0", codes) is None
    assert list_codes("B88.0", codes)[:2] == ["B88.09", "B88.01"]
    assert suggest("E11.62") == suggest("E11.62", codes)
    assert list_codes("S52.501", older)[0] == "S52.501A"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("E11.621", "E11.621"),
        ("e11.621.", "E11.621"),
        ("E11621", "E11.621"),
        ("E1.1621", "E11.621"),
        ("E1162.1", "E11.621"),
        ("E11..621", "E11.621"),
        ("E11,621", "E11.621"),
        ("E11-621", "E11.621"),
        ("ICD-10: e11.621", "E11.621"),
        ("I1O", "I10"),
        ("s525O1a", "S52.501A"),
        ("El1.62I", "E11.621"),
        ("W21.89A", "W21.89XA"),
        ("w2189a", "W21.89XA"),
        ("W19.XA", "W19.XXXA"),
        ("W19.A", "W19.XXXA"),
        ("w2l.89a", "W21.89XA"),
    ],
)
def test_repairs_what_has_one_reading(text: str, code: str, codes: CodeSet) -> None:
    assert repair(text, codes) == code


@pytest.mark.parametrize(
    "text",
    [
        "E11.62",  # truncated: four completions
        "S52.501",
        "W21.89X",
        "E11",
        "E11.W21",  # a wrong character
        "S52.051A",  # swapped characters
        "S52.5501A",  # a surplus character
        "S52.50A",  # a missing digit: 1, 2 or 9
        "S02.82A",  # a missing X, or a missing digit: S02.832A
        "E1.19",  # E11.9, or E71.19 without its 7
        "S52.S01A",  # S for 5 is a guess
        "110",  # a number
        "Y93.II",  # Y93.I1 or Y93.11
        "E11-13",
        "F10-19",  # a block, F10.19 only by chance
        "F10–19",
        "E08-E13",
        "E11.9 E11.9",
        "patient has E11.9 since",
        "B88.0",  # retired
        "",
    ],
)
def test_leaves_what_has_none_or_several_readings(text: str, codes: CodeSet) -> None:
    assert repair(text, codes) is None


def draw_damaged(kind: str, codes: CodeSet, number: int) -> list[tuple[str, str]]:
    """Return code and damaged code, `number` times, seeded, uniformly over the release."""
    seeded = random.Random(f"damage {kind}")
    drawn = []
    while len(drawn) < number:
        code = seeded.choice(codes.codes)
        if "." in code or "dot" not in kind:
            drawn.append((code, (CARELESS | UNIFORM)[kind](code, seeded)))
    return drawn


def count_hits(drawn: list[tuple[str, str]], codes: CodeSet) -> float:
    return sum(code in list_codes(text, codes, 5) for code, text in drawn) / len(drawn)


@pytest.mark.parametrize(
    ("kind", "share"), [("look-alike", 0.99), ("doubled", 0.99), ("swapped", 0.99), ("dot moved", 0.99), ("dot left out", 0.99),
                        ("surplus", 0.99)]
)  # fmt: skip
def test_original_is_among_the_first_five(kind: str, share: float, codes: CodeSet) -> None:
    """Damaged texts that happen to be valid codes count as well."""
    assert count_hits(draw_damaged(kind, codes, 2000), codes) >= share


def test_original_is_among_the_first_five_for_what_people_do(codes: CodeSet) -> None:
    """All kinds of careless damage alike, also where the text became another valid code."""
    drawn = [pair for kind in CARELESS for pair in draw_damaged(kind, codes, 1200)]
    assert count_hits(drawn, codes) >= 0.95


@pytest.mark.parametrize("kind", ["changed", "missing"])
def test_random_damage_is_undone_as_often_as_can_be(kind: str, codes: CodeSet) -> None:
    """For a random sign in a random place too many codes are equally near: the best list stays below 95 % itself."""
    valid = set(codes.codes)
    drawn = [(code, text) for code, text in draw_damaged(kind, codes, 6000) if text not in valid]
    best = sum(bound_hits(kind, text, codes) for _, text in drawn) / len(drawn)
    assert best < 0.95
    assert count_hits(drawn, codes) >= best - 0.02


def test_repair_never_guesses_a_missing_surplus_or_swapped_character(codes: CodeSet) -> None:
    for kind in ("missing", "surplus", "swapped", "doubled", "dot moved"):
        drawn = [(code, text) for code, text in draw_damaged(kind, codes, 1500) if not codes.is_billable(text)]
        read = [(code, repair(text, codes)) for code, text in drawn]
        assert all(got in (None, code) for code, got in read), kind
        if kind == "dot moved":
            assert sum(code == got for code, got in read) > 0.9 * len(read)


def test_no_retired_code_heading_or_truncated_code_is_repaired(codes: CodeSet) -> None:
    headings = [code for code, heading in codes.headings.items() if not heading.billable][::10]
    cut = [code[:-1] for code in codes.codes[::40] if not codes.is_billable(code[:-1])]
    retired = [gone.code for gone in list_retired()]
    assert len(headings) > 2000 and len(cut) > 1000 and len(retired) > 300
    assert [text for text in (*headings, *cut, *retired) if repair(text, codes) is not None] == []


def test_every_retired_code_gives_its_valid_successors_first(codes: CodeSet) -> None:
    for gone in list_retired():
        successors = list(gone.successors)
        assert list_codes(gone.code, codes, len(successors)) == successors, gone.code


@given(st.one_of(st.text(ANY_SIGN), CODE_LIKE, st.text(ANY_SIGN, min_size=200)))
def test_no_text_raises(codes: CodeSet, text: str) -> None:
    check_answers(text, codes)


def check_answers(text: str, codes: CodeSet) -> None:
    near, read = suggest(text, codes), repair(text, codes)
    assert len(near) <= 10 and all(codes.is_billable(one.code) for one in near)
    assert read is None or (codes.is_billable(read) and CODE_SHAPE.fullmatch(read) and near and near[0].code == read)


@pytest.mark.parametrize(
    "text", ["\0", "\ud800", "\ud800E11.9\udfff", "E" * 10_000, "E11.9 " * 2000, "." * 10_000, "1.1." * 2500, "é" * 10_000,
             "ﷺ" * 3000, "OIOIOIOI", "0O0O.0O0O", "\u202eE11.9", "E11\u200b.9", "I I I I I 1", "-" * 10_000, "E1\n1.9"]
)  # fmt: skip
def test_odd_texts_do_not_raise(text: str, codes: CodeSet) -> None:
    check_answers(text, codes)


def test_a_hundred_thousand_texts_do_not_raise(codes: CodeSet) -> None:
    seeded = random.Random(100_000)
    damages = list((CARELESS | UNIFORM).values())
    pool = string.printable + "éß–—•０٣ОІ\ud800\u200b💊"
    found = 0
    for number in range(100_000):
        if number % 2:
            text = "".join(seeded.choices(pool, k=seeded.randrange(40)))
        else:
            text = seeded.choice(codes.codes)
            for _ in range(seeded.randrange(1, 4)):
                text = seeded.choice(damages)(text, seeded) if len(set(text.replace(".", ""))) > 1 and len(text) > 5 else text
        found += bool(suggest(text, codes))
        if number % 10 == 0:
            repair(text, codes)
    assert found > 40_000
