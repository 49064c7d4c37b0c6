"""The variations: what each must keep, over titles of every chapter. Nothing here calls the generator's own checks."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from data_gen.phrases import parse_title
from data_gen.variations import VARIATIONS
from data_gen.variations.multiple import join_texts
from icd10cm import CodeSet

LEXICON = Path(__file__).parent.parent / "icd10cm" / "lexicon.csv"
SMALL_WORDS = {
    "a", "affecting", "after", "an", "and", "as", "associated", "at", "by", "caused", "causing", "complicating", "due",
    "during", "following", "for", "from", "in", "induced", "into", "involving", "of", "on", "the", "to", "with",
}  # fmt: skip
KEPT_WORDS = {"left", "right", "bilateral", "unilateral", "without", "not", "no", "non"}


@pytest.fixture(scope="module")
def titles(codes: CodeSet) -> list[str]:
    """The titles of 3,000 codes, seeded."""
    return [codes.title(code) for code in random.Random(1).sample(codes.codes, 3000)]


def write_variants(name: str, titles: list[str], attempts: int = 4) -> list[tuple[str, str]]:
    """Return (title, variant) for every attempt that gave one."""
    rng = random.Random(2)
    tried = [(title, VARIATIONS[name](title, rng)) for title in titles for _ in range(attempts)]
    return [(title, text) for title, text in tried if text is not None]


def list_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold())


def count_edits(one: str, other: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_variation_is_repeatable_and_writes_one_clean_line(name: str, titles: list[str]) -> None:
    first, again = write_variants(name, titles[:300]), write_variants(name, titles[:300])
    assert first == again
    for title, text in first:
        assert text == " ".join(text.split()), (title, text)
        assert list_words(text), (title, text)


@pytest.mark.parametrize(("name", "share"), [("reordered", 0.95), ("abbreviated", 0.95), ("typo", 0.99)])
def test_most_titles_get_a_variant_that_differs_by_more_than_case(name: str, share: float, titles: list[str]) -> None:
    pairs = write_variants(name, titles, attempts=30 if name == "reordered" else 10)
    covered = {title for title, text in pairs if list_words(text) != list_words(title)}
    assert len(covered) / len(set(titles)) >= share


def test_reordered_keeps_every_content_word_and_changes_their_order(titles: list[str]) -> None:
    for title, text in write_variants("reordered", titles):
        before = [word for word in list_words(title.replace("secondary to", "due to")) if word not in SMALL_WORDS]
        after = [word for word in list_words(re.sub("secondary to", "due to", text, flags=re.I)) if word not in SMALL_WORDS]
        assert Counter(before) == Counter(after), (title, text)
        assert before != after, (title, text)


def test_reordered_keeps_without_before_what_it_negates(titles: list[str]) -> None:
    checked = 0
    for title, text in write_variants("reordered", titles):
        for negated in re.findall(r"without (\w+ \w+|\w+$)", title.casefold()):
            first, *second = negated.split()
            words = list_words(text)
            after = [words[place + 1 : place + 4] for place, word in enumerate(words) if word == "without"]
            assert any({first, *second} & set(near) for near in after), (title, text)
            checked += 1
    assert checked > 300


def test_brackets_stay_balanced(titles: list[str]) -> None:
    for name in VARIATIONS:
        for title, text in write_variants(name, titles, attempts=2):
            for opened, closed in ("()", "[]"):
                if title.count(opened) == title.count(closed):
                    assert text.count(opened) == text.count(closed), (name, title, text)


def test_typo_keeps_digits_sides_and_negations(titles: list[str]) -> None:
    for title, text in write_variants("typo", titles):
        assert re.findall(r"\d", text) == re.findall(r"\d", title), (title, text)
        before = [word for word in list_words(title) if word in KEPT_WORDS]
        after = [word for word in list_words(text) if word in KEPT_WORDS]
        assert before == after, (title, text)
        for prefix in ("hyper", "hypo"):
            assert len(re.findall(rf"{prefix}", title.casefold())) <= len(re.findall(rf"{prefix}", text.casefold())), (
                title,
                text,
            )


def test_typo_is_one_to_three_slips_and_never_another_word(titles: list[str], codes: CodeSet) -> None:
    vocabulary = {word for code in codes.codes for word in re.findall(r"[a-z]{4,}", codes.title(code).casefold())}
    for title, text in write_variants("typo", titles[:1000], attempts=2):
        assert 1 <= count_edits(title.casefold(), text.casefold()) <= 6, (title, text)
        known = set(re.findall(r"[a-z]+", title.casefold()))
        for word in re.findall(r"[a-z]{4,}", text.casefold()):
            assert word in known or word not in vocabulary, (title, text)


def spread_tokens(text: str) -> str:
    """Return words and punctuation with a space around each, so that `in` finds whole words only."""
    tokens = re.findall(r"[a-z0-9]+(?:['/-][a-z0-9]+)*/?|[^a-z0-9 ]", text.casefold())
    return f" {' '.join(tokens)} "


def test_abbreviated_holds_a_short_form_where_the_lexicon_has_one(titles: list[str]) -> None:
    with LEXICON.open(encoding="utf-8", newline="") as file:
        rows = [(spread_tokens(row["long"]), spread_tokens(row["short"])) for row in csv.DictReader(file)]
    held = 0
    for title, text in write_variants("abbreviated", titles, attempts=2):
        spread_title, spread_text = spread_tokens(title), spread_tokens(text)
        shorts = [short for long, short in rows if long in spread_title]
        assert not shorts or any(short in spread_text for short in shorts), (title, text)
        held += bool(shorts)
    assert held > 5000


def test_abbreviated_never_swaps_sides(titles: list[str]) -> None:
    left = {"left", "l", "lt", "lle", "lue", "luq", "llq", "lhf", "lbbb"}
    right = {"right", "r", "rt", "rle", "rue", "ruq", "rlq", "rhf", "rbbb"}
    sided = [title for title in titles if ("left" in list_words(title)) != ("right" in list_words(title))]
    assert len(sided) > 500
    for title, text in write_variants("abbreviated", sided):
        wrong = right if "left" in list_words(title) else left
        assert not wrong & set(list_words(text)), (title, text)


def test_lexicon_is_large_and_clean() -> None:
    with LEXICON.open(encoding="utf-8", newline="") as file:
        rows = [(row["short"], row["long"]) for row in csv.DictReader(file)]
    assert len(rows) >= 300 and len(rows) == len(set(rows))
    for short, long in rows:
        assert short == short.strip() and long == long.strip(" ") and short and long
        assert short.casefold() != long.casefold() and len(short) < len(long), (short, long)
    assert {("HTN", "hypertension"), ("w/o", "without"), ("fx", "fracture"), ("CKD", "chronic kidney disease")} <= set(rows)


def test_parsed_titles_join_to_the_title_again(codes: CodeSet) -> None:
    for code in codes.codes:
        title = codes.title(code)
        core, clauses, parts = parse_title(title)
        assert ", ".join([" ".join([core, *clauses]), *parts]) == title


def test_joined_texts_are_whole_in_order_and_apart() -> None:
    members = ["major depressive disorder, single episode, mild", "acute cough", "colic"]
    rng = random.Random(3)
    for _ in range(300):
        text = join_texts(members, rng)
        places = [text.casefold().find(member) for member in members]
        assert -1 < places[0] < places[1] < places[2], text
        between = text.casefold()[places[0] + len(members[0]) : places[1]]
        assert between.strip() != ",", "a comma alone cannot part texts that hold commas"
    forms = {join_texts(["colic", "acute cough"], rng) for _ in range(300)}
    assert len(forms) > 30 and any("\n" in form for form in forms) and "colic, acute cough" in forms
