"""A text becomes the same prompt and the same tokens wherever it is put into the chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icd10cm.errors import CheckpointError
from icd10cm.prompts import build_prompt
from serving.prompting import PromptFrame, load_tokenizer, read_eos_ids, read_frame, tokenize

TEXTS = ["T2DM w/ foot ulcer", "  fièvre, 38 °C\n- toux  ", "{{ messages }}", "", "<b>a</b>"]


@pytest.fixture(scope="module")
def tokenizer(random_checkpoint: Path) -> Any:
    return load_tokenizer(random_checkpoint)


@pytest.mark.parametrize("text", TEXTS)
def test_frame_and_chat_template_agree(tokenizer: Any, random_checkpoint: Path, text: str) -> None:
    frame = read_frame(tokenizer, random_checkpoint)
    by_template = tokenizer.apply_chat_template(build_prompt(text), add_generation_prompt=True, return_dict=True)
    assert tokenize(tokenizer, frame, [text]) == [by_template["input_ids"]]


def test_a_prompt_that_is_in_the_template_is_recognised() -> None:
    frame = PromptFrame("<text>", "<codes>")
    assert frame.holds(frame.wrap("gout")) and not frame.holds("gout")
    without_prefix = PromptFrame("", " =>")
    assert without_prefix.holds(without_prefix.wrap("gout")) and not without_prefix.holds("gout")


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content | upper }}",
        "{{ messages[0].content }}{{ messages[0].content }}",
        "no text",
        "{{ messages[0].content }}",
        "{{ raise_exception('not like this') }}",
        "{% if %}",
    ],
)
def test_a_template_that_does_not_hold_the_text_is_refused(random_checkpoint: Path, template: str) -> None:
    tokenizer = load_tokenizer(random_checkpoint)
    tokenizer.chat_template = template
    with pytest.raises(CheckpointError, match="chat template"):
        read_frame(tokenizer, random_checkpoint)


def test_ends_of_the_generation_config_count_too(tokenizer: Any, tmp_path: Path) -> None:
    assert read_eos_ids(tokenizer, tmp_path) == [tokenizer.eos_token_id]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert read_eos_ids(tokenizer, tmp_path) == sorted({tokenizer.eos_token_id, 7, 9})


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)
