"""Every row of a slice of 3,000 codes, checked again by other means than the generator's own: 0 rows may fail.

Nothing here imports `data_gen.checks`, `data_gen.lexicon`, `data_gen.folding` or `data_gen.patients`: the lexicon is read
from its file, Excludes1 from the notes of the tabular list, sexes and ages by word lists of this test.
"""

from __future__ import annotations

import csv
import difflib
import functools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from data_gen.build import build_examples
from data_gen.checks import BARE_NAME, PLAIN_NAME
from data_gen.examples import Example
from data_gen.plan import Plan
from icd10cm import CodeSet
from icd10cm.tabular import Tabular

LEXICON = Path(__file__).parent.parent / "icd10cm" / "lexicon.csv"
SMALL = {
    "a", "affecting", "after", "an", "and", "as", "associated", "at", "by", "caused", "causing", "complicating", "due",
    "during", "following", "for", "from", "in", "induced", "into", "involving", "of", "on", "the", "to", "with",
}  # fmt: skip
SIDES = {"left": {"left", "l", "lt"}, "right": {"right", "r", "rt"}, "bilateral": {"bilateral", "b/l", "bil", "bilat", "both"}}
Row = tuple[Example, str]
NAMES = (PLAIN_NAME, BARE_NAME)


@pytest.fixture(scope="module")
def built(codes: CodeSet) -> list[Example]:
    chosen = sorted(random.Random(5).sample(codes.codes, 3000))
    plan = Plan.model_validate(
        {
            "seed": 29,
            "train_variants": {"reordered": 2, "abbreviated": 2, "typo": 2, "paraphrased": 2, "mixed": 2},
            "multiple": {"train": 600, "validation": 50, "test": 150, "max_conditions": 12},
            "note": {"train": 60, "validation": 10, "test": 30, "max_conditions": 12},
        }
    )
    return [example for rows in build_examples(codes, chosen, plan).examples.values() for example in rows]


@pytest.fixture(scope="module")
def rows(built: list[Example], codes: CodeSet) -> dict[str, list[Row]]:
    """Scenario to (example, title of its first code)."""
    by_scenario: dict[str, list[Row]] = defaultdict(list)
    for example in built:
        by_scenario[example.scenario].append((example, codes.title(example.codes[0])))
    return by_scenario


def list_above(codes: CodeSet, example: Example) -> list[str]:
    return [node for end in range(3, len(example.codes[0])) if (node := example.codes[0][:end].rstrip(".")) in codes]


def squash(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def list_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold())


def spread(text: str) -> str:
    """Return words and punctuation with a blank around each; `w/o`, `b/l` and hyphened words stay whole."""
    return f" {' '.join(re.findall(r'[a-z0-9]+(?:[/-][a-z0-9]+)*/?|[^a-z0-9 ]', text.casefold()))} "


@functools.cache
def read_lexicon() -> list[tuple[str, str]]:
    with LEXICON.open(encoding="utf-8", newline="") as file:
        return [(row["short"].casefold(), row["long"].casefold()) for row in csv.DictReader(file)]


@functools.cache
def shorts_of(word: str) -> set[str]:
    """Return the short forms of any term of the lexicon that holds `word`."""
    return {short for short, long in read_lexicon() if re.search(rf"\b{word}\b", long)}


def has_whole(text: str, short: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(short)}(?![^\W_])", text.casefold()) is not None


def find_failures(rows: list[Row], fails: Callable[[Example, str], object]) -> list[tuple[str, str]]:
    return [(title, example.text) for example, title in rows if fails(example, title)]


def test_the_slice_has_thousands_of_rows_of_every_kind(rows: dict[str, list[Row]]) -> None:
    kinds = ("base", "abbreviated", "typo", "paraphrased", "mixed")
    assert all(len(rows[name]) > 8000 for name in kinds) and len(rows["reordered"]) > 7000
    assert len(rows["multiple"]) == 800 and len(rows["note"]) == 100


