"""One token for each category: codes get shorter, nothing else changes, and answers still hold existing codes only."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from finetune.tiny import CATEGORY_LENGTH, TinyLlama, build_tokenizer
from icd10cm import CodeSet
from icd10cm.constraint import TokenAutomaton, read_token_texts
from serving.quick.tokenizer import QuickTokenizer

SIZE = TinyLlama(vocab_size=600, category_tokens=True)
TEXT = "T2DM e11.621 E11.621, s/p I10 repair"


@pytest.fixture(scope="module")
def slice_of_codes(codes: CodeSet) -> list[str]:
    return ["E11.621", "I10", "S52.501A", "Z3A.20", "C4A.0", *codes.codes[::500]]


@pytest.fixture(scope="module")
def tokenizer(codes: CodeSet, slice_of_codes: list[str]):
    return build_tokenizer(SIZE, [codes.title(code) for code in slice_of_codes], slice_of_codes)


def test_a_code_is_its_category_and_its_characters(codes: CodeSet, slice_of_codes: list[str], tokenizer) -> None:
    plain = build_tokenizer(TinyLlama(vocab_size=600), [codes.title(code) for code in slice_of_codes], slice_of_codes)
    assert tokenizer.tokenize("E11.621, I10, S52.501A")[:4] == ["E11.", "6", "2", "1"]
    assert len(tokenizer) == len(plain) + len({code[:CATEGORY_LENGTH] for code in slice_of_codes})
    for code in slice_of_codes:
        assert len(tokenizer.tokenize(code)) <= max(1, len(code) - 3) < len(plain.tokenize(code))
        assert tokenizer.decode(tokenizer(code)["input_ids"]) == code


def test_texts_hold_none_since_the_template_writes_lower_case(tokenizer) -> None:
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": TEXT}], tokenize=False)
    categories = {token for token in tokenizer.get_added_vocab() if token.endswith(".") or token == "I10"}
    assert categories and not categories & set(tokenizer.tokenize(prompt))


def test_answers_are_codes_whatever_is_drawn(slice_of_codes: list[str], tokenizer) -> None:
    automaton = TokenAutomaton(slice_of_codes, read_token_texts(tokenizer), [tokenizer.eos_token_id], lists=True)
    for code in slice_of_codes:
        state = automaton.START
        for token in tokenizer(f"{code}, {slice_of_codes[code == slice_of_codes[0]]}")["input_ids"]:
            assert token in automaton.allowed(state), code
            state = automaton.step(state, token)
    drawn = random.Random(1)
    for _ in range(50):
        state, written = automaton.START, []
        while (token := drawn.choice(automaton.allowed(state).tolist())) != tokenizer.eos_token_id and len(written) < 40:
            written.append(token)
            state = automaton.step(state, token)
        whole = tokenizer.decode(written).split(", ")[: -1 if len(written) == 40 else None]
        assert set(whole) <= set(slice_of_codes)


def test_without_transformers_the_tokens_are_the_same(tokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    quick = QuickTokenizer(tmp_path)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert len(quick) == len(tokenizer) and quick(TEXT)["input_ids"] == ids
    assert quick.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids, skip_special_tokens=True)
    assert quick.convert_ids_to_tokens(ids) == tokenizer.convert_ids_to_tokens(ids)
