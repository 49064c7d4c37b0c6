"""Evidence: pieces of any text stand where they say, the likely ones are asked about, the best is kept."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icd10cm import CodeSet
from icd10cm.tabular import Tabular
from serving.coding.answering import WrittenCode
from serving.coding.clauses import list_candidates
from serving.coding.evidence import MOST_CANDIDATES, MOST_SPANS, Reading
from serving.coding.likeness import Lexicon

NOTE = (
    "HPI: 72 y/o man with T2DM, HTN; denies chest pain. Hx of a fib.\n"
    "1. Acute on chronic systolic heart failure\n"
    "2. foot ulcr in diabetic\n"
    "Family History:\nMother with breast cancer"
)


@pytest.fixture(scope="module")
def lexicon(codes: CodeSet) -> Lexicon:
    return Lexicon(codes, Tabular.load())


def write(code: str, text: str) -> WrittenCode:
    return WrittenCode(code, -0.1, (), ((0, len(text)),))


@pytest.mark.parametrize(
    ("code", "piece"),
    [
        ("I10", "HTN"),
        ("E11.9", "72 y/o man with T2DM"),
        ("R07.9", "denies chest pain"),
        ("I50.23", "Acute on chronic systolic heart failure"),
        ("E11.621", "foot ulcr in diabetic"),
        ("Z80.3", "Mother with breast cancer"),
    ],
)
def test_words_short_forms_and_misspellings_lead_to_the_piece(lexicon: Lexicon, code: str, piece: str) -> None:
    reading = Reading(NOTE, lexicon)
    found = [reading.read(one) for one in reading.shortlist(write(code, NOTE))]
    assert len(found) <= MOST_CANDIDATES
    assert piece in found, found


def test_the_piece_with_most_support_is_kept_and_the_shortest_of_equal_ones(lexicon: Lexicon) -> None:
    reading = Reading(NOTE, lexicon)
    candidates = reading.shortlist(write("I10", NOTE))
    supports = {"HTN": 0.95, "72 y/o man with T2DM, HTN": 0.99}
    (span, *_) = reading.choose(candidates, supports)
    assert (span.text, span.support, span.assertion) == ("HTN", 0.95, "affirmed")
    supports = {"HTN": 0.2, "72 y/o man with T2DM, HTN": 0.99}
    (span, *_) = reading.choose(candidates, supports)
    assert span.text == "72 y/o man with T2DM, HTN"


def test_without_support_words_decide_and_noise_is_no_evidence(lexicon: Lexicon) -> None:
    reading = Reading(NOTE, lexicon)
    (span,) = reading.choose(reading.shortlist(write("R07.9", NOTE)), {})
    assert (span.text, span.support, span.assertion, span.trigger) == ("denies chest pain", None, "negated", "denies")
    candidates = reading.shortlist(write("I10", NOTE))
    assert reading.choose(candidates, {reading.read(one): 0.01 for one in candidates}) == ()
    assert Reading("gout", lexicon).shortlist(write("S72.001A", "gout")) != [], "a text of one piece has no other"


def test_evidence_comes_from_the_parts_that_the_code_was_written_for(lexicon: Lexicon) -> None:
    text = "HTN. Gout. HTN."
    found = Reading(text, lexicon).shortlist(WrittenCode("I10", -0.1, (), ((5, len(text)),)))
    assert [one.place for one in found] == [(11, 14)]


clinical = st.text(
    st.one_of(st.sampled_from(list(" \n\r\t.,;:-•–!?'\u00a0\u2028")), st.characters(exclude_categories=["Cs"])), max_size=120
)
phrases = st.lists(
    st.one_of(
        clinical, st.sampled_from(["T2DM", "HTN", "denies ", "family history of ", "foot ulcer", ", ", "\n", "é̈", "𝟚", "no "])
    ),
    max_size=12,
).map("".join)


@given(text=phrases, code=st.sampled_from(["E11.621", "I10", "R07.9", "S72.001A", "Z80.3"]), support=st.floats(0, 1))
@example("İ. T2DM\u2028foot ulcer", "E11.621", 0.5)
@settings(max_examples=150)
def test_spans_stand_where_they_say_in_any_text(lexicon: Lexicon, text: str, code: str, support: float) -> None:
    places = list_candidates(text, (0, len(text)))
    assert len(places) == len(set(places))
    reading = Reading(text, lexicon)
    candidates = reading.shortlist(write(code, text))
    for place in [*places, *(one.place for one in candidates)]:
        assert 0 <= place[0] < place[1] <= len(text)
        assert text[slice(*place)].strip() == text[slice(*place)]
    for supports in ({}, {reading.read(one): support for one in candidates}):
        spans = reading.choose(candidates, supports)
        assert len(spans) <= MOST_SPANS
        for span in spans:
            assert text[span.start : span.end] == span.text and span.text.strip()
            assert (span.assertion == "affirmed") == (span.trigger is None)
