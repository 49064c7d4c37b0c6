"""Long texts: cut, by section, in windows; and one prediction from several."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from eval_cases import predict
from hypothesis import given
from hypothesis import strategies as st

from eval.predicting.merging import merge_predictions
from eval.predictions import ScoredCode
from icd10cm.errors import ConfigError
from serving.checkpoint import check_checkpoint
from serving.long_notes import Cutter, build_cutter
from serving.long_notes.budget import choose_budget
from serving.long_notes.sections import split_sections
from serving.long_notes.tokens import build_finder, estimate_tokens
from serving.prompting import load_tokenizer

NOTE = """Name:  ___                     Unit No:   ___
Admission Date:  ___              Discharge Date:   ___
Service: MEDICINE

Chief Complaint:
Fall

History of Present Illness:
An old man fell at home. He could not get up. His hip hurt.

Past Medical History:
Gout, asthma

Pertinent Results:
Sodium 138, potassium 4.1, chloride 101, bicarbonate 24

Brief Hospital Course:
Hip fracture was fixed. Gout flared and was treated.

Discharge Medications:
1. Colchicine 0.6 mg

discharge diagnosis:
Left hip fracture

Discharge Instructions:
You were admitted with a broken hip.
"""


def cut(way: str, text: str, most: int, **options: object) -> tuple[list[str], Cutter]:
    cutter = Cutter(way, estimate_tokens, most, **options)  # type: ignore[arg-type]
    return cutter.cut(text), cutter


def test_estimate_finds_words_numbers_and_signs() -> None:
    spans = estimate_tokens("Diabetes, 1200 mg\n\nñandú")
    assert ["Diabetes, 1200 mg\n\nñandú"[start:end] for start, end in spans] == [
        "Diabe", "tes", ",", "120", "0", "mg", "\n\n", "ñandú",
    ]  # fmt: skip


def test_sections_are_found_by_their_headings() -> None:
    names = [section.name for section in split_sections(NOTE)]
    assert names == [
        "Name", "Admission Date", "Service", "Chief Complaint", "History of Present Illness", "Past Medical History",
        "Pertinent Results", "Brief Hospital Course", "Discharge Medications", "Discharge Diagnosis", "Discharge Instructions",
    ]  # fmt: skip
    assert "".join(section.text for section in split_sections(NOTE)) == NOTE
    assert split_sections("A man fell: he hurt his hip.") == [("", "A man fell: he hurt his hip.", 0)]


def test_short_texts_stay_as_they_are() -> None:
    for way in ("whole", "truncate", "sections", "chunks"):
        parts, cutter = cut(way, "gout", 1000)
        assert parts == ["gout"] and cutter.n_cut == 0
    assert cut("whole", NOTE, 0)[0] == [NOTE]


def test_the_first_tokens_are_kept() -> None:
    (text,), cutter = cut("truncate", NOTE, 30)
    assert NOTE.startswith(text) and len(estimate_tokens(text)) == 30
    assert cutter.describe() == {"way": "truncate", "max_text_tokens": 30, "tokens": "estimate", "n_cut": 1}


def test_telling_sections_are_kept_in_the_order_of_the_note() -> None:
    (text,), cutter = cut("sections", NOTE, 56)
    assert text.index("History of Present") < text.index("Brief Hospital Course") < text.index("discharge diagnosis")
    assert "Left hip fracture" in text and "Gout flared" in text
    assert "Colchicine" not in text and "Sodium" not in text and "You were admitted" not in text
    assert "He could not get up" in text and "His hip hurt" not in text, "the last section let in is cut"
    assert len(estimate_tokens(text)) <= 56
    (other,), _ = cut("sections", NOTE, 20, sections=["Pertinent Results"])
    assert other.startswith("Pertinent Results") and "fracture" not in other
    assert cutter.describe()["n_without_sections"] == 0


def test_without_a_wanted_section_the_beginning_is_kept() -> None:
    text = "An old man fell at home. " * 20
    (kept,), cutter = cut("sections", text, 12)
    assert text.startswith(kept) and len(estimate_tokens(kept)) == 12 and cutter.n_without_sections == 1


def test_chunks_overlap_and_end_with_sentences() -> None:
    text = " ".join(f"Sentence number {n} says little." for n in range(40))
    parts, cutter = cut("chunks", text, 50, overlap=10)
    assert len(parts) > 5 and all(part.endswith("little.") for part in parts)
    for part, following in itertools.pairwise(parts):
        assert text.index(following) < text.index(part) + len(part), "they overlap"
    assert cutter.describe() | {"tokens": ""} == {
        "way": "chunks", "max_text_tokens": 50, "tokens": "", "n_cut": 1, "overlap_tokens": 10,
        "n_chunks": len(parts), "most_chunks": len(parts),
    }  # fmt: skip


@given(st.lists(st.sampled_from([" ", ". ", "\n", ", "]), max_size=80), st.integers(6, 40), st.integers(0, 3))
def test_no_token_is_lost_and_no_chunk_is_too_long(ends: list[str], most: int, overlap: int) -> None:
    text = "".join(f"w{number}{end}" for number, end in enumerate(ends))
    parts, _ = cut("chunks", text, most, overlap=overlap)
    covered = {place for part in parts for place in range(text.index(part), text.index(part) + len(part))}
    assert all(place in covered for place, sign in enumerate(text) if sign.isalnum())
    assert all(len(estimate_tokens(part)) <= most for part in parts)


def test_tokens_of_a_checkpoint_are_counted_as_its_tokenizer_does(random_checkpoint: Path) -> None:
    find, tokenizer = build_finder(random_checkpoint), load_tokenizer(random_checkpoint)
    assert len(find(NOTE)) == len(tokenizer(NOTE, add_special_tokens=False)["input_ids"])
    cutter = build_cutter("chunks", 40, 5, (), random_checkpoint)
    parts = cutter.cut(NOTE)
    lengths = [len(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in parts]
    assert len(parts) > 3 and max(lengths) <= 42 and cutter.describe()["tokens"] == str(random_checkpoint)


def test_without_a_number_a_text_gets_what_the_model_reads(random_checkpoint: Path) -> None:
    checkpoint = check_checkpoint(random_checkpoint)
    room = choose_budget("chunks", 0, checkpoint, checkpoint.context, 40)
    assert 100 < room < checkpoint.context - 40
    assert choose_budget("chunks", 77, None, 0, 40) == 77
    with pytest.raises(ConfigError, match="lower max_tokens"):
        choose_budget("chunks", 0, checkpoint, checkpoint.context, checkpoint.context)
    with pytest.raises(ConfigError, match="truncate needs max_text_tokens"):
        choose_budget("truncate", 0, None, 0, 40)


def test_predictions_of_parts_become_one() -> None:
    first = predict("I10 E11.9", "I10 K21.9")._replace(
        predicted=(ScoredCode("I10", -0.5), ScoredCode("K21.9", None)),
        ranking=(ScoredCode("I10", 0.9), ScoredCode("M10.9", 0.2)),
    )
    second = predict("I10 E11.9", "E11.9 I10", rejected=["E11.62"])._replace(
        predicted=(ScoredCode("E11.9", -0.1), ScoredCode("I10", -0.3)), ranking=(ScoredCode("M10.9", 0.4),)
    )
    merged = merge_predictions([first, second])
    assert merged.predicted == (("I10", -0.3), ("K21.9", None), ("E11.9", -0.1))
    assert merged.ranking == (("I10", 0.9), ("M10.9", 0.4)) and merged.rejected == ("E11.62",)
    assert merged.output == f"{first.output}\n{second.output}" and merged.status == "ok"
    assert merge_predictions([first]) is first


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("ok", "unparsed"), "ok"),
        (("unparsed", "unparsed"), "unparsed"),
        (("ok", "truncated", "unparsed"), "truncated"),
        (("truncated", "error", "ok"), "error"),
    ],
)
def test_status_of_a_merged_answer(statuses: tuple[str, ...], status: str) -> None:
    merged = merge_predictions([predict("I10", "I10" * (one == "ok"), status=one) for one in statuses])
    assert merged.status == status and (status != "error" or not merged.predicted)


@pytest.mark.parametrize("way", ["whole", "truncate", "sections", "chunks"])
def test_parts_say_where_in_the_text_they_stand(way: str) -> None:
    parts = Cutter(way, estimate_tokens, 20, 4).locate(NOTE)
    assert all(part.text == "\n".join(NOTE[start:end] for start, end in part.spans) for part in parts)
    assert len(parts) > 1 if way == "chunks" else len(parts) == 1
    assert way != "sections" or len(parts[0].spans) > 1
