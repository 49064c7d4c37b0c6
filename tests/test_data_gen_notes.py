"""Synthetic notes: what a note says beside its conditions never denies them."""

from __future__ import annotations

import doctest
import random

import pytest

from data_gen import chronic, readable
from data_gen.notes import Condition, write_note
from icd10cm import CodeSet

ADULT = (20.0, 200.0)


def write(codes: CodeSet, chosen: str, seed: int, ages: tuple[float, float] = ADULT, sex: str | None = None) -> str:
    titles = [(code, codes.title(code)) for code in chosen.split()]
    conditions = [Condition(code, title, title, title) for code, title in titles]
    return write_note(conditions, sex, random.Random(seed), ages)


def read_section(note: str, name: str) -> str:
    return note.split(f"{name}:\n", 1)[1].split("\n\n", 1)[0]


@pytest.mark.parametrize("module", [chronic, readable])
def test_examples_of_the_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.failed == 0 and result.attempted > 0


@pytest.mark.parametrize(
    "acute", ["N39.0", "J18.9", "F05", "E86.1", "I71.10", "G93.6", "E87.5", "O60.22X0", "T40.2X1A", "I16.0", "K56.3", "J44.1"]
)
def test_only_lasting_conditions_are_past_history(codes: CodeSet, acute: str) -> None:
    listed = 0
    for seed in range(20):
        note = write(codes, f"R55 {acute} I10", seed)
        past = read_section(note, "Past Medical History")
        course = note.split("Brief Hospital Course:\n")[1].split(f"# {codes.title(acute)}: ")[1].split("\n\n")[0]
        assert codes.title(acute) not in past
        assert not any(word in course for word in ("hronic", "baseline", "home regimen")), course
        listed += codes.title("I10") in past
    assert listed > 5


@pytest.mark.parametrize(
    ("code", "denials"),
    [
        ("L12.8", ["no rash"]),
        ("K56.2", ["soft, NT/ND", "Denies abdominal pain"]),
        ("D57.212", ["Hgb-", "Plt Ct-", "soft, NT/ND"]),
        ("F15.121", ["drugs", "illicit", "appropriate affect"]),
        ("R29.1", ["NECK: supple"]),
        ("Q75.3", ["NCAT"]),
        ("I60.02", ["stroke", "CN intact"]),
        ("K72.01", ["affect", "AOx3", "enies", "denied"]),
        ("I97.811", ["CN intact", "Clear and coherent"]),
        ("D57.451", ["CTAB"]),
        ("I67.0", ["the family"]),
        ("K56.1", ["bowel obstruction", "abdominal pain"]),
        ("G93.82", ["AOx3", "improve", "Alert", "enies", "denied", "Clear and coherent"]),
    ],
)
def test_nothing_denies_a_condition(codes: CodeSet, code: str, denials: list[str]) -> None:
    for seed in range(40):
        note = write(codes, f"{code} I10", seed).replace("Grandmother had stroke", "").split("Family History:\n")
        text = note[0] + note[1].split("\n", 1)[1]
        assert not [denial for denial in denials if denial in text], text


def test_an_exam_of_little_keeps_its_normal_lines(codes: CodeSet) -> None:
    notes = [write(codes, "I10 H25.11", seed) for seed in range(30)]
    for line in ("LUNGS: CTAB", "ABDOMEN: soft", "Denies", "WBC-", "Lives with", "IMAGING: no evidence of"):
        assert any(line in note for note in notes), line
    assert not any(f"IMAGING: no evidence of {what}" in note for note in notes for what in ("UTI", "sepsis", "MI", "ACS"))


@pytest.mark.parametrize(
    ("chosen", "ages", "who", "service"),
    [("P07.15 P22.0", (0.0, 0.1), "day old infant girl", "NEONATOLOGY"), ("R56.00 J05.0", (0.5, 10.0), "girl", "PEDIATRICS")],
)
def test_children_are_written_as_children(
    codes: CodeSet, chosen: str, ages: tuple[float, float], who: str, service: str
) -> None:
    for seed in range(20):
        note = write(codes, chosen, seed, ages, "F")
        assert who in note and f"Service: {service}" in note
        assert not any(
            word in note for word in ("woman", "Retired", "smoker", "illicit", "Docusate", "650 mg", "Denies", "EtOH")
        )


def test_each_kind_has_its_course(codes: CodeSet) -> None:
    for seed in range(20):
        poisoning = write(codes, "T39.1X1A", seed)
        transfusion = write(codes, "T80.89XA", seed)
        assert not any(word in poisoning + transfusion for word in ("trauma", "PT", "wound", "pain controlled"))
        assert "Acetaminophen" not in poisoning
        assert "Expired" in write(codes, "G93.82", seed)
        assert read_section(write(codes, "C91.60 D80.1", seed), "Past Medical History") != "None"