def test_no_text_holds_a_code(built: list[Example], codes: CodeSet) -> None:
    known = {code.replace(".", "") for code in codes.headings}

    def find_codes(text: str) -> set[str]:
        return {word.replace(".", "").upper() for word in re.findall(r"\b[A-Za-z][0-9][0-9A-Za-z.]{1,6}\b", text)} & known

    assert [e.text for e in built if find_codes(e.text) - find_codes(" ".join(map(codes.title, e.codes)))] == []


def test_no_text_means_another_code_its_heading_or_its_siblings(built: list[Example], codes: CodeSet) -> None:
    meanings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for code in codes.codes:
        meanings[squash(codes.title(code))].add((code,))
    for note in Tabular.load().all_notes():
        if note.kind == "inclusion_term":
            node = note.node
            while node in codes and len(codes.children(node)) == 1:
                node = codes.children(node)[0]
            meanings[squash(note.text)].add((node,))
    single = Counter[str]()
    for example in built:
        if example.scenario != "base":
            single[squash(example.text)] += 1
            # a bare name may be that of a heading above
            own = {example.codes, *({(node,) for node in list_above(codes, example)} if example.source in NAMES else ())}
            assert meanings[squash(example.text)] <= own, example
    assert [text for text, times in single.items() if times > 1] == []


def test_no_variant_is_its_title(rows: dict[str, list[Row]]) -> None:
    for name in ("reordered", "abbreviated", "typo", "paraphrased", "mixed"):
        assert find_failures(rows[name], lambda example, title: squash(example.text) == squash(title)) == []


def test_reordered_has_the_words_of_its_title_in_another_order(rows: dict[str, list[Row]]) -> None:
    def list_content(text: str) -> list[str]:
        return [word for word in list_words(text.casefold().replace("secondary to", "due to")) if word not in SMALL]

    def fails(example: Example, title: str) -> bool:
        before, after = list_content(title), list_content(example.text)
        negated = [list(zip(words, [*words[1:], ""], strict=True)) for words in (before, after)]
        turned = [pair for pair in negated[1] if pair[0] in ("not", "never") and pair not in negated[0]]
        return Counter(before) != Counter(after) or before == after or bool(turned)

    assert find_failures(rows["reordered"], fails) == []


def test_typo_has_a_misspelt_word_and_keeps_what_matters(rows: dict[str, list[Row]], codes: CodeSet) -> None:
    vocabulary = {word for code in codes.codes for word in list_words(codes.title(code))}
    kept = {"left", "right", "bilateral", "unilateral", "without", "not", "no", "initial", "subsequent", "encounter", "sequela"}

    def fails(example: Example, title: str) -> bool:
        before, after = list_words(title), list_words(example.text)
        new = set(after) - set(before)
        return (
            not new
            or bool(new & vocabulary)
            or re.findall(r"\d", example.text) != re.findall(r"\d", title)
            or [word for word in before if word in kept] != [word for word in after if word in kept]
        )

    assert find_failures(rows["typo"], fails) == []


def test_abbreviated_has_a_short_form_of_a_term_in_its_title(rows: dict[str, list[Row]]) -> None:
    lexicon = [(short, spread(long)) for short, long in read_lexicon()]

    def fails(example: Example, title: str) -> bool:
        if example.source == "rules:clipped":
            return False
        whole = spread(title)
        return not any(long in whole and has_whole(example.text, short) for short, long in lexicon)

    assert find_failures(rows["abbreviated"], fails) == []
    assert sum(example.source == "rules:abbreviated" for example, _ in rows["abbreviated"]) > 8000


