"""Kinds of mistakes, on real codes."""

from __future__ import annotations

import pytest
from eval_cases import predict

from eval.scoring.taxonomy import KINDS, compare_codes, count_confusions, count_kinds, find_kind, find_mistake
from icd10cm import CodeSet


@pytest.mark.parametrize(
    ("right", "wrong", "kind"),
    [
        ("I10", "E11.9", "wrong_category"),
        ("E11.621", "E11.622", "wrong_detail"),
        ("M17.11", "M17.12", "wrong_laterality"),
        ("M17.0", "M17.11", "wrong_laterality"),
        ("M25.561", "M25.569", "wrong_laterality"),
        ("C50.919", "C50.911", "wrong_laterality"),
        ("S72.001A", "S72.002A", "wrong_laterality"),
        ("S72.001A", "S72.001D", "wrong_encounter"),
        ("S72.001A", "S72.002D", "wrong_detail"),
        ("S72.001A", "S72.011A", "wrong_detail"),
        ("H40.1110", "H40.1111", "wrong_encounter"),
    ],
)
def test_two_codes(codes: CodeSet, right: str, wrong: str, kind: str) -> None:
    assert compare_codes(right, wrong, codes) == kind
    assert compare_codes(wrong, right, codes) == kind
    assert find_kind(predict(right, wrong), codes) == kind


@pytest.mark.parametrize(
    ("right", "written", "rejected", "kind"),
    [
        ("I10", "I10", (), None),
        ("I10 E11.9", "E11.9 I10", (), None),
        ("I10", "", ("Z99.999",), "nonexistent"),
        ("I10", "", ("E11.62",), "not_billable"),
        ("I10", "I10", ("e1162",), "not_billable"),
        ("I10", "I10", ("G35",), "retired"),
        ("I10", "I10", ("G35", "E11.62"), "retired"),
        ("I10", "I10", ("E11.62", "Z99.999"), "nonexistent"),
        ("I10 E11.9", "I10", (), "too_few"),
        ("I10", "I10 E11.9", (), "too_many"),
        ("I10 M17.11", "I10 M17.12", (), "wrong_laterality"),
        ("M17.11 E11.621", "M17.12 E11.9", (), "wrong_detail"),
        ("M17.11 M25.561", "M25.562 M17.12", (), "wrong_laterality"),
        ("M17.11 I10", "M17.12 E11.9 E11.65", (), "wrong_category"),
    ],
)
def test_whole_answers(codes: CodeSet, right: str, written: str, rejected: tuple[str, ...], kind: str | None) -> None:
    assert find_kind(predict(right, written, rejected=rejected), codes) == kind


@pytest.mark.parametrize("status", ["error", "unparsed", "truncated"])
def test_what_is_no_ordinary_answer_is_its_own_kind(codes: CodeSet, status: str) -> None:
    assert find_kind(predict("I10", status=status), codes) == status


def test_each_wrong_answer_counts_once_in_the_order_of_the_kinds(codes: CodeSet) -> None:
    predictions = [predict("I10", written) for written in ("I10", "I10 E11.9", "E11.9", "E11.65", "I10 E11.65 Z79.4")]
    counted = count_kinds(find_kind(prediction, codes) for prediction in predictions)
    assert counted == {"wrong_category": 2, "too_many": 2}
    assert list(counted) == [kind for kind in KINDS if kind in counted]


def test_confusions_are_counted_where_the_pair_is_no_guess(codes: CodeSet) -> None:
    answers = [
        ("I10", "I11.9"),  # one for one
        ("I10 E11.9", "J18.9 E11.9"),  # one for one, of another chapter
        ("I10 J18.9", "K35.80 I11.9"),  # the same chapter is a pair, the rest a guess
        ("E11.621", "E11.622"),  # no confusion of categories
        ("I10", "I10"),
    ]
    mistakes = [find_mistake(predict(*answer), codes) for answer in answers]
    assert count_confusions(mistakes) == [("I10", "I11", 2), ("I10", "J18", 1)]
    assert count_confusions(mistakes, n=1) == [("I10", "I11", 2)]
