"""The codes that a note's free text names, for every shape in which the tabular list writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd10cm.references import NodeIndex, resolve
from icd10cm.tabular import Tabular, find_embedded_xml
from icd10cm.tabular_xml import find_sevenths, iterate_leaves, pad_code, read_tabular_xml


@pytest.fixture(scope="module")
def index() -> NodeIndex:
    raw = read_tabular_xml(find_embedded_xml())
    expanded = {
        leaf: tuple(pad_code(leaf) + char for char in find_sevenths(leaf, raw.sevenths, raw.parents))
        for leaf, sevenths in iterate_leaves(raw)
        if sevenths
    }
    return NodeIndex({name: raw.parents.get(name, "") for name in raw.titles}, expanded)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("type 1 diabetes mellitus (E10.-)", "E10"),
        ("acute posthemorrhagic anemia (D62)", "D62"),
        ("embolism and thrombosis of lower extremities (I82.4-, I82.5-, I82.81-)", "I82.4 I82.5 I82.81"),
        ("phlebitis and thrombophlebitis (I82.62-. I82.72-)", "I82.62 I82.72"),
        ("diabetes mellitus (E08-E13 with .42)", "E08.42 E09.42 E10.42 E11.42 E13.42"),
        ("skin disorders in diabetes (E08-E13 with .62-)", "E08.62 E09.62 E10.62 E11.62 E13.62"),
        ("alcohol-induced disorder (F10, F13, F19 with .26, .96)", "F10.26 F10.96 F13.26 F13.96 F19.26 F19.96"),
        ("dementia (F10-F11, with .17, .27, .97)", "F10.27 F10.97"),
        ("angiopathy (E08-E09 with .51-.52)", "E08.51 E08.52 E09.51 E09.52"),
        ("polyneuropathy (B27.0-B27.9 with fifth character 1)", "B27.01 B27.11 B27.81 B27.91"),
        ("liver disease (B27.0-B27.1 with .9)", "B27.09 B27.19"),
        ("whooping cough with pneumonia (A37 with fifth-character 1)", "A37.01 A37.11 A37.81 A37.91"),
        ("fluency disorder (I69. with final characters -23)", "I69.023 I69.123 I69.223 I69.323 I69.823 I69.923"),
        ("salicylates (T39.0-, with sixth character 5)", "T39.015 T39.095"),
        ("linezolid (T36.8X- with sixth character 1-4)", "T36.8X1 T36.8X2 T36.8X3 T36.8X4"),
        ("sequela of concussion (S06.0X- with seventh character S)", "S06.0X0S S06.0X1S S06.0X9S S06.0XAS"),
        ("leukemia in remission C91.0-C91.1 with 5th character 1", "C91.01 C91.11"),
        ("respiratory failure with hypercapnia (J96. with 5th character 2)", "J96.02 J96.12 J96.22 J96.92"),
        ("endocrine disorder (E00-E07, E15-E16)", "E00-E07 E15-E16"),
        ("neoplasms of uncertain behavior (D37-D44, D48)", "D37 D38 D39 D40 D41 D42 D43 D44 D48"),
        ("rheumatic fever with heart involvement (I01.0 -I01.9)", "I01"),
        ("psychoactive substance use (F10.--F19.-)", "F10-F19"),
        ("head injury (S00 - S09)", "S00-S09"),
        ("head injury (S00.- to S09.-)", "S00-S09"),
        ("symptoms NOS (C30.1,C31.0)", "C30.1 C31.0"),
        ("torticollis NOS M43.6", "M43.6"),
        ("hearing loss as classified in H90.-", "H90"),
        ("tendinitis as classified in M75-M77", "M75 M76 M77"),
        ("electrolyte imbalance (E87.8}", "E87.8"),
        ("acquired absence of knee joint (Z89.52-", "Z89.52"),
        ("code (Chapter 20) to identify external cause", "20"),
        ("code from category Z3A, Weeks of gestation, to identify the specific week", "Z3A"),
        ("underdosing of medication (T36.0) with fifth or sixth character 6", "T36.0X6"),
        ("deficits (I69.01-I69.11-, I69.21-I69.31-, I69.81- I69.91-)", "I69.01 I69.11 I69.21 I69.31 I69.81 I69.91"),
    ],
)
def test_every_shape_of_reference(index: NodeIndex, text: str, targets: str) -> None:
    found = resolve(text, index)
    assert set(found.targets) == set(targets.split())
    assert not found.unresolved


def test_exceptions_are_taken_out(index: NodeIndex) -> None:
    targets = set(resolve("Conditions in S00-T88, except T74 and T76", index).targets)
    assert {"S00-S09", "T66", "T75", "T80-T88"} <= targets
    assert not {"T74", "T76", "T66-T78", "19"} & targets


def test_a_seventh_character_picks_full_codes(index: NodeIndex) -> None:
    targets = resolve("open skull fracture (S02.- with 7th character B)", index).targets
    assert targets and all(code.startswith("S02.") and code.endswith("B") and len(code) == 8 for code in targets)
    open_forearm = resolve("open fracture of elbow and forearm (S52.- with open fracture 7th character)", index).targets
    assert {code[-1] for code in open_forearm} == set("BCEFHJMNQR")


def test_fifth_or_sixth_character_is_the_last_before_the_seventh(index: NodeIndex) -> None:
    targets = resolve("drug (T36-T50 with fifth or sixth character 5)", index).targets
    assert {"T36.0X5", "T36.95", "T45.515"} <= set(targets)
    assert all(code[-1] == "5" for code in targets)
    assert not {"T45.525A", "T39.395A"} & set(targets)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("other frontotemporal neurocognitive disorder (G31.90)", "G31.90"),
        ("diabetic acidosis - see categories E08-E10, E11, E13 with ketoacidosis", "E08-E10, E11, E13 with ketoacidosis"),
        ("current injury - see injury of joint by body region", "see injury of joint by body region"),
        ("cadaveric donor - omit code", "omit code"),
    ],
)
def test_what_cannot_be_read_is_kept_and_not_guessed(index: NodeIndex, text: str, kept: str) -> None:
    found = resolve(text, index)
    assert found.targets == () and found.unresolved == (kept,)


@pytest.mark.parametrize(
    "text",
    ["vitamin B12 deficiency", "Anoctamin-5-related LGMD R12", "(G6PD) without anemia", "growth hormone gene 1 (GH1) defect"],
)
def test_words_that_look_like_codes_are_not_codes(index: NodeIndex, text: str) -> None:
    assert resolve(text, index) == ((), (), 0)


def test_block_is_named_for_all_its_categories_and_a_range_may_end_where_no_code_is(index: NodeIndex) -> None:
    assert resolve("(A00-B99)", index).targets == ("1",)
    assert resolve("(K00-K93)", index).targets == resolve("(K00-K92)", index).targets
    assert "B20" in resolve("(B20, B25-B34)", index).targets


@given(
    st.text(max_size=60)
    | st.from_regex(r"[a-z ]{0,9}\(?[A-Z][0-9A-Z.\-, ]{0,20}( with [a-z0-9. \-]{0,30})?\)?", fullmatch=True)
)
def test_any_text_is_read_without_an_error(index: NodeIndex, text: str) -> None:
    found = resolve(text, index)
    assert len(found.unresolved) <= found.found
    assert all(node in index or node in Tabular.load().titles for node in found.targets)