def test_abbreviated_keeps_sides_digits_negations_and_the_encounter(rows: dict[str, list[Row]]) -> None:
    def says(text: str, word: str, clip: str = "") -> bool:
        return (
            has_whole(text, word) or any(has_whole(text, short) for short in shorts_of(word)) or (clip != "" and clip in text)
        )

    def fails(example: Example, title: str) -> str:
        said, text = set(list_words(title)), example.text.casefold()
        for side in SIDES:
            if side in said and not says(text, side):
                return side
            if side not in said and has_whole(text, side):
                return f"added {side}"
        for digit in re.findall(r"\d+", title):
            if digit not in re.findall(r"\d+", text) and not any(has_whole(text, short) for short in shorts_of(digit)):
                return digit
        if ("without" in said) != ("without" in text or "w/o" in text or any(has_whole(text, s) for s in shorts_of("without"))):
            return "without"
        for word, clip in (("initial", "init"), ("subsequent", "subs"), ("sequela", "seq")):
            if word in said and not says(text, word, clip):
                return word
        return ""

    assert find_failures(rows["abbreviated"], fails) == []


def test_mixed_is_a_misspelt_text_in_short_forms_or_another_order(rows: dict[str, list[Row]], codes: CodeSet) -> None:
    vocabulary = {word for code in codes.codes for word in list_words(codes.title(code))}
    lexicon = [(short, spread(long)) for short, long in read_lexicon()]
    shorts = {short for short, _ in lexicon}
    correct_words = vocabulary | shorts
    kept = {"left", "right", "bilateral", "unilateral", "without", "not", "no", "never", "initial", "subsequent", "sequela"}

    def correct(title: str, text: str) -> tuple[list[str], int]:
        """Return the words of a text, those that are like a word which only the title has replaced by it, and how many."""
        words = list_words(text)
        lacking = [word for word in Counter(list_words(title)) - Counter(words) if word not in kept]
        slips = 0
        for place, word in enumerate(words):
            if word not in correct_words:
                near = difflib.get_close_matches(word, lacking, 1, 0.6)
                if near and abs(len(near[0]) - len(word)) < 3:
                    words[place] = near[0]
                    slips += 1
        return words, slips

    def fails(example: Example, title: str) -> str:
        words, slips = correct(title, example.text)
        if not slips:
            return "no slip"
        if not set(re.findall(r"\d+", example.text)) <= {*re.findall(r"\d+", title), *re.findall(r"\d", " ".join(shorts))}:
            return "digit"
        if {"left", "right"} & set(words) - set(list_words(title)):
            return "side"
        if example.source == "rules:abbreviated+typo":
            whole = spread(title)
            used = any(long in whole and has_whole(example.text, short) for short, long in lexicon)
            return "" if used else "no short form"
        said, turned = (
            [word for word in re.sub("secondary to", "due to", " ".join(side)).split() if word not in SMALL]
            for side in (list_words(title), words)
        )
        return "" if Counter(said) == Counter(turned) and said != turned else "words or order"

    assert find_failures(rows["mixed"], fails) == []
    sources = Counter(example.source for example, _ in rows["mixed"])
    assert set(sources) == {"rules:abbreviated+typo", "rules:reordered+typo"} and min(sources.values()) > 2500, sources


def test_paraphrased_keeps_the_sides_and_holds_its_title_or_a_term(rows: dict[str, list[Row]], codes: CodeSet) -> None:
    tabular = Tabular.load()

    cut = re.compile(r"^(?:personal history(?: of)? |family history of |encounter for |long[ -]term \(current\) use of )", re.I)

    def fails(example: Example, title: str) -> str:
        said, meant = (set(list_words(text)) & {"left", "right", "bilateral"} for text in (example.text, title))
        if said != meant:
            return "sides"
        if example.source in NAMES:  # names and their short forms are looked at in test_bare_names
            return ""
        phrases = [title]
        if example.source == "rules:inclusion_term":
            phrases = [note.text for note in tabular.notes(example.codes[0], "inclusion_term", inherited=True)]
        text = squash(example.text)
        return "" if any(squash(phrase) in text or squash(cut.sub("", phrase)) in text for phrase in phrases) else "phrase"

    assert find_failures(rows["paraphrased"], fails) == []
    terms = [example for example, _ in rows["paraphrased"] if example.source == "rules:inclusion_term"]
    assert len({example.codes for example in terms}) > 150


