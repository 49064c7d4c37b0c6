"""Texts cut where they plainly set their conditions apart, and answered condition by condition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd10cm import CodeSet
from icd10cm.conditions import split_conditions
from icd10cm.errors import ConfigError
from serving.long_notes import Cutter
from serving.long_notes.budget import choose_budget
from serving.long_notes.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("gout", ["gout"]),
        ("", [""]),
        (" ; ", [" ; "]),
        ("gout; asthma", ["gout", "asthma"]),
        ("- gout\n- asthma\n", ["gout", "asthma"]),
        ("* gout\r\n• asthma", ["gout", "asthma"]),
        ("1. gout\n2) asthma", ["gout", "asthma"]),
        ("#1 gout #2 asthma", ["gout", "asthma"]),
        ("Problem list: (1) gout (2) asthma", ["gout", "asthma"]),
        ("Primary: gout\nSecondary: asthma + CHF", ["gout", "asthma", "CHF"]),
        ("Gout. Asthma.", ["Gout", "Asthma."]),
        ("Sepsis due to Escherichia coli [E. coli]", ["Sepsis due to Escherichia coli [E. coli]"]),
        ("gout, asthma and CHF", ["gout, asthma and CHF"]),
        ("- bladder cancer; trigone\n- skin & subq abscess", ["bladder cancer; trigone", "skin & subq abscess"]),
        ("1) gout; 2) asthma;", ["gout", "asthma"]),
        ("gout; asthma. Worse", ["gout", "asthma. Worse"]),
        ("CHF, gout and also asthma", ["CHF, gout", "asthma"]),
        ("CHF; gout; as well as skin & subq abscess", ["CHF", "gout", "skin & subq abscess"]),
        ("pt has gout, also asthma", ["pt has gout", "asthma"]),
        ("CHF; and gout", ["CHF", "gout"]),
        ("BRAIN DEATH. Obesity, class 2. Gout.", ["BRAIN DEATH", "Obesity, class 2", "Gout."]),
        ("Infection by E. Coli", ["Infection by E. Coli"]),
        ("seen today, hx: gout", ["seen today, hx: gout"]),
    ],
)
def test_split(text: str, conditions: list[str]) -> None:
    assert split_conditions(text) == conditions


def test_no_title_is_split(codes: CodeSet) -> None:
    assert [code for code in codes.codes if len(split_conditions(codes.title(code))) > 1] == []


@given(st.text(alphabet=" ;\n.-1)#+aB", max_size=40))
def test_parts_stand_where_they_say(text: str) -> None:
    parts = Cutter("conditions", estimate_tokens, 0).locate(text)
    assert parts and [part.text for part in parts] == split_conditions(text)
    for part in parts:
        ((start, end),) = part.spans
        assert text[start:end] == part.text
    starts = [part.spans[0][0] for part in parts]
    assert starts == sorted(starts)


def test_a_condition_that_is_too_long_is_read_in_windows() -> None:
    text = "gout; " + " ".join(["fracture"] * 20)
    cutter = Cutter("conditions", estimate_tokens, 10, overlap=2)
    first, *windows = cutter.locate(text)
    assert first.text == "gout" and len(windows) > 3
    assert all(len(estimate_tokens(one.text)) <= 10 and text[slice(*one.spans[0])] == one.text for one in windows)
    assert cutter.describe() == {
        "way": "conditions", "max_text_tokens": 10, "tokens": "estimate", "n_cut": 1, "n_conditions": len(windows) + 1,
        "most_conditions": len(windows) + 1,
    }  # fmt: skip


def test_nobody_needs_to_say_how_much_a_server_reads() -> None:
    assert choose_budget("conditions", 0, None, 0, 64) == 0
    with pytest.raises(ConfigError, match="chunks needs max_text_tokens"):
        choose_budget("chunks", 0, None, 0, 64)
