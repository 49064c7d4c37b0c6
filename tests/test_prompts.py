"""Prompts and completions: one text in, one line of codes out, the instruction baked into any chat template."""

from __future__ import annotations

import re

import jinja2
import pytest

from icd10cm import CodeSet
from icd10cm.answers import read_answer
from icd10cm.code_regex import build_regex
from icd10cm.prompts import INSTRUCTION, SEPARATOR, bake_instruction, build_completion, build_prompt

PLAIN_TEMPLATE = "{%- for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{%- endfor %}"


def test_prompt_is_the_text_alone() -> None:
    assert build_prompt("  T2DM w/ foot ulcer\n") == [{"role": "user", "content": "T2DM w/ foot ulcer"}]


def test_completion_keeps_the_order() -> None:
    assert build_completion(["I10", "E11.621"]) == [{"role": "assistant", "content": "I10, E11.621"}]


def test_every_code_survives_prompt_completion_and_parse(codes: CodeSet) -> None:
    one = re.compile(build_regex(codes.codes, lists=False))
    for code in codes.codes:
        (turn,) = build_completion([code])
        assert read_answer(turn["content"], codes) == ((code,), (), False)
        assert one.fullmatch(turn["content"])


def test_lists_survive_completion_and_parse(codes: CodeSet) -> None:
    several = re.compile(build_regex(codes.codes))
    for start in range(0, len(codes), 100):
        together = codes.codes[start : start + 100]
        (turn,) = build_completion(together)
        assert read_answer(turn["content"], codes).codes == together
        assert start % 5_000 or several.fullmatch(turn["content"])


def test_separator_is_what_the_instruction_says() -> None:
    assert SEPARATOR == ", " and "comma and a space" in INSTRUCTION
    assert "'" not in INSTRUCTION, "it is written into a quoted string of a chat template"


def render(template: str, messages: list[dict[str, str]]) -> str:
    """Render a chat template as transformers does."""
    return jinja2.Environment().from_string(template).render(messages=messages)


def test_baked_instruction_stands_before_the_text() -> None:
    assert render(bake_instruction(PLAIN_TEMPLATE), build_prompt("cough")) == f"<system>{INSTRUCTION}<user>cough"


def test_baked_instruction_yields_to_a_system_turn_of_the_conversation() -> None:
    own = [{"role": "system", "content": "Be brief."}, *build_prompt("cough")]
    assert render(bake_instruction(PLAIN_TEMPLATE), own) == "<system>Be brief.<user>cough"


@pytest.mark.parametrize(
    "today", ["{{ date_string }}", "{%- if not date_string is defined %}{{ now }}{%- endif %}{{ date_string }}"]
)
def test_baked_template_writes_a_fixed_date(today: str) -> None:
    assert render(bake_instruction(today), build_prompt("cough")) == "26 Jul 2024"