DISTRACTED = re.compile(r"((?:\bden(?:ies|ied)|\bneg(?:ative)? for|\bno) ([a-z/ ]+?))(?= or | and |[.,;]|$)")


def test_nothing_is_denied_that_the_codes_report(rows: dict[str, list[Row]], codes: CodeSet) -> None:
    """No denied symptom is made of words of the titles of the answers, but for a term that is itself a denial."""
    checked = 0
    tabular = Tabular.load()
    for example, _ in rows["paraphrased"] + rows["note"]:
        said = {word for code in example.codes for word in list_words(codes.title(code)) if len(word) > 3}
        terms = [
            note.text.casefold() for code in example.codes for note in tabular.notes(code, "inclusion_term", inherited=True)
        ]
        for whole, denied in DISTRACTED.findall(example.text.casefold()):
            checked += 1
            assert not set(list_words(denied)) <= said or any(whole in term for term in terms), (example.text, denied)
    assert checked > 1000


def test_conditions_of_one_text_go_together(rows: dict[str, list[Row]], codes: CodeSet) -> None:
    tabular = Tabular.load()
    female = re.compile(r"pregnan|uterus|uterine|ovar|vagin|vulv|cervix|menopaus|menstru|endometri|childbirth|puerper", re.I)
    male = re.compile(r"prostat|penis|testi[sc]|scrot|epididym|hypospad", re.I)
    for example, _ in rows["multiple"] + rows["note"]:
        assert 2 <= len(example.codes) <= 12 and len({code[:3] for code in example.codes}) == len(example.codes), example
        assert not "V" <= example.codes[0][0] <= "Y", example
        own = [code for code in example.codes if code[0] not in "PVWXYZT"]
        if any(code[0] == "O" for code in own):
            assert not any(male.search(codes.title(code)) for code in own), example
            assert not any(code[0] == "P" for code in example.codes), example
        if any(code[0] == "P" for code in example.codes):
            of_infants = ("Z00", "Z05", "Z23", "Z28", "Z38", "Z41", "R01", "H35")
            assert all(code[0] in "ABPQU" or code[:3] in of_infants for code in example.codes), example
        women = [code for code in own if female.search(codes.title(code)) and not male.search(codes.title(code))]
        men = [code for code in own if male.search(codes.title(code)) and not female.search(codes.title(code))]
        assert not (women and men), example
        for code in example.codes:
            excluded = {name for note in tabular.notes(code, "excludes1", inherited=True) for name in note.targets}
            for other in example.codes:
                assert other == code or not excluded & set(tabular.ancestors(other)), (example, code, other)


def test_notes_have_their_sections_and_every_condition(
    rows: dict[str, list[Row]], built: list[Example], codes: CodeSet
) -> None:
    said = defaultdict(set)
    for example in built:
        if example.scenario in ("reordered", "abbreviated", "typo", "mixed"):
            said[example.split, example.codes[0]].add(squash(example.text))
    sections = (
        "Chief Complaint:", "Major Surgical or Invasive Procedure:", "History of Present Illness:", "Past Medical History:",
        "Social History:", "Family History:", "Physical Exam:", "Pertinent Results:", "Brief Hospital Course:",
        "Discharge Medications:", "Discharge Disposition:", "Discharge Diagnosis:",
    )  # fmt: skip
    for example, _ in rows["note"]:
        places = [example.text.find(section) for section in sections]
        assert min(places) > 0 and places == sorted(places), example
        text = squash(example.text)
        for code in example.codes:
            known = said[example.split, code] | {squash(codes.title(code))}
            assert any(phrase in text for phrase in known), (code, example.text)
        first = squash(example.text[example.text.find("Discharge Diagnosis:") :])
        principal = said[example.split, example.codes[0]] | {squash(codes.title(example.codes[0]))}
        assert any(phrase in first for phrase in principal), example
        assert not any(code[:3] in ("Z80", "Z81", "Z82", "Z83", "Z84") for code in example.codes)
