"""Answers: what any model may write, read into billable codes and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icd10cm import CodeSet
from icd10cm.answers import drop_cut_code, read_answer


@pytest.mark.parametrize(
    "completion",
    [
        "E11.621, I10",
        "E11.621,I10",
        "e11621, i10",
        "E11.621; I10.",
        "E11.621 I10",
        "e11.621 i10",
        "E11.621\nI10",
        "E11.621\r\nI10\r\n",
        "E11.621 and I10",
        "E11.621/I10",
        "E11.621 | I10 |",
        "- E11.621\n- I10",
        "* e11.621\n* i10",
        "• E11.621\n• I10",
        "1. E11.621\n2. I10",
        "1) **E11.621**: Type 2 diabetes mellitus with foot ulcer\n2) **I10**: Essential (primary) hypertension",
        '["E11.621", "I10"]',
        '{"codes": ["E11.621", "I10"]}',
        '```json\n{"codes": [{"code": "E11.621"}, {"code": "I10"}]}\n```',
        "ICD-10: E11.621, I10",
        "ICD10-CM codes: E11.621, I10.",
        "The codes are E11.621 (type 2 diabetes mellitus with foot ulcer) and I10 (hypertension).",
        "E11.621 - Type 2 diabetes mellitus with foot ulcer\nI10 - Essential (primary) hypertension",
        "E11.621 – I10",
        "E11.621<br>I10</s>",
        "E11.621, E11.621, I10, E11621",
        "`E11.621`, `I10`",
    ],
)
def test_ways_to_write_two_codes(codes: CodeSet, completion: str) -> None:
    assert read_answer(completion, codes) == (("E11.621", "I10"), (), False)


@pytest.mark.parametrize(
    "code", ["QA0.0101", "C4A.0", "C7B.00", "D3A.00", "M1A.00X0", "O9A.111", "Z3A.01", "J4A.0", "I5A", "W21.89XA", "U07.1",
             "B20", "S72.001A", "T50.B95S", "C84.ZA", "Y92.9"],
)  # fmt: skip
def test_codes_with_letters_where_others_have_digits(codes: CodeSet, code: str) -> None:
    for written in (code, code.replace(".", ""), code.lower(), f"{code}.", f"- {code}", f"ICD-10-CM: {code} (see note)"):
        assert read_answer(written, codes) == ((code,), (), False), written


@pytest.mark.parametrize(
    "completion",
    [
        "",
        " \n",
        "vitamin B12 deficiency",
        "the code E119.0 fits, or E11.9.5, or S72.001AA",
        "elevated A1C and HbA1c in T2DM",
        "L5-S1 disc, T10-T12 levels",
        "COVID-19",
        "H1N1 influenza, CD4 count low, O2 sat 90 %, FEV1 60 %",
        "p53 mutation, 5 mg, BP 120/80",
        "I cannot help with that.",
        "2026",
        "1.1, 10, 123",
        "Ｅ11.9",
        "ı10",
    ],
)
def test_words_that_only_look_like_codes(codes: CodeSet, completion: str) -> None:
    assert read_answer(completion, codes) == ((), (), True)


@pytest.mark.parametrize(
    ("completion", "found", "rejected"),
    [
        ("E11.62", (), ("E11.62",)),
        ("E11", (), ("E11",)),
        ("E11.9, E11.99", ("E11.9",), ("E11.99",)),
        ("E11.9, S72.001AA", ("E11.9",), ("S72.001AA",)),
        ("E11.9, S72.001", ("E11.9",), ("S72.001",)),
        ("E1.19", (), ("E1.19",)),
        ("E119.0", (), ("E119.0",)),
        ("E11.9.5", (), ("E11.9.5",)),
        ("QA00.101", (), ("QA00.101",)),
        ("B12, I10", ("I10",), ("B12",)),
        ("E11.62, E11.62", (), ("E11.62", "E11.62")),
        ("E08-E13", (), ("E08-E13",)),
        ("Hypertensive diseases (I10-I16)", (), ("I10-I16",)),
        ("Type 2 diabetes (E11.-) with foot ulcer", (), ("E11",)),
        ("see T81 for complications", (), ("T81",)),
        ("the code E11.99 fits", (), ("E11.99",)),
        ("Answer: I10\n\nThe patient takes vitamin B12.", ("I10",), ()),
    ],
)
def test_what_is_meant_as_a_code_and_is_none(
    codes: CodeSet, completion: str, found: tuple[str, ...], rejected: tuple[str, ...]
) -> None:
    assert read_answer(completion, codes) == (found, rejected, False)


def test_non_codes_are_never_read_as_codes(codes: CodeSet, non_codes: list[str]) -> None:
    assert len(non_codes) == 10_000
    for text in non_codes:
        for completion in (text, text.lower(), f"the code {text} fits"):
            assert read_answer(completion, codes).codes == (), completion
    assert sum(read_answer(text, codes).rejected == (text,) for text in non_codes) > 9_500


def test_titles_name_no_code(codes: CodeSet) -> None:
    for code in codes.codes:
        assert read_answer(codes.title(code), codes).codes == (), code


CODE_LIKE = st.text(st.sampled_from("ABCEIQSTZX0123456789.,;-–()*|\n\t and"), max_size=60)


@settings(max_examples=400, deadline=None)
@given(completion=st.text(max_size=80) | CODE_LIKE)
def test_any_text_is_read_without_an_error_and_only_into_billable_codes(codes: CodeSet, completion: str) -> None:
    answer = read_answer(completion, codes)
    assert set(answer.codes) <= set(codes.codes) and len(set(answer.codes)) == len(answer.codes)
    assert answer.unparsed is (not answer.codes and not answer.rejected)
    assert all(rejected in completion and not codes.is_billable(rejected) for rejected in answer.rejected)
    assert completion.startswith(drop_cut_code(completion))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_list_of_codes_is_read_back(codes: CodeSet, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(codes.codes), min_size=1, max_size=8, unique=True))
    separator = data.draw(st.sampled_from([", ", ",", "; ", "\n", "\n- ", " | ", " and ", " "]))
    respell = data.draw(st.sampled_from([str, str.lower, lambda code: code.replace(".", ""), lambda code: f"{code}."]))
    assert read_answer(separator.join(map(respell, wanted)), codes) == (tuple(wanted), (), False)


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("E11.9, I10, J4", "E11.9, I10"),
        ("E11.9", ""),
        ("", ""),
        ("E11.9\nI1", "E11.9"),
        ("E11.9 and I1", "E11.9 "),
        ("E11.9, ", "E11.9"),
    ],
)
def test_drop_cut_code(completion: str, kept: str) -> None:
    assert drop_cut_code(completion) == kept


@pytest.mark.parametrize("piece", [" ", "A", "A1", "E11.9, ", "E11.9-", ".", "1. ", "\n"])
def test_a_degenerate_completion_is_read_in_linear_time(codes: CodeSet, piece: str) -> None:
    started = time.perf_counter()
    read_answer(piece * 100_000, codes)
    assert time.perf_counter() - started < 5
